import os

import pytest

from salt.cli.launch import Launch, launched, settle

JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "3", "SLURM_NTASKS_PER_NODE": "3", "SLURM_PROCID": "0"}
STEP = {**JOB, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}


def test_nobody_has_started_what_is_started_in_a_shell():
    assert launched({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}) is None  # as Lightning's own ranks have it


def test_the_script_of_a_job_is_not_a_task_of_srun():
    assert launched(JOB) is None


@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_an_interactive_job_is_a_shell(name):
    assert launched({**STEP, "SLURM_JOB_NAME": name}) is None


def test_a_step_counts_and_not_its_job():
    assert launched(STEP) == Launch("srun", 2, 1)


def test_nodes_have_to_have_as_many_processes():
    with pytest.raises(ValueError, match="srun has started 3 processes on 2 nodes"):
        launched({**STEP, "SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_NUM_NODES": "2"})


def test_lightning_is_told_the_numbers_of_the_step():
    variables = dict(STEP)
    assert settle(variables) == 0
    assert (variables["SLURM_NTASKS"], variables["SLURM_NTASKS_PER_NODE"], variables["SLURM_NNODES"]) == ("2", "2", "1")


def test_lightning_does_not_wait_for_tasks_that_nobody_starts():
    variables = dict(JOB)
    assert settle(variables) == 2
    assert "SLURM_NTASKS" not in variables


def test_without_slurm_nothing_is_touched():
    variables = dict(os.environ)
    before = dict(variables)
    assert settle(variables) == 0
    assert variables == before
