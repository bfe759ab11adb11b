"""Whole sweeps, of tiny trainings on the packaged sample."""

import contextlib
import csv
import re
import shutil
import signal
from pathlib import Path

import optuna
import pytest
import yaml

from salt.sweeps.folder import members, read_plan, write_plan
from salt.sweeps.study import Study
from tests.conftest import run_salt
from tests.sweeps.conftest import SPACE, TINY

LONG = ["--config=simple.yaml", "--trainer.max_epochs=60", "--data.batch_size=500"]
"""Of a training that lasts long enough to be killed."""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder with a finished sweep of two trials, not to be written to; and what was said."""
    folder = tmp_path_factory.mktemp("swept")
    with contextlib.chdir(folder):
        Path("space.yaml").write_text(yaml.safe_dump({"parameters": SPACE, "method": "random"}))
        answer = run_salt("sweep", "space.yaml", "--trials=2", *TINY, "--log_suffix=x", "--objective=val/loss")
    assert answer.code == 0, answer.err
    return folder / "logs" / "simple_sweep_x", answer


def curve(run):
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def state(run):
    return yaml.safe_load((run / "state.yaml").read_text())


def test_each_trial_is_a_normal_run(swept):
    for member in members(swept[0]):
        names = {path.name for path in member.run.iterdir()}
        assert {"config.yaml", "metadata.yaml", "state.yaml", "metrics.csv", "ckpts"} <= names
        assert state(member.run)["state"] == "finished"
        config = yaml.safe_load((member.run / "config.yaml").read_text())
        assert config["model"]["lrs_config"]["max"] == member.parameters["model.lrs_config.max"]
        assert config["data"]["batch_size"] == member.parameters["data.batch_size"]
        assert "runing" not in (member.run / "config.yaml").read_text()  # the callback is of the sweep, not of the run


def test_the_values_are_those_of_the_curves(swept):
    found = members(swept[0])
    assert len(found) == 2
    for member in found:
        assert member.value == min(float(row["val/loss"]) for row in curve(member.run) if row["val/loss"])


def test_the_table_is_written_and_shown_again(swept):
    folder, answer = swept
    assert "2 of 2 trials: 2 complete; best val/loss" in answer.out
    again = run_salt("sweep", "--study", folder, "--show")
    assert again.out.strip() in answer.out


def test_the_folder_has_the_plan_and_the_page(swept):
    plan = read_plan(swept[0])
    assert (plan["method"], plan["trials"], plan["objective"], plan["direction"]) == ("random", 2, "val/loss", "min")
    page = (swept[0] / "index.html").read_text()
    assert page.count("<polyline") == 2
    assert "2 of 2 trials" in page


def test_a_finished_sweep_has_nothing_left_to_do(swept):
    answer = run_salt("sweep", "--study", swept[0])
    assert answer.code == 0
    assert "begins" not in answer.err


@pytest.mark.slow
def test_a_value_that_fit_refuses_fails_its_trial_and_the_sweep_goes_on(space, salt):
    space(method="grid", parameters={"data.num_train": [500, -7, 1000]})
    answer = salt("sweep", "space.yaml", *TINY, "--study=study")
    assert answer.code == 0, answer.err
    found = members("study")
    assert [member.state for member in found] == ["complete", "failed", "complete"]
    assert "num_train" in found[1].reason
    assert "exit code 2" in found[1].reason


@pytest.mark.slow
def test_three_failures_in_a_row_stop_a_worker_with_the_reason(space, salt):
    space(method="grid", parameters={"data.num_train": [-1, -7, -8, -9, -10]})
    answer = salt("sweep", "space.yaml", *TINY, "--study=study")
    assert answer.code == 2
    assert "3 trials in a row have failed, the last one: no jets to read: data.num_train is -9" in answer.error
    assert [member.state for member in members("study")] == ["complete", "failed", "failed", "failed"]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_fails_its_trial(space, salt):
    space(method="grid", parameters={"model.lrs_config.initial": [1e-5, 1e30]})
    more = ["--model.lrs_config.max=1e30", "--trainer.limit_train_batches=6"]
    answer = salt("sweep", "space.yaml", *TINY, *more, "--study=study")
    found = members("study")
    assert found[1].state == "failed", answer.err
    assert "finite" in found[1].reason


@pytest.mark.slow
def test_an_objective_that_is_not_logged_ends_the_sweep_before_the_first_epoch(space, salt):
    space()
    answer = salt("sweep", "space.yaml", *TINY, "--study=study", "--objective=val/los")
    assert answer.code == 2
    assert "unknown metric 'val/los' in what a trial logs (objective); nearest: val/loss" in answer.error
    (member,) = members("study")
    assert member.state == "failed"
    assert not list(member.run.glob("ckpts/epoch*"))


@pytest.mark.slow
def test_a_trial_of_a_killed_worker_is_resumed_by_another(space, work, tmp_path):
    space(trials=1)
    log = tmp_path / "study/trials/simple_0000.log"
    first = work("space.yaml", *LONG, "--study=study")
    first.wait_for(log, "Epoch 5")
    first.process.kill()
    second = work("--study=study")
    assert second.ended() == 0, second.said
    (member,) = members(tmp_path / "study")
    assert member.state == "complete"
    assert "trial 0 goes on" in second.said
    assert re.search(r"going on in .*simple_0000 from .*\.ckpt \(step [1-9]", log.read_text())
    rows = curve(member.run)
    assert [int(row["epoch"]) for row in rows if row["val/loss"]] == list(range(60))  # none twice, none left out
    assert len(yaml.safe_load((member.run / "metadata.yaml").read_text())["resumed"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 75)])
def test_a_worker_that_is_told_to_end_saves_its_trial_and_goes_on_later(space, work, tmp_path, number, code):
    space(trials=1)
    log = tmp_path / "study/trials/simple_0000.log"
    first = work("space.yaml", *LONG, "--study=study")
    first.wait_for(log, "Epoch 3")
    first.process.send_signal(number)
    assert first.ended(60) == code
    (member,) = members(tmp_path / "study")
    assert (member.state, member.reason) == ("running", f"stopped by {number.name}")
    assert (member.run / "ckpts" / "last.ckpt").is_file() or list(member.run.glob("ckpts/epoch*"))
    assert state(member.run)["state"] == "interrupted"
    second = work("--study=study")
    assert second.ended() == 0, second.said
    assert members(tmp_path / "study")[0].state == "complete"


@pytest.mark.slow
def test_two_workers_share_a_study_and_make_it_once(space, work, tmp_path):
    space(trials=3, method="random")
    job = {"SALT_JOB_ID": "condor-abc-17.0"}
    workers = [work("space.yaml", *TINY, **job), work("space.yaml", *TINY, **{"SALT_JOB_ID": "condor-abc-17.1"})]
    assert [worker.ended() for worker in workers] == [0, 0], [worker.said for worker in workers]
    (folder,) = (tmp_path / "logs").iterdir()
    assert folder.name == "simple_sweep_condor-abc-17"
    assert [member.state for member in members(folder)] == ["complete"] * 3
    assert all("trial" in worker.said for worker in workers)


@pytest.fixture
def good_ones(tmp_path):
    """Put six trials into a study that are better than any training."""

    def add(name="study"):
        study = Study(tmp_path / name)
        study.extend(7)
        for number in range(6):
            values = {"model.lrs_config.max": 1e-3, "data.batch_size": 250}
            distributions = {each.key: each.distribution() for each in study.plan.space()}
            facts = {"params": values, "distributions": distributions, "value": -1.0}
            steps = dict.fromkeys(range(99), -1.0)
            study._study.add_trial(optuna.trial.create_trial(**facts, intermediate_values=steps))
            assert study.members()[number].state == "complete"

    return add


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_trial_that_is_worse_than_the_others_is_pruned_on_all_ranks(space, salt, good_ones, tmp_path, plan, devices):
    arguments = (*TINY[:1], "--trainer.max_epochs=30", f"--trainer.devices={devices}", "--trainer.accelerator=cpu")
    content = plan(name="simple", prune="median", arguments=arguments)
    (tmp_path / "study").mkdir()
    write_plan(tmp_path / "study", content.content())
    good_ones()
    answer = salt("sweep", "--study=study")
    assert answer.code == 0, answer.err
    member = members("study")[-1]
    log = Path("study/trials/simple_0006.log").read_text()
    assert member.state == "pruned", log
    assert state(member.run)["state"] == "pruned"
    assert "was worse than that of other trials" in state(member.run)["reason"]
    assert len(list(member.run.glob("ckpts/epoch=*.ckpt"))) == 1
    assert ("MEMBER: 2/2" in log) == (devices == 2)


@pytest.mark.slow
def test_replicas_differ_in_their_seed_alone(space, salt):
    answer = salt("sweep", "--replicas=2", *TINY, "--study=study")
    assert answer.code == 0, answer.err
    found = members("study")
    assert [member.parameters for member in found] == [{"seed_everything": 42}, {"seed_everything": 43}]
    assert found[0].value != found[1].value
    configs = [yaml.safe_load((member.run / "config.yaml").read_text()) for member in found]
    differing = {key for key in configs[0] if configs[0][key] != configs[1][key]}
    assert differing <= {"seed_everything", "trainer", "log_suffix", "data", "model"}
    assert configs[1]["seed_everything"] == 43


@pytest.mark.slow
def test_folds_leave_out_one_fold_each(space, salt):
    answer = salt("sweep", "--folds=2", "--data.fold.variable=jetFoldHash", *TINY, "--study=study")
    assert answer.code == 0, answer.err
    configs = [yaml.safe_load((member.run / "config.yaml").read_text()) for member in members("study")]
    assert [config["data"]["fold"] for config in configs] == [
        {"variable": "jetFoldHash", "k": 2, "use": use} for use in (0, 1)
    ]


@pytest.mark.slow
def test_a_config_that_is_edited_meanwhile_changes_no_trial(space, salt, tmp_path):
    space(method="grid", parameters={"seed_everything": [1]})
    shutil.copy(Path(__file__).parents[2] / "salt/configs/simple.yaml", tmp_path / "mine.yaml")
    arguments = ["--config=mine.yaml", *TINY[1:]]
    assert salt("sweep", "space.yaml", *arguments, "--study=study").code == 0
    (tmp_path / "mine.yaml").write_text("name: broken\n")
    study = Study(tmp_path / "study")
    (study.folder / "study.journal").unlink()
    shutil.rmtree(study.folder / "trials" / "simple_0000")
    assert salt("sweep", "--study=study").code == 0
    assert members("study")[0].state == "complete"
