import csv
import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from lightning import Callback

from salt.cli import resume
from salt.cli.run_lock import held
from salt.data.loader import Metered
from salt.training import checkpoints

OPTIONS = (
    "--trainer.log_every_n_steps=1",
    "--data.num_train=500",
    "--data.num_val=200",
    "--data.batch_size=100",
)

pytestmark = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")


@pytest.fixture
def train(salt):
    """Train `simple`, by default for two epochs of five steps in logs/simple_a."""

    def run(*options, epochs=2, code=0):
        answer = salt(
            "fit", "--config", "simple.yaml", "-ls", "a", *OPTIONS, f"--trainer.max_epochs={epochs}", *options
        )
        assert answer.code == code, answer.err
        return Path("logs/simple_a")

    return run


@pytest.fixture
def interrupt(monkeypatch):
    """Send a signal when so many batches were asked for, of the training and the validation together."""

    def at(batch, number=signal.SIGTERM):
        count = iter(range(1, 10_000))
        ask = Metered.__next__

        def asked(self):
            if next(count) == batch:
                signal.raise_signal(number)
            return ask(self)

        monkeypatch.setattr(Metered, "__next__", asked)

    return at


def ckpts(run):
    return sorted(path.name for path in (run / "ckpts").iterdir())


def curve(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def steps(run, column):
    return [int(row["step"]) for row in curve(run) if row.get(column)]


def epochs(run):
    return [path[:9] for path in ckpts(run)]


@pytest.mark.parametrize("form", [("--resume", "logs/simple_a"), ("--resume=logs/simple_a",)])
def test_an_interrupted_run_goes_on_in_its_own_directory(salt, train, interrupt, form):
    interrupt(13)
    run = train(code=143)
    assert ckpts(run)[-1] == "last.ckpt"
    answer = salt("fit", *form)
    assert answer.code == 0, answer.err
    assert f"going on in {run.absolute()} from last.ckpt" in answer.err
    assert epochs(run) == ["epoch=000", "epoch=001"]
    assert [path.name for path in Path("logs").iterdir()] == ["simple_a"]


def test_the_curve_of_a_resumed_run_has_no_holes_and_no_row_twice(salt, train, interrupt):
    interrupt(13)
    run = train(code=143)
    before = curve(run)
    answer = salt("fit", "--resume", run)
    assert answer.code == 0, answer.err
    assert steps(run, "train/loss") == list(range(10))
    assert steps(run, "val/loss") == [4, 9]
    assert steps(run, "train/loss_epoch") == [4, 9]
    assert curve(run)[:5] == before[:5]


def test_what_was_logged_after_the_checkpoint_is_cut(salt, train):
    run = train()
    (run / "ckpts" / ckpts(run)[-1]).unlink()
    assert salt("fit", "--resume", run).code == 0
    assert steps(run, "train/loss") == list(range(10))
    assert steps(run, "val/loss") == [4, 9]


def test_a_row_that_a_killed_run_left_unfinished_is_none(salt, train):
    run = train()
    (run / "ckpts" / ckpts(run)[-1]).unlink()
    text = (run / "metrics.csv").read_text()
    (run / "metrics.csv").write_text(text[: text.rindex("\n", 0, -1) + 4])
    assert salt("fit", "--resume", run).code == 0
    assert steps(run, "train/loss") == list(range(10))


def test_further_options_apply_on_top_and_the_resumption_is_not_in_the_config(salt, train):
    run = train()
    (run / "ckpts" / ckpts(run)[-1]).unlink()
    assert salt("fit", "--resume", run, "--trainer.gradient_clip_val", "3").code == 0
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["trainer"]["gradient_clip_val"] == 3
    assert config["ckpt_path"] is None
    assert "resume" not in (run / "config.yaml").read_text()


def test_a_finished_run_says_so_and_is_not_trained(salt, train):
    run = train(epochs=1)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    answer = salt("fit", "--resume", run)
    assert answer.code == 0
    assert "is finished (epoch 1 of 1, step 5): nothing to do" in answer.err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_run_that_its_record_calls_finished_is_not_trained(salt, train):
    run = train(epochs=1)
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("max_epochs: 1", "max_epochs: 9"))
    (run / "state.yaml").write_text("state: finished\n")
    assert "is finished (epoch 1 of 9, step 5)" in salt("fit", "--resume", run).err


def test_a_run_without_checkpoints_begins_again_in_its_directory(salt, train):
    run = train(epochs=1)
    names = ckpts(run)
    for name in names:
        (run / "ckpts" / name).unlink()
    answer = salt("fit", "--resume", run)
    assert answer.code == 0, answer.err
    assert "training from the start" in answer.err
    assert ckpts(run) == names
    assert steps(run, "train/loss") == list(range(5))


def test_a_damaged_newest_checkpoint_is_skipped(salt, train):
    run = train()
    newest = run / "ckpts" / ckpts(run)[-1]
    os.truncate(newest, newest.stat().st_size // 2)
    answer = salt("fit", "--resume", run)
    assert answer.code == 0, answer.err
    assert f"skipping {newest.absolute()}" in answer.err
    assert resume.checkpoints.newest(run).step == 10


def test_a_damaged_checkpoint_that_is_asked_for_is_one_clear_error(salt, train):
    run = train(epochs=1)
    newest = run / "ckpts" / ckpts(run)[-1]
    os.truncate(newest, newest.stat().st_size // 2)
    answer = salt("fit", "--config", run / "config.yaml", "--ckpt_path", newest)
    assert answer.code == 2
    assert f"{newest} (--ckpt_path) is cut short, damaged, or not a checkpoint" in answer.error
    assert [path.name for path in Path("logs").iterdir()] == ["simple_a"]


@pytest.mark.parametrize("word", ["last", "best"])
def test_a_checkpoint_is_found_by_a_word_and_a_new_run_begins_there(salt, train, word):
    run = train()
    answer = salt("fit", "--config", run / "config.yaml", "--ckpt_path", word, "-ls", "b", "--trainer.max_epochs=2")
    assert answer.code == 0, answer.err
    assert f"{word} checkpoint of {run}: {run}/ckpts/epoch=001" in answer.err
    assert yaml.safe_load(Path("logs/simple_b/config.yaml").read_text())["ckpt_path"] is None


def test_a_test_finds_a_checkpoint_by_a_word(salt, train):
    run = train()
    newest = run / "ckpts" / ckpts(run)[-1]
    assert salt("test", run, "--ckpt_path", "last", "--data.num_test=100").code == 0
    assert newest.with_name(f"{newest.stem}__test_sample.h5").is_file()


def test_a_word_without_a_run_is_told(salt):
    answer = salt("fit", "--config", "simple.yaml", "--ckpt_path", "last", "--trainer.max_epochs=1")
    assert answer.code == 2
    assert "no --config is that of a run" in answer.error


def test_a_test_does_not_take_the_checkpoint_that_its_run_came_from(salt, train):
    run = train()
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("ckpt_path: null", f"ckpt_path: {run / 'ckpts' / ckpts(run)[0]}"))
    answer = salt("test", run, "--data.num_test=100")
    assert answer.code == 0, answer.err
    assert [path.name[:9] for path in run.rglob("*.h5")] == ["epoch=001"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--resume", "logs/simple_b"], "no run logs/simple_b"),
        (["--resume"], "--resume names no run"),
        (["--resume", "--trainer.max_epochs=3"], "--resume names no run"),
        (["--resume", "logs/simple_a", "--ckpt_path", "last"], "--ckpt_path names another"),
    ],
)
def test_a_resumption_that_cannot_be_is_refused(salt, arguments, says):
    Path("logs/simple_a").mkdir(parents=True)
    Path("logs/simple_a/config.yaml").touch()
    answer = salt("fit", *arguments)
    assert answer.code == 2
    assert says in answer.error


def test_two_processes_do_not_train_in_one_run(salt, train):
    run = train()
    (run / "ckpts" / ckpts(run)[-1]).unlink()
    with held(str(run)):
        answer = salt("fit", "--resume", run)
    assert answer.code == 2
    assert f"another process is training in {run.absolute()}" in answer.error
    assert salt("fit", "--resume", run).code == 0


def test_leftovers_of_a_killed_run_are_removed(salt, train):
    run = train()
    (run / "ckpts" / ckpts(run)[-1]).unlink()
    (run / "ckpts" / ".epoch=001.ckpt.part").write_text("half")
    (run / ".config.yaml.part").write_text("half")
    assert salt("fit", "--resume", run).code == 0
    assert list(run.rglob("*.part")) == []


def test_the_help_tells_of_it(salt):
    assert "salt fit --resume RUN goes on with a run" in " ".join(salt("fit", "--help").out.split())


@pytest.fixture
def disk(mounted):
    """A disk on which there is room for one checkpoint."""
    return mounted("size=900k")


def test_a_run_whose_disk_is_full_keeps_what_it_has_and_goes_on_when_there_is_room(salt, train, disk):
    train(f"--trainer.default_root_dir={disk}", code=2)
    run = disk / "simple_a"
    assert epochs(run) == ["epoch=000"]
    assert list(run.rglob("*.part")) == []
    subprocess.run(["mount", "-o", "remount,size=9m", disk], check=True)
    answer = salt("fit", "--resume", run)
    assert answer.code == 0, answer.err
    assert epochs(run) == ["epoch=000", "epoch=001"]


class Requeued:
    """Variables of a Slurm job, and the metadata that its first start has left."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def __call__(self, job, restarts):
        self.monkeypatch.setenv("SLURM_JOB_ID", job)
        self.monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))


@pytest.fixture
def job(monkeypatch):
    return Requeued(monkeypatch)


@pytest.fixture
def run_of_job(tmp_path, monkeypatch):
    """Two runs of job 17, one of another name; the paths."""
    monkeypatch.chdir(tmp_path)
    for name, number in (("simple_1", 17), ("GN2_1", 17), ("simple_2", 18)):
        run = tmp_path / "logs" / name
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(f"name: {name.partition('_')[0]}\n")
        (run / "metadata.yaml").write_text(f"slurm_job_id: '{number}'\n")
    return tmp_path / "logs"


def test_a_requeued_job_goes_on_in_the_run_that_it_began(run_of_job, job):
    job("17", 1)
    found = resume.resumed(["fit", "--config", "simple.yaml", "--data.batch_size", "3"])
    assert found.run == str(run_of_job / "simple_1")
    assert found.arguments == ["fit", f"--config={run_of_job}/simple_1/config.yaml", "--data.batch_size", "3"]


@pytest.mark.parametrize(("number", "restarts"), [("17", 0), ("19", 1)])
def test_other_jobs_begin_a_run_of_their_own(run_of_job, job, number, restarts):
    job(number, restarts)
    arguments = ["fit", "--config", "simple.yaml"]
    assert resume.resumed(arguments) == (arguments, None, False)


@pytest.mark.parametrize("option", [["--ckpt_path", "a.ckpt"], ["--ckpt_path=a.ckpt"]])
def test_a_requeued_job_that_began_from_a_checkpoint_goes_on_from_its_own(run_of_job, own_run, job, option):
    job("17", 1)
    (run_of_job / "simple_1" / "ckpts").symlink_to(own_run / "ckpts")
    found = resume.resumed(["fit", "--config", "simple.yaml", *option, "-f"])
    assert [each for each in found.arguments if each.startswith(("-f", "--ckpt", "a.ckpt"))] == [
        "-f",
        f"--ckpt_path={run_of_job}/simple_1/ckpts/{checkpoints.newest(own_run).path.rpartition('/')[2]}",
    ]


@pytest.mark.parametrize("option", [["--trainer.callbacks+=Timer"], ["--trainer.callbacks+", "Timer"]])
def test_a_requeued_job_adds_to_lists_once(run_of_job, job, option):
    job("17", 1)
    found = resume.resumed(["fit", "--config", "simple.yaml", *option, "--data.batch_size=3"])
    assert found.arguments == ["fit", f"--config={run_of_job}/simple_1/config.yaml", "--data.batch_size=3"]


def test_a_requeued_job_that_has_saved_nothing_begins_from_the_checkpoint_it_is_given(run_of_job, job):
    job("17", 1)
    found = resume.resumed(["fit", "--config", "simple.yaml", "--ckpt_path", "a.ckpt"])
    assert found.run == str(run_of_job / "simple_1")
    assert found.arguments[-2:] == ["--ckpt_path", "a.ckpt"]


def test_a_job_of_ours_goes_on_in_its_run_whatever_its_scheduler_counts(run_of_job, monkeypatch):
    (run_of_job / "simple_2" / "metadata.yaml").write_text("salt_job_id: condor-ab-12.0\nslurm_job_id: null\n")
    monkeypatch.setenv("SALT_JOB_ID", "condor-ab-12.0")
    assert resume.resumed(["fit", "--config", "simple.yaml"]).run == str(run_of_job / "simple_2")
    monkeypatch.setenv("SALT_JOB_ID", "condor-ab-12")
    assert resume.resumed(["fit", "--config", "simple.yaml"]).run is None


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["-n", "GN2"], "GN2_1"),
        (["--name=GN2"], "GN2_1"),
        (["-ls=1"], "simple_1"),
        (["-ls", "01"], None),
        (["-n=GN2", "--log_suffix", "2"], None),
    ],
)
def test_a_job_goes_on_in_the_run_that_the_command_line_names(run_of_job, job, options, found):
    job("17", 1)
    run = resume.resumed(["fit", "--config", "simple.yaml", *options]).run
    assert run == (found and str(run_of_job / found))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 75)])
@pytest.mark.parametrize("batch", [4, 9, 10, 13])  # in training, in validation, at its end, in the second epoch
def test_a_signal_saves_and_stops_with_its_code(train, interrupt, number, code, batch):
    interrupt(batch, number)
    run = train(code=code)
    assert "last.ckpt" in ckpts(run) or epochs(run) == ["epoch=000"]
    assert list(run.rglob("*.part")) == []


def test_a_second_interrupt_stops_without_saving(train, interrupt, monkeypatch):
    ask = Metered.__next__

    def asked(self):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return ask(self)

    class Twice(Callback):
        def on_train_start(self, trainer, module):
            monkeypatch.setattr(Metered, "__next__", asked)

    monkeypatch.setattr("salt.cli.lightning.DataWait", Twice)
    run = train(code=130)
    assert not (run / "ckpts").exists()


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_a_trial_run_leaves_nothing_even_where_it_is_stopped(train, interrupt, tmp_path, number):
    if number:
        interrupt(5, number)
    train("--trainer.fast_dev_run=5", code=143 if number else 0)
    assert list(tmp_path.iterdir()) == []


def test_the_middle_of_an_epoch_is_saved_every_so_many_minutes(train, overlay, interrupt, monkeypatch):
    saved = []
    save = resume.checkpoints.torch.save
    monkeypatch.setattr(
        "salt.training.checkpoint_io.torch.save", lambda content, file: (saved.append(file.name), save(content, file))
    )
    callbacks = [{"class_path": "salt.callbacks.Checkpoint", "init_args": {"minutes": 0}}]
    run = train("--config", overlay(trainer={"callbacks": callbacks}), epochs=1)
    assert [Path(name).name[:9] for name in saved] == [".last.ckp"] * 4 + [".epoch=00"]
    assert len(ckpts(run)) == 1  # the epoch's own has replaced the other


def test_a_metric_of_which_more_is_better_names_the_best(train, salt, overlay):
    init_args = {"monitor_loss": "val/jets_classification_loss", "mode": "max", "fname_string": "worst"}
    callbacks = [
        {"class_path": "salt.callbacks.Checkpoint", "init_args": init_args},
        {"class_path": "salt.callbacks.PredictionWriter"},
    ]
    run = train("--config", overlay(trainer={"callbacks": callbacks}))
    assert [name[:15] for name in ckpts(run)] == ["epoch=000-worst", "epoch=001-worst"]
    assert salt("test", run, "--data.num_test=100").code == 0
    assert [path.name[:9] for path in run.rglob("*.h5")] == ["epoch=000"]


def test_a_checkpoint_says_how_good_it_is(train):
    run = train(epochs=1)
    ours = torch.load(run / "ckpts" / ckpts(run)[0], weights_only=True)["salt"]
    monitor = ours["monitor"]
    assert (monitor["name"], monitor["mode"]) == ("val/jets_classification_loss", "min")
    assert f"{monitor['value']:.5f}" in ckpts(run)[0]
    assert ours["metrics"]["val/jets_classification_loss"] == monitor["value"]
    assert (ours["epochs"], ours["batches"], ours["format"]) == (1, 5, 1)
