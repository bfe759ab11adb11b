import json
import subprocess
import sys

import pytest
import yaml

from salt.sweeps.folder import Member, members, write_members, write_plan
from salt.sweeps.owner import shared_name
from tests.sweeps.conftest import SPACE, TINY


@pytest.fixture
def sweep(salt):
    return lambda *arguments: salt("sweep", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "salt sweep needs a space, --replicas, --folds or --study"),
        (["--config=simple.yaml"], "no space: nothing to search"),
        (["none.yaml"], "no file none.yaml"),
        (["space.yaml", "--replicas=3"], "--replicas is a sweep of its own"),
        (["--folds=1"], "--folds is 1; it must be at least 2"),
        (["--replicas=2", "--folds=2"], "not allowed with argument"),
        (["--method=bayes"], "invalid choice: 'bayes'"),
        (["space.yaml", "--trials=0"], "trials is 0 in space.yaml; it must be a whole number from 1 on"),
        (["space.yaml", "--resume=logs/x"], "--resume goes on with one run"),
        (["space.yaml", "--trainer.logger.init_args.api_key=abcdefgh"], "an option holds a key or a password"),
        (["--show"], "--show needs a sweep"),
        (["--show", "--study=logs"], "no sweep in logs"),
        (["--study=logs"], "no sweep in"),
    ],
)
def test_what_makes_no_sense_is_said_and_how_to_mend_it(sweep, space, arguments, message):
    space()
    answer = sweep(*arguments)
    assert answer.code == 2
    assert message in answer.error
    assert "mend:" in answer.error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"paramters": SPACE}, "unknown key 'paramters' in space.yaml; nearest: parameters"),
        ({"parameters": SPACE, "method": "tp"}, "unknown method 'tp' in space.yaml; nearest: tpe"),
        ({"parameters": SPACE, "prune": "yes"}, "unknown prune 'yes' in space.yaml; nearest: "),
        ({"parameters": SPACE, "direction": "up"}, "unknown direction 'up' in space.yaml"),
        ({"parameters": SPACE, "trials": "many"}, "trials is 'many' in space.yaml"),
        ({"parameters": {}}, "space.yaml has no parameters"),
        ({"parameters": SPACE, "method": "grid"}, "a grid cannot try all numbers between 0.0001 and 0.01"),
    ],
)
def test_a_wrong_space_is_named_with_its_key(sweep, tmp_path, content, message):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(content))
    answer = sweep("space.yaml", *TINY)
    assert answer.code == 2
    assert message in answer.error


def test_a_parameter_that_fit_does_not_know_is_found_before_the_first_trial(sweep, tmp_path):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"parameters": {"model.lrs_config.maks": [1, 2]}}))
    answer = sweep("space.yaml", *TINY)
    assert answer.code == 2
    assert "unknown key model.lrs_config.maks on the command line; nearest: max" in answer.error
    assert "parameters of space.yaml" in answer.error
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
def test_folds_say_what_the_data_lack(sweep, tmp_path):
    answer = sweep("--folds=4", *TINY)
    assert answer.code == 2
    assert "data.fold.variable is missing" in answer.error
    assert "--data.fold.variable=jetFoldHash" in answer.error


@pytest.mark.slow
def test_several_nodes_for_a_trial_are_refused(sweep):
    answer = sweep("--replicas=2", *TINY, "--trainer.num_nodes=2")
    assert answer.code == 2
    assert "trainer.num_nodes is 2: a trial is trained on one node" in answer.error


@pytest.mark.slow
def test_another_space_for_the_same_study_is_refused(sweep, space, tmp_path, plan):
    (tmp_path / "study").mkdir()
    write_plan(tmp_path / "study", plan(name="simple", method="tpe", prune="median").content())
    space(objective="val/loss", parameters={"data.batch_size": [100]})
    answer = sweep("space.yaml", *TINY, "--study=study")
    assert answer.code == 2
    assert "study is another sweep: parameters: {'data.batch_size': [100]} here, " in answer.error


@pytest.mark.slow
def test_a_folder_that_is_no_sweep_is_not_taken(sweep, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    answer = sweep("--replicas=2", *TINY, "--study=mine")
    assert answer.code == 2
    assert "is there, and is no sweep" in answer.error
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_show_writes_the_table_and_needs_no_optuna(sweep, tmp_path, plan, monkeypatch):
    folder = tmp_path / "study"
    folder.mkdir()
    write_plan(folder, plan().content())
    values = {"model.lrs_config.max": 0.00123456789, "data.batch_size": 500}
    found = [
        Member(0, "failed", None, folder / "trials/toy_0000", values, 3.0, "ValueError: no"),
        Member(1, "complete", 0.7, folder / "trials/toy_0001", values, 65.0),
        Member(2, "complete", 0.6, folder / "trials/toy_0002", values, 3700.0),
    ]
    write_members(folder, found)
    assert members(folder) == found
    monkeypatch.setitem(sys.modules, "optuna", None)
    answer = sweep("--study=study", "--show")
    lines = answer.out.splitlines()
    assert lines[0].split() == ["TRIAL", "STATE", "val/loss", "lrs_config.max", "data.batch_size", "TIME"]
    assert [line.split()[0] for line in lines[1:4]] == ["2", "1", "0"]
    assert "0.0012346" in lines[1]
    assert "1:01:40" in lines[1]
    assert lines[3].endswith("ValueError: no")
    assert lines[-1] == "3 of 3 trials: 2 complete, 1 failed; best val/loss 0.6: trial 2"


def test_the_parent_needs_no_torch(tmp_path):
    program = (
        "import sys\nimport salt.sweeps.command, salt.sweeps.worker, salt.sweeps.page, salt.sweeps.asked\n"
        "assert not {'torch', 'lightning', 'optuna'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_jobs_of_an_array_agree_on_a_folder(monkeypatch):
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "SALT_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    assert shared_name() == ""
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert shared_name() == "slurm-18"
    monkeypatch.setenv("SALT_JOB_ID", "slurm-18")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    assert shared_name() == "slurm-17"
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID")
    monkeypatch.setenv("SALT_JOB_ID", "condor-abc-123.7")
    assert shared_name() == "condor-abc-123"


@pytest.mark.slow
def test_the_probe_tells_what_is_monitored(salt, capfd):
    command = [sys.executable, "-m", "salt.cli.probe", "", *TINY, "--trainer.default_root_dir=there", "--name=toy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert (found["name"], found["objective"], found["direction"]) == ("toy", "val/jets_classification_loss", "min")
    assert found["logs"].endswith("there")
