"""`salt submit`: what is looked at before a job waits in a queue, what is written, and a job on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from salt.cli import submit

SHORT = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1")


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """No defaults of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("COMET_API_KEY", raising=False)


def script(salt, *arguments, backend="slurm"):
    """The script of --dry-run, whose syntax is right."""
    answer = salt("submit", backend, "--dry-run", *arguments)
    assert answer.code == 0, answer.err
    subprocess.run(["bash", "-n"], input=answer.out, text=True, check=True)
    return answer.out


def command(text):
    """The line that runs salt."""
    (line,) = [line for line in text.splitlines() if " salt " in f" {line}" and "--trainer.devices" in line]
    return line


def test_help_lists_options_and_examples(salt):
    answer = salt("submit", "slurm", "--help")
    assert answer.code == 0
    assert "salt submit slurm --partition gpu" in answer.out
    assert all(f"--{option}" in answer.out for option in ("dry-run", "gpus", "stage", "site"))
    assert max(map(len, answer.out.splitlines())) <= 120


def test_nothing_heavy_is_imported_for_a_dry_run(tmp_path):
    code = (
        "import sys; from salt.cli.main import main; main(['submit', 'local', '--dry-run', '--config', 'gnn.yaml']);"
        "assert not {'torch', 'lightning', 'h5py', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)


def test_a_scheduler_that_is_not_known_is_an_error_that_lists_the_others(salt):
    assert "unknown scheduler 'slrum' in salt submit; nearest: slurm" in salt("submit", "slrum").error


def test_what_submit_does_not_know_is_handed_on_as_it_is(salt):
    text = script(salt, "--gpus", "1", "--config", "gnn.yaml", "--data.batch_size", "500", "--name", "a b", "-f")
    assert "salt fit --config gnn.yaml --data.batch_size 500 --name 'a b' -f --trainer.devices=1" in command(text)


@pytest.mark.parametrize("verb", ["sweep", "report"])
def test_a_verb_may_be_named(salt, verb, tmp_path):
    (tmp_path / "space.yaml").write_text("{}")
    assert f"salt {verb} space.yaml" in salt("submit", "slurm", "--dry-run", verb, "space.yaml").out


@pytest.mark.parametrize("verb", ["fitt", "submit", "runs"])
def test_what_cannot_be_a_job_is_an_error_that_lists_what_can(salt, verb):
    assert f"unknown verb '{verb}' in salt submit; nearest: " in salt("submit", "slurm", verb).error


@pytest.mark.parametrize(
    ("options", "ranks", "nodes"), [(("--gpus", "2", "--nodes", "3"), 2, 3), (("--tasks=2",), 2, 1)]
)
def test_tasks_and_devices_agree(salt, options, ranks, nodes):
    text = script(salt, *options, "--config", "gnn.yaml")
    assert f"#SBATCH --ntasks-per-node={ranks}\n" in text
    assert f"#SBATCH --nodes={nodes}\n" in text
    assert f"--trainer.devices={ranks} --trainer.num_nodes={nodes}" in command(text)
    assert (f"#SBATCH --gpus-per-node={ranks}\n" in text) == ("--gpus" in options)


def test_a_job_follows_its_config(salt, overlay):
    config = overlay(trainer={"devices": 2, "num_nodes": 2, "accelerator": "gpu"})
    answer = salt("submit", "slurm", "--dry-run", "--config", "gnn.yaml", "--config", config)
    assert "#SBATCH --gpus-per-node=2\n" in answer.out
    assert "#SBATCH --nodes=2\n" in answer.out
    assert f"--gpus 2 from trainer.devices = 2 in {config}" in answer.err


def test_a_contradiction_of_job_and_config_is_an_error_that_names_both(salt, overlay):
    config = overlay(trainer={"devices": 4})
    answer = salt("submit", "slurm", "--gpus", "2", "--config", "gnn.yaml", "--config", config)
    assert answer.code == 2
    assert f"--gpus 2 contradicts trainer.devices = 4, which {config} says" in answer.error


def test_a_test_of_a_run_has_as_many_ranks_as_the_run_had_and_others_where_somebody_asks(salt, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "test.h5").touch()
    content = {"name": "GNN", "trainer": {"devices": 4, "accelerator": "gpu"}}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(content))
    words = ("test", "run", "test.h5")
    assert "#SBATCH --gpus-per-node=4\n" in script(salt, *words)
    text = script(salt, "--gpus=1", *words)
    assert "#SBATCH --gpus-per-node=1\n" in text
    assert "#SBATCH --job-name=GNN_test\n" in text


def test_a_sweep_that_goes_on_gets_what_its_trials_need(salt, tmp_path, monkeypatch):
    monkeypatch.setattr(submit, "verbs", lambda: ["sweep"])
    (tmp_path / "study").mkdir()
    content = {"format": 1, "arguments": ["--config=gnn.yaml", "--trainer.devices=2", "--trainer.accelerator=gpu"]}
    (tmp_path / "study" / "sweep.yaml").write_text(yaml.safe_dump(content))
    words = ("--array=3", "sweep", "--study=study")
    assert "#SBATCH --gpus-per-node=2\n" in salt("submit", "slurm", "--dry-run", *words).out
    error = salt("submit", "slurm", "--gpus=1", *words).error
    assert "--gpus 1 contradicts trainer.devices = 2, which study/sweep.yaml says" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "gmm.yaml"], "no file gmm.yaml (--config)"),
        (["--resume", "logs/none"], "no run logs/none"),
        (["test", "logs/none"], "no run logs/none"),
        (["--config", "gnn.yaml", "--data.train_file", "a.h5"], "data.train_file = a.h5, which the command line says"),
        (["--config", "gnn.yaml", "--data.val_file=*.h5"], "data.val_file = *.h5, which the command line says"),
        (["--config", "gnn.yaml", "--image", "a.sif"], "--image a.sif: there is no "),
        (["--config", "gnn.yaml", "--venv", "/usr"], "--venv /usr has no bin/salt"),
        (["--config", "gnn.yaml", "--prelude", "a.sh"], "--prelude a.sh: there is no such file"),
        (["--config", "gnn.yaml", "--bind", "/tmp"], "--bind is for a container, and this is venv"),
        (["--config", "gnn.yaml", "--array", "2"], "--array 2: all tasks would be the same salt fit"),
        (["--config", "gnn.yaml", "--name", "{task}"], "{task} is the number of a task, and there are no tasks"),
        (["--config", "gnn.yaml", "--time", "10", "--signal-before", "10"], "--signal-before 10 (minutes) leaves"),
        (["--config", "gnn.yaml", "--log-dir", "/proc/x"], "--log-dir /proc/x: "),
    ],
)
def test_what_is_missing_is_said_before_the_job_waits(salt, words, message):
    answer = salt("submit", "slurm", *words)
    assert answer.code == 2
    assert message in answer.error
    assert "mend:" in answer.error


def test_data_of_a_container_are_looked_for_where_they_are_here(salt, tmp_path):
    (tmp_path / "i.sif").touch()
    (tmp_path / "a.h5").touch()
    words = ("--image=i.sif", f"--bind={tmp_path}:/data", "--config=gnn.yaml")
    assert "apptainer exec" in script(salt, *words, "--data.train_file=/data/a.h5")
    assert "data.train_file = /data/b.h5" in salt("submit", "slurm", *words, "--data.train_file=/data/b.h5").error


def test_data_on_a_server_are_not_looked_for(salt):
    script(salt, "--config=gnn.yaml", "--data.train_file=s3://bucket/a.h5")


def test_a_time_without_hours_is_said(salt):
    answer = salt("submit", "slurm", "--dry-run", "--time", "04:00", "--config", "gnn.yaml")
    assert "--time 04:00 is 00:04:00, in hours:minutes:seconds" in answer.err


def test_defaults_of_the_site_count_less_than_options(salt, tmp_path):
    (tmp_path / "site.yaml").write_text("partition: theirs\naccount: me\ngpus: 2\n")
    text = script(salt, "--site=site.yaml", "--partition=mine", "--config=gnn.yaml")
    assert "--partition=mine\n" in text
    assert "--account=me\n" in text
    assert "--ntasks-per-node=2\n" in text


@pytest.mark.parametrize("words", [["--trainer.logger.api_key=hush"], ["--trainer.logger.init_args.api_key", "hush"]])
def test_a_key_of_a_service_goes_into_the_environment_and_not_into_the_script(salt, words, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", "before")  # to be undone after the test
    answer = salt("submit", "slurm", "--dry-run", "--config", "gnn.yaml", *words)
    assert answer.code == 0, answer.err
    assert "hush" not in answer.out + answer.err
    assert "a key on the command line goes into the variable COMET_API_KEY, and into no script" in answer.err
    assert os.environ["COMET_API_KEY"] == "hush"


def test_without_slurm_there_is_one_error_that_says_what_can_be_done(salt, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    answer = salt("submit", "slurm", "--config", "gnn.yaml")
    assert answer.code == 2
    assert "there is no sbatch on the PATH here" in answer.error
    assert "--dry-run" in answer.error
    assert "salt submit local" in answer.error


def test_the_script_that_ships_is_written_once(salt):
    assert salt("submit", "script").code == 0
    assert os.access("submit_slurm.sh", os.X_OK)
    Path("submit_slurm.sh").write_text("mine")
    assert "submit_slurm.sh is there already" in salt("submit", "script").error
    assert Path("submit_slurm.sh").read_text() == "mine"


def test_options_that_mean_nothing_here_are_said(salt):
    answer = salt("submit", "local", "--dry-run", "--partition", "gpu", "--signal-before=5", "--config", "gnn.yaml")
    assert answer.code == 0
    assert "--partition means nothing to salt submit local" in answer.err
    assert "--signal-before means nothing to salt submit local" in answer.err


@pytest.mark.slow
def test_a_job_on_this_machine_trains(tmp_path):
    """In a process of its own: the training is a child of it, and writes to its stdout."""
    words = ["submit", "local", "--stage", "--array", "2", "--config", "gnn.yaml", *SHORT]
    options = ["--name", "tiny", "--log_suffix={task}", "--seed_everything", "{task}", "--data.num_train=500"]
    done = subprocess.run(
        [sys.executable, "-m", "salt", *words, *options], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "logs").iterdir())
    assert [run.name for run in runs] == ["tiny_0", "tiny_1"]
    assert [yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] for run in runs] == [0, 1]
    assert all(list((run / "ckpts").glob("*.ckpt")) for run in runs)
