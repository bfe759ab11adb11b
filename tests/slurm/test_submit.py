"""`salt submit slurm` on a real Slurm: jobs that run, and the scheduler's own words where it takes none."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TINY = ["--config", "gnn.yaml", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2",
        "--trainer.limit_val_batches=1", "--data.num_train=500", "--data.batch_size=100"]  # fmt: skip

SALT = Path(sys.executable).with_name("salt")


@pytest.fixture
def submit(cluster, tmp_path):
    """`salt submit slurm WORDS` from an empty directory; gives subprocess's answer."""

    def run(*words, check=True, **variables):
        environment = {"XDG_CONFIG_HOME": str(tmp_path / "config"), **variables}
        words = [SALT, "submit", "slurm", *words]
        return cluster.run(*words, check=check, cwd=tmp_path, environment=environment, timeout=240)

    return run


@pytest.fixture
def stand_in(tmp_path):
    """A venv whose `salt` is a script of these lines: what is looked at is the job, and not the training."""

    def make(text):
        program = tmp_path / "venv" / "bin" / "salt"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/bash\n{text}\n")
        program.chmod(0o755)
        return f"--venv={tmp_path / 'venv'}"

    return make


def refused(answer):
    """What was said of a job that was not taken."""
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert answer.stderr.count("salt: error:") == 1
    return answer.stderr


def test_the_demo_config_trains(submit, cluster, tmp_path):
    number = submit("--time=10", "--memory=4G", "--name", "tiny", *TINY).stdout.strip()
    cluster.wait(number, timeout=180)
    (run,) = (tmp_path / "logs").glob("tiny_*")
    assert int(yaml.safe_load((run / "config.yaml").read_text())["trainer"]["devices"]) == 1
    assert list((run / "ckpts").glob("epoch=000*.ckpt"))
    assert "salt: " in (tmp_path / "logs" / "jobs" / f"tiny_{number}.log").read_text()


def test_the_job_has_the_resources_that_were_asked_for(submit, cluster, stand_in):
    words = ("--partition=GPU", "--gpus=2", "--cpus=3", "--memory=2G", "--time=1:30:00", "--extra=--comment='x y'")
    number = submit(stand_in("sleep 60"), *words, "--config=gnn.yaml").stdout.strip()
    shown = cluster.show(number)
    cluster.cancel(number)
    assert (shown["Partition"], shown["TimeLimit"], shown["NumTasks"]) == ("GPU", "01:30:00", "2")
    assert (shown["CPUs/Task"], shown["MinMemoryNode"], shown["Requeue"]) == ("3", "2G", "1")
    assert shown["TresPerNode"] in {"gres:gpu:2", "gpu:2"}
    assert shown["Comment"].strip() == "x y"


def test_gpus_can_be_asked_for_as_generic_resources(submit, cluster, stand_in):
    words = ("--partition=GPU", "--gpus=1", "--gpu-request=gres")
    number = submit(stand_in("sleep 60"), *words, "--config=gnn.yaml").stdout.strip()
    shown = cluster.show(number)
    cluster.cancel(number)
    assert shown["TresPerNode"] in {"gres:gpu:1", "gpu:1", "gres:gpu"}


def test_a_job_runs_in_the_folder_it_was_submitted_from_whatever_its_name(cluster, stand_in, tmp_path):
    folder = tmp_path / "it's 100%j my folder"
    folder.mkdir()
    words = [SALT, "submit", "slurm", stand_in("pwd"), "--config=gnn.yaml", "--name", "a b/c"]
    number = cluster.run(*words, cwd=folder).stdout.strip()
    cluster.wait(number)
    assert str(folder) in (folder / "logs" / "jobs" / f"a_b_c_{number}.log").read_text().splitlines()


def test_tasks_of_an_array_have_numbers_and_logs_of_their_own(submit, cluster, stand_in, tmp_path):
    number = submit(stand_in('echo "seed $3"'), "--array=3", "--config=gnn.yaml", "--name=a{task}").stdout.strip()
    cluster.wait(number)
    logs = sorted((tmp_path / "logs" / "jobs").glob(f"*_{number}_*.log"))
    assert [re.findall(r"--name=a\d", log.read_text()) for log in logs] == [["--name=a0"], ["--name=a1"], ["--name=a2"]]


def test_a_job_begins_after_another_that_has_ended_well(submit, cluster, stand_in, tmp_path):
    venv = stand_in(f'echo "$2" >> {tmp_path}/order; sleep 1')
    first = submit(venv, "--name=first", "--config=gnn.yaml").stdout.strip()
    second = submit(venv, "--after", first, "--name=second", "--config=gnn.yaml").stdout.strip()
    cluster.wait(second)
    assert (tmp_path / "order").read_text().split() == ["--name=first", "--name=second"]


def test_a_job_that_can_never_begin_is_cancelled(submit, cluster, stand_in):
    first = submit(stand_in("exit 3"), "--config=gnn.yaml").stdout.strip()
    second = submit(stand_in("exit 3"), "--after", f"{first}:afterok", "--config=gnn.yaml").stdout.strip()
    cluster.wait(first, "FAILED")
    cluster.wait(second, "CANCELLED")


def test_waiting_takes_the_jobs_exit_code_and_tells_its_number_first(submit, stand_in):
    answer = submit(stand_in("sleep 1; exit 7"), "--wait", "--config=gnn.yaml", check=False)
    assert answer.returncode == 7
    assert answer.stdout.strip().isdigit()


def test_variables_of_the_environment_go_with_the_job(submit, cluster, stand_in, tmp_path):
    venv = stand_in('echo "key $COMET_API_KEY"')
    number = submit(venv, "--config=gnn.yaml", "--trainer.logger.api_key=hush").stdout.strip()
    cluster.wait(number)
    assert "key hush" in cluster.said(number)
    script = cluster.run("scontrol", "write", "batch_script", number, "-").stdout
    assert "salt fit" in script
    assert "hush" not in script


def test_a_dry_run_submits_nothing(submit, cluster, tmp_path):
    before = cluster.run("squeue", "-h", "-o", "%i", "-t", "all").stdout
    answer = submit("--dry-run", "--gpus=2", "--config=gnn.yaml")
    subprocess.run(["bash", "-n"], input=answer.stdout, text=True, check=True)
    assert cluster.run("squeue", "-h", "-o", "%i", "-t", "all").stdout == before
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("words", "theirs", "ours"),
    [
        (
            ["--partition=GPUU"],
            "invalid partition specified: GPUU",
            "asked for: --partition GPUU\n  there are:\n    GPU",
        ),
        (["--partition=GPU", "--gpus=3"], "Requested node configuration is not available", "1 nodes with 3 GPUs"),
        (["--partition=CPU", "--nodes=2"], "", "asked for: 2 nodes with 0 GPUs, 1 cores"),
        (["--tasks=99"], "", "99 cores (99 ranks of 1)"),
        (["--memory=900G"], "Memory", "900G memory"),
        (["--partition=CPU", "--time=24:00:00"], "time limit", "asked for: --time 24:00:00"),
        (["--gpus=martian:1"], "Requested node configuration is not available", "1 GPUs (martian)"),
        (["--constraint=fast"], "feature", "asked for: --constraint fast"),
        (["--after=999999"], "Invalid job id", "asked for: --after 999999:afterok"),
        (["--extra=--comment=a b"], "Invalid directive", "asked for: --extra='--comment=a b'"),
    ],
)
def test_what_cannot_be_had_ends_with_the_schedulers_words_and_ours(submit, words, theirs, ours):
    error = refused(submit(*words, "--config=gnn.yaml", check=False))
    assert theirs.lower() in error.lower()
    assert ours in error
    assert "mend:" in error


def test_what_cannot_be_had_is_told_to_who_waits_as_well(submit):
    answer = submit("--wait", "--partition=GPUU", "--config=gnn.yaml", check=False)
    assert "invalid partition specified: GPUU" in refused(answer)


def test_a_container_that_is_missing_is_an_error_before_anything_is_submitted(submit, cluster):
    before = cluster.run("squeue", "-h", "-o", "%i", "-t", "all").stdout
    assert "--image gone.sif: there is no " in refused(submit("--image=gone.sif", "--config=gnn.yaml", check=False))
    assert cluster.run("squeue", "-h", "-o", "%i", "-t", "all").stdout == before


def test_a_scheduler_that_does_not_answer_is_an_error_and_no_traceback(submit, cluster, tmp_path):
    conf = tmp_path / "slurm.conf"
    conf.write_text(re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", cluster.conf.read_text()) + "\nMessageTimeout=2\n")
    answer = submit("--config=gnn.yaml", check=False, SLURM_CONF=str(conf))
    assert "Unable to contact slurm controller" in refused(answer)
