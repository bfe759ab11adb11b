"""The head of a batch script, line by line; tests/slurm submits such scripts to a Slurm."""

import subprocess
from pathlib import Path

import pytest

from salt.clusters import refusals, slurm
from salt.clusters.job import Job, Resources


def head(**fields):
    """Options of sbatch in the script of a job."""
    (text,) = slurm.render(Job(log_dir=Path("/logs"), directory=Path("/here"), **fields)).values()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert text.startswith("#!/bin/bash\n")
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_a_job_that_asks_for_nothing_gets_a_core_and_what_the_cluster_gives():
    assert head(name="GNN") == [
        "--job-name=GNN",
        "--chdir=/here",
        "--output=/logs/GNN_%j.log",
        "--open-mode=append",
        "--requeue",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=1",
    ]


@pytest.mark.parametrize(
    ("resources", "line"),
    [
        (Resources(gpus=2), "--gpus-per-node=2"),
        (Resources(gpus=2, gpu_type="a100"), "--gpus-per-node=a100:2"),
        (Resources(gpus=2, gpu_request="gres"), "--gres=gpu:2"),
        (Resources(gpus=2, gpu_type="a100", gpu_request="gres"), "--gres=gpu:a100:2"),
        (Resources(gpus=2), "--ntasks-per-node=2"),
        (Resources(tasks=3), "--ntasks-per-node=3"),
        (Resources(nodes=3), "--nodes=3"),
        (Resources(cpus=3), "--cpus-per-task=3"),
        (Resources(memory="2G"), "--mem=2G"),
        (Resources(time="1-0"), "--time=1-0"),
        (Resources(partition="p"), "--partition=p"),
        (Resources(account="a"), "--account=a"),
        (Resources(qos="q"), "--qos=q"),
        (Resources(constraint="[a|b] & c"), "--constraint='[a|b] & c'"),
        (Resources(extra=("--exclusive", "--mail-type=END")), "--mail-type=END"),
    ],
)
def test_each_resource_is_a_line(resources, line):
    assert line in head(resources=resources)


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({"array": 4}, {"--array=0-3", "--output=/logs/salt_%A_%a.log"}),
        ({"after": "12"}, {"--dependency=afterok:12", "--kill-on-invalid-dep=yes"}),
        ({"after": "12,13:afterany"}, {"--dependency=afterany:12:13"}),
        ({"signal_before": 5}, {"--signal=USR1@300"}),
    ],
)
def test_each_wish_is_a_line(fields, lines):
    assert lines <= set(head(**fields))


def test_a_folder_with_a_percent_sign_is_no_pattern():
    (text,) = slurm.render(Job(log_dir=Path("/100%j"))).values()
    assert "#SBATCH --output=/100%%j/salt_%j.log\n" in text


def test_tasks_of_an_array_know_their_number_before_the_command_needs_it():
    (text,) = slurm.render(Job(array=2, arguments=("--name={task}",))).values()
    assert text.index('export SALT_TASK="${SLURM_ARRAY_TASK_ID:-0}"') < text.index('--name="$SALT_TASK"')


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ("gpu:4", "4"),
        ("gpu:a100:4(S:0-1)", "a100:4"),
        ("gpu:a100:4,gpu:v100:2,shard:8", "a100:4,v100:2"),
        ("(null)", ""),
    ],
)
def test_gpus_are_found_among_the_resources_of_a_node(resources, gpus):
    assert refusals._gpus(resources) == gpus


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("sbatch: error: Invalid account or account/partition combination specified", "--account mine"),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", "--qos high"),
        ("sbatch: error: Job violates accounting/QOS policy (size and/or time limits)", "--account mine"),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", "wait until the scheduler answers"),
    ],
)  # fmt: skip
def test_what_this_machines_slurm_never_says_is_explained_too(said, ours):
    job = Job(resources=Resources(account="mine", qos="high"))
    assert refusals.explained(job, said).startswith(said)
    assert ours in refusals.explained(job, said)


def test_words_that_nobody_knows_are_passed_on():
    assert refusals.explained(Job(), "sbatch: error: moon in Leo\n") == "sbatch: error: moon in Leo"
    assert refusals.explained(Job(), "") == "sbatch failed, and said nothing"
