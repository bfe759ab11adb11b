"""`salt runs`: lists runs, shows how two differ, cleans up after dead ones."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from salt.callbacks.processes import Process, hold


@pytest.fixture
def dead():
    """A process that has ended."""
    code = "from salt.callbacks.processes import Process; from dataclasses import asdict; import json;"
    code += "print(json.dumps(asdict(Process.this())))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return Process(**json.loads(done.stdout))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Make a run's directory by hand."""
    monkeypatch.chdir(tmp_path)

    def make(name="GNN_20260101-000000", process=None, config=None, **state):
        folder = Path("logs") / name
        (folder / "ckpts").mkdir(parents=True)
        said = config or {"name": "GNN", "trainer": {"max_epochs": 3}, "data": {"train_file": "/d/train.h5"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(said))
        if process or state:
            content = {**(asdict(process) if process else {}), "started": "2026-01-01T00:00:00+00:00", **state}
            (folder / "state.yaml").write_text(yaml.safe_dump(content))
        return folder

    return make


def listed(salt):
    answer = salt("runs", "--json")
    assert answer.code == 0, answer.err
    return {Path(each["path"]).name: each for each in json.loads(answer.out)}


def test_a_run_is_listed_with_state_epochs_best_and_data(salt, own_run):
    answer = salt("runs")
    assert answer.code == 0, answer.err
    head, line, count = answer.out.splitlines()
    assert head.split() == ["RUN", "STATE", "EPOCHS", "BEST", "DATA", "STARTED"]
    name, state, epochs, metric, value, data, *_ = line.split()
    assert (name, state, epochs, metric) == (
        f"logs/{own_run.name}", "finished", "2/2", "val/jets_classification_loss"
    )  # fmt: skip
    assert any(f"={value}" in path.name for path in (own_run / "ckpts").iterdir())
    assert data == "sample.h5"
    assert count == "1 run"


def test_listing_does_not_wait_for_torch_or_numpy(own_run):
    code = "import sys; from salt.cli.main import main; main(['runs', *sys.argv[1:]]);"
    code += "sys.exit(bool({'torch', 'numpy', 'lightning'} & sys.modules.keys()))"
    for arguments in ([own_run], ["diff", own_run, own_run], ["clean", own_run]):
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, check=False)
        assert done.returncode == 0, arguments


def test_a_run_without_state_is_known_by_its_checkpoints(salt, run):
    folder = run()
    for name in ("epoch=000-val_loss=0.70000.ckpt", "epoch=001-val_loss=0.65000.ckpt"):
        (folder / "ckpts" / name).touch()
    found = listed(salt)[folder.name]
    assert (found["state"], found["epoch"], found["epochs"]) == ("not recorded", 2, 3)
    assert found["best"] == {"name": "val_loss", "value": 0.65, "epoch": 1}


def test_a_run_is_running_while_its_process_lives_and_killed_once_it_does_not(salt, run, dead):
    run("alive_20260101-000000", Process.this(), state="running")
    run("killed_20260101-000000", dead, state="running")
    found = listed(salt)
    assert found["alive_20260101-000000"]["state"] == "running"
    assert found["killed_20260101-000000"]["state"] == "killed"


def test_of_a_run_on_another_machine_it_is_said_that_it_is_not_known(salt, run, dead):
    run(process=Process("farm7", 12), state="running")
    assert [each["state"] for each in listed(salt).values()] == ["running, or killed, on farm7"]


def test_why_a_run_failed_is_shown(salt, run, dead):
    run(process=dead, state="failed", reason="ValueError: no")
    assert "failed (ValueError: no)" in salt("runs").out


def test_a_folder_that_is_not_there_is_answered_with_the_nearest(salt, run):
    run()
    answer = salt("runs", "lags")
    assert answer.code == 2
    assert "no folder lags" in answer.error
    assert "logs" in answer.error


def test_a_folder_without_runs_has_none(salt, tmp_path):
    assert salt("runs").out == "0 runs\n"


def test_the_difference_of_a_run_and_its_copy_is_none(salt, own_run):
    shutil.copytree(own_run, "logs/copy")
    answer = salt("runs", "diff", own_run, "logs/copy")
    assert answer.code == 0, answer.err
    assert answer.out.count("no difference") == 4


def test_what_differs_between_two_runs_is_shown(salt, own_run):
    other = Path("logs/other")
    shutil.copytree(own_run, other)
    for name, edit in {
        "config.yaml": lambda content: content["trainer"].update(max_epochs=9),
        "state.yaml": lambda content: content["metrics"].update({"val/loss": 100.0}),
        "metadata.yaml": lambda content: (
            content["files"]["train"][0].update(sha256="0" * 64),
            content["packages"].update(torch="0.1"),
        ),
    }.items():
        content = yaml.safe_load((other / name).read_text())
        edit(content)
        (other / name).write_text(yaml.safe_dump(content, sort_keys=False))
    found = json.loads(salt("runs", "diff", own_run, other, "--json").out)
    assert found["config"] == ["trainer.max_epochs: 2 -> 9"]
    assert [line.split(" has changed")[0].rpartition("/")[2] for line in found["data"]] == ["sample.h5"]
    assert [line.split(":")[0] for line in found["code"]] == ["packages.torch"]
    assert [line.split(":")[0] for line in found["results"]] == ["val/loss"]


def test_a_run_to_compare_with_that_is_not_there_is_answered_with_the_nearest(salt, own_run):
    answer = salt("runs", "diff", own_run, "logs/GNN_1")
    assert answer.code == 2
    assert own_run.name in answer.error


def crumbs_of(folder):
    (folder / ".config.yaml.part").touch()
    (folder / "ckpts" / ".epoch=000.ckpt.part").touch()
    return {folder / ".config.yaml.part", folder / "ckpts" / ".epoch=000.ckpt.part"}


def test_half_written_files_of_a_killed_run_are_removed_and_nothing_else(salt, run, dead):
    folder = run(process=dead, state="running")
    (folder / "ckpts" / "epoch=000-val_loss=0.70000.ckpt").touch()
    parts = crumbs_of(folder)
    before = set(folder.rglob("*"))
    answer = salt("runs", "clean")
    assert answer.code == 0, answer.err
    assert before - set(folder.rglob("*")) == parts
    assert "removed 2 leftovers" in answer.out
    assert f"process {dead.pid} has ended" in answer.out


def test_a_dry_run_removes_nothing(salt, run, dead):
    folder = run(process=dead, state="running")
    parts = crumbs_of(folder)
    assert "would remove 2 leftovers" in salt("runs", "clean", "--dry-run").out
    assert all(path.exists() for path in parts)


@pytest.mark.parametrize(
    ("process", "why"), [(Process.this(), "is at work"), (Process("farm7", 12), "only farm7 can tell")]
)
def test_a_run_that_may_be_alive_is_left_alone(salt, run, process, why):
    parts = crumbs_of(run(process=process, state="running"))
    answer = salt("runs", "clean")
    assert all(path.exists() for path in parts)
    assert why in answer.out
    assert "removed 0 leftovers" in answer.out


def test_a_run_whose_directory_is_held_is_left_alone(salt, run, dead):
    folder = run(process=dead, state="finished")
    parts = crumbs_of(folder)
    let_go = hold(folder)
    answer = salt("runs", "clean")
    let_go()
    assert all(path.exists() for path in parts)
    assert "a process is at work in it" in answer.out


def old_folder(name, *files):
    folder = Path("logs") / name
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (0, 0))
    return folder


def test_the_folder_of_a_run_that_never_began_goes(salt, tmp_path):
    empty = old_folder("GNN_20260101-000000")
    crumbs = old_folder("GNN_20260102-000000", "metrics.csv", "tb/events.out.tfevents.123.host")
    answer = salt("runs", "clean")
    assert not empty.exists()
    assert not crumbs.exists()
    assert "removed 2 leftovers" in answer.out


def test_a_young_folder_may_be_that_of_a_run_that_is_being_prepared(salt, tmp_path):
    folder = tmp_path / "logs" / "GNN_20260101-000000"
    folder.mkdir(parents=True)
    answer = salt("runs", "clean")
    assert folder.exists()
    assert "younger than a day" in answer.out


@pytest.mark.parametrize("file", ["ckpts/epoch=000.ckpt", "notes.txt", "config.yaml", "diff.patch"])
def test_folders_with_anything_else_in_them_stay(salt, tmp_path, file):
    folder = old_folder("GNN_20260101-000000", file)
    assert salt("runs", "clean").code == 0
    assert (folder / file).exists()


def test_folders_that_are_not_named_like_runs_stay(salt, tmp_path):
    folder = old_folder("mine")
    assert "removed 0 leftovers" in salt("runs", "clean").out
    assert folder.exists()
