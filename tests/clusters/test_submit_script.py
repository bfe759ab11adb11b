"""`sbatch submit_slurm.sh`, where there is no Slurm: what the script says, and what it would run."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from salt.clusters import script
from salt.clusters.job import Job, Resources

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ROOT / "salt" / "clusters" / "submit_slurm.sh"

SRUN = """#!/bin/bash
while [ "$1" != bash ]; do echo "option $1" >> "$SAID"; shift; done
SLURM_PROCID=0 "$@"
"""

SALT = """#!/bin/bash
printf '%s\\n' "$@" > "$SAID.salt"
exit "${CODE:-0}"
"""

SCONTROL = """#!/bin/bash
echo "$@" > "$SAID.scontrol"
"""


@pytest.fixture
def run(tmp_path):
    """Run a script as a job would, with an srun, a salt and an scontrol that write down what they are asked."""
    for name, text in {"srun": SRUN, "salt": SALT, "scontrol": SCONTROL}.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def submit(text, *arguments, **variables):
        (tmp_path / "job.sh").write_text(text)
        job = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS_PER_NODE": "1"}
        environment = {
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
            "SAID": str(tmp_path / "said"),
            **{name: value for name, value in {**job, **variables}.items() if value is not None},
        }
        return subprocess.run(
            ["bash", "job.sh", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return submit


def words(tmp_path):
    return (tmp_path / "said.salt").read_text().splitlines()


@pytest.mark.parametrize("file", [SHIPPED, SHIPPED.with_name("step.sh")], ids=lambda file: file.name)
def test_the_scripts_are_bash(file):
    done = subprocess.run(["bash", "-n", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_script_lies_at_the_root_of_the_repository_and_in_the_package():
    assert (ROOT / "submit_slurm.sh").read_text() == SHIPPED.read_text()


def test_the_script_runs_its_step_as_salt_submit_does():
    assert script.step() in SHIPPED.read_text()


def test_the_script_names_nobody_and_no_place_of_anybody():
    text = SHIPPED.read_text()
    assert (
        re.findall(
            r"/(?:home|users|afs|eos|unix|scratch|data)\b|\w@[a-z]",
            text,
        )
        == []
    )


def test_devices_are_the_tasks_of_a_node(run, tmp_path):
    done = run(SHIPPED.read_text(), SLURM_NTASKS_PER_NODE="4", SLURM_JOB_NUM_NODES="2", SLURM_GPUS_ON_NODE="4")
    assert done.returncode == 0, done.stderr
    expected = ["fit", "--config", "gnn.yaml", "--trainer.devices=4", "--trainer.num_nodes=2"]
    assert words(tmp_path) == expected


def test_what_is_said_to_sbatch_after_the_script_is_for_salt(run, tmp_path):
    run(SHIPPED.read_text(), "--config", "my config.yaml", "--data.batch_size=5")
    assert words(tmp_path)[:4] == ["fit", "--config", "my config.yaml", "--data.batch_size=5"]


def test_tasks_that_are_not_one_for_each_gpu_are_refused(run, tmp_path):
    done = run(SHIPPED.read_text(), SLURM_NTASKS_PER_NODE="1", SLURM_GPUS_ON_NODE="2")
    assert done.returncode == 2
    assert "sbatch --gpus-per-node=2 --ntasks-per-node=2 submit_slurm.sh" in done.stderr
    assert not (tmp_path / "said.salt").exists()


def test_the_script_is_no_program(run):
    done = run(SHIPPED.read_text(), SLURM_JOB_ID=None)
    assert (done.returncode, done.stderr) == (2, "submit_slurm.sh is a job of Slurm: sbatch submit_slurm.sh\n")


def test_an_environment_of_an_unknown_kind_is_refused(run):
    done = run(SHIPPED.read_text().replace("KIND=none", "KIND=cnoda"))
    assert (done.returncode, "there are venv, conda, none" in done.stderr) == (2, True)


def body(**options):
    return script.body(Job(arguments=("--config", "gnn.yaml"), **options))


@pytest.mark.parametrize(
    ("code", "restarts", "expected", "requeued"),
    [
        (0, 0, 0, False),
        (1, 0, 1, False),
        (2, 0, 2, False),
        (127, 0, 127, False),
        (64, 0, 1, False),
        (143, 0, 143, False),
        (130, 0, 130, False),
        (75, 9, 75, True),
        (138, 9, 75, True),
        (137, 1, 137, True),
        (139, 1, 137, True),
        (137, 2, 137, False),
    ],
)
def test_a_job_answers_for_how_its_command_ends(run, tmp_path, code, restarts, expected, requeued):
    done = run(body(max_restarts=2), CODE=str(code), SLURM_RESTART_COUNT=str(restarts))
    assert done.returncode == expected, done.stderr
    asked = tmp_path / "said.scontrol"
    assert (asked.read_text() if asked.exists() else None) == ("requeue 17\n" if requeued else None)


def test_a_task_of_an_array_puts_only_itself_back_into_the_queue(run, tmp_path):
    array = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"}
    run(body(), CODE="75", **array)
    assert (tmp_path / "said.scontrol").read_text() == "requeue 17_3\n"


def test_a_sweep_is_one_process_with_all_cores(run, tmp_path):
    run(body(verb="sweep", resources=Resources(tasks=3, cpus=2)))
    options = (tmp_path / "said").read_text().splitlines()
    assert options[-3:] == ["option --ntasks=1", "option --nodes=1", "option --cpus-per-task=6"]


def test_the_folder_of_copies_goes_with_the_job(run, tmp_path):
    run(body(stage=f"{tmp_path}/copies"))
    assert f"--data.move_files_temp={tmp_path}/copies" in words(tmp_path)
    assert not (tmp_path / "copies").exists()
