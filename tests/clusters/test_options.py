"""Options of `salt submit`: what is theirs, and what is left to the verb."""

import pytest

from salt.clusters.options import parsed


def test_what_is_no_option_of_ours_is_left_in_its_order():
    own = ["test", "RUN", "-n", "x", "--config", "a.yaml", "--data.batch_size=5", "--seed_everything", "1", "-f"]
    given, rest = parsed(["--gpus", "2", *own[:5], "--nodes", "3", *own[5:]])
    assert given == {"gpus": (2, None), "nodes": 3}
    assert rest == own


@pytest.mark.parametrize("words", ["--log-dir x --dry-run", "--log_dir=x --dry_run"])
def test_dashes_and_underscores_are_the_same(words):
    given, rest = parsed(words.split())
    assert (str(given["log_dir"]), given["dry_run"], rest) == ("x", True, [])


def test_a_name_that_is_cut_short_is_not_ours():
    assert parsed(["--part", "gpu"]) == ({}, ["--part", "gpu"])


@pytest.mark.parametrize("words", ["--partiton gpu", "--gpu 2", "--node=2", "--dryrun", "--log_dirr x"])
def test_a_slip_does_not_go_to_the_verb(words):
    with pytest.raises(ValueError, match=r"unknown option .* in salt submit; nearest: "):
        parsed(words.split())
    assert parsed(["--", *words.split()]) == ({}, words.split())


@pytest.mark.parametrize(
    ("words", "ours"), [("--mem=2G", "--memory"), ("--ntasks_per_node 2", "--tasks"), ("--gres=gpu:1", "--gpus")]
)
def test_an_option_of_sbatch_does_not_go_to_the_verb(words, ours):
    with pytest.raises(ValueError, match=f"is an option of sbatch\n  mend: {ours} "):
        parsed(words.split())


def test_no_option_of_a_verb_is_taken_for_a_slip():
    verbs = "name log_suffix force tag overwrite_config compile config resume ckpt_path seed_everything print_config"
    sweep = "trials method objective direction prune replicas folds study"
    words = [f"--{name}" for name in f"{verbs} {sweep}".split()]
    assert parsed(words) == ({}, words)


def test_what_is_behind_two_dashes_is_the_verbs():
    assert parsed(["--gpus", "1", "--", "--gpus", "2"]) == ({"gpus": (1, None)}, ["--gpus", "2"])


@pytest.mark.parametrize(
    ("words", "kind"),
    [("--venv a", "venv"), ("--conda a", "conda"), ("--image a", "apptainer"), ("--image a --env none", "none")],
)
def test_an_option_that_names_an_environment_says_which_kind_it_is(words, kind):
    assert parsed(words.split())[0]["env"] == kind


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--venv a --image b", "--venv and --image name two environments"),
        ("--env dockr", "unknown kind of environment 'dockr' in --env; nearest: "),
        ("--gpus two", "--gpus: 'two' is no number of GPUs"),
        ("--nodes 0", "--nodes: '0' is not a whole number of at least 1"),
        ("--array 0", "--array: '0' is not a whole number of at least 1"),
        ("--time 4h", "--time: '4h' is no time"),
        ("--memory lots", "--memory: 'lots' is no size of memory"),
        ("--after tomorrow", "--after: 'tomorrow' is no job"),
        ("--after 12:afterk", "unknown dependency 'afterk' in --after; nearest: afterok"),
        ("--signal-before 2000", "at least 0 and at most 1092"),
        ("--gpu-request gpu", "unknown way to ask for GPUs 'gpu'"),
        ("--partition", "--partition: expected one argument"),
        ("--extra=", "not one line of words"),
        ("--stage fit", "'fit' is no folder of the node"),
    ],
)
def test_a_wrong_option_is_an_error_that_says_how_to_write_it(words, message):
    with pytest.raises(ValueError, match=r"mend:|nearest") as caught:
        parsed(words.split())
    assert message in str(caught.value)
    assert str(caught.value).count("mend:") <= 1


def test_amounts_and_kinds_are_read():
    words = [
        "--gpus",
        "a100:2",
        "--after",
        "12,13_1",
        "--stage",
        "--extra=#SBATCH --exclusive",
        "--extra=--mail-type=END",
    ]
    assert parsed(words)[0] == {
        "gpus": (2, "a100"),
        "after": "12,13_1:afterok",
        "stage": "",
        "extra": ["--exclusive", "--mail-type=END"],
    }
