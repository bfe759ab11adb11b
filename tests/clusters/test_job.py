"""A job's command: the words, and the line of bash that says them on the node."""

import subprocess

import pytest

from salt.clusters.environments import Environment
from salt.clusters.job import STAGE, Job, Resources, command, command_line, stage_lines


def spoken(job, **variables):
    """The words that bash makes of a job's line."""
    line = command_line(job)
    lines = [*stage_lines(job), f"words=({line})", 'printf "%s\\0" "${words[@]}"']
    done = subprocess.run(["bash", "-euc", "\n".join(lines)], capture_output=True, text=True, check=True, env=variables)
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize(
    ("resources", "devices", "nodes"),
    [
        (Resources(), 1, 1),
        (Resources(tasks=3), 3, 1),
        (Resources(gpus=4, nodes=2), 4, 2),
        (Resources(gpus=2, tasks=5), 2, 1),  # a rank for each GPU
    ],
)
def test_the_trainer_is_told_of_the_ranks_that_the_job_has(resources, devices, nodes):
    words = command(Job(resources=resources))
    assert f"--trainer.devices={devices}" in words
    assert f"--trainer.num_nodes={nodes}" in words
    assert resources.ranks_per_node == devices


def test_a_job_without_gpus_trains_on_the_cpu_and_one_with_them_does_not():
    assert "--trainer.accelerator=cpu" in command(Job())
    assert "--trainer.accelerator=cpu" not in command(Job(resources=Resources(gpus=1)))


@pytest.mark.parametrize("given", [("--trainer.accelerator=auto",), ("--trainer.accelerator", "auto")])
def test_an_accelerator_that_the_user_names_stays(given):
    assert "--trainer.accelerator=cpu" not in command(Job(arguments=given))


def test_a_verb_without_a_trainer_is_not_told_of_devices():
    assert command(Job(verb="report", arguments=("RUN",))) == ["salt", "report", "RUN"]


def test_a_sweep_that_goes_on_keeps_the_options_that_it_began_with():
    assert command(Job(verb="sweep", arguments=("--study", "logs/x"))) == ["salt", "sweep", "--study", "logs/x"]
    assert "--trainer.devices=1" in command(Job(verb="sweep", arguments=("space.yaml", "--config=gnn.yaml")))


@pytest.mark.parametrize(
    "word", ["a b", "it's", 'a "b"', "$HOME", "$(id)", "`id`", "a\\b", "*", "ä;&|", "{a: [1, 2]}", ""]
)
def test_words_of_the_user_arrive_as_they_are(word):
    job = Job(arguments=("--name", word), resources=Resources(gpus=1))
    assert spoken(job)[:4] == ["salt", "fit", "--name", word]


def test_the_number_of_the_task_is_put_in_on_the_node():
    job = Job(arguments=("--seed_everything={task}", "--log_suffix", "x y{task}", "{task}"))
    assert spoken(job, SALT_TASK="7")[2:6] == ["--seed_everything=7", "--log_suffix", "x y7", "7"]


def test_the_folder_of_the_copies_is_the_scratch_of_the_node_and_of_the_job_alone():
    job = Job(stage=STAGE)
    assert spoken(job, SALT_JOB_ID="slurm-1", TMPDIR="/t")[-1] == "--data.move_files_temp=/t/salt-slurm-1"
    scratch = {"SALT_JOB_ID": "slurm-1", "TMPDIR": "/t", "SLURM_TMPDIR": "/s p"}
    assert spoken(job, **scratch)[-1] == "--data.move_files_temp=/s p/salt-slurm-1"
    assert spoken(job, SALT_JOB_ID="slurm-1")[-1] == "--data.move_files_temp=/tmp/salt-slurm-1"


def test_a_folder_of_the_users_may_hold_variables_of_the_node_and_runs_no_command():
    job = Job(stage='$SCRATCH/a "b" $(echo no) `echo no` \\')
    assert spoken(job, SCRATCH="/s")[-1] == '--data.move_files_temp=/s/a "b" $(echo no) `echo no` \\'


def test_a_container_sees_the_folder_that_the_copies_go_to():
    job = Job(stage="$SCRATCH/mine", environment=Environment("apptainer", "i.sif", binds=("/eos",)))
    assert spoken(job, SCRATCH="/s")[:6] == ["apptainer", "exec", "--bind=/eos", "--bind=/s", "i.sif", "salt"]
