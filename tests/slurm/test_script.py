"""`sbatch submit_slurm.sh`: the script that ships, as it is."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(300)
def test_the_script_that_ships_trains_what_it_is_told_on_as_many_ranks_as_it_has_gpus(cluster, tmp_path):
    shutil.copy(ROOT / "submit_slurm.sh", tmp_path)
    gpus = ["--partition=GPU", "--gpus-per-node=2", "--ntasks-per-node=2", "--mem=1G"]
    options = ["--config=simple.yaml", "-ls=a", "--trainer.max_epochs=1", "--data.num_train=500", "--data.num_val=200"]
    active = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # as in an environment that is active
    job = cluster.submit(*gpus, "submit_slurm.sh", *options, cwd=tmp_path, environment=active)
    cluster.wait(job, timeout=180)
    trainer = yaml.safe_load((tmp_path / "logs" / "simple_a" / "config.yaml").read_text())["trainer"]
    assert (int(trainer["devices"]), trainer["num_nodes"]) == (2, 1)
    metadata = yaml.safe_load((tmp_path / "logs" / "simple_a" / "metadata.yaml").read_text())
    assert (metadata["salt_job_id"], metadata["slurm_job_id"]) == (f"slurm-{job}", job)
    assert "distributed_backend=gloo" in cluster.said(job)
    assert (tmp_path / f"salt-{job}.log").is_file()


def test_a_node_without_salt_is_told_so(cluster, tmp_path):
    words = ["--mem=1G", ROOT / "submit_slurm.sh"]
    job = cluster.submit(*words, cwd=tmp_path, environment={"PATH": "/usr/bin:/bin"})
    assert cluster.wait(job, "FAILED")["ExitCode"] == "2:0"
    assert "no salt on the PATH: set KIND and ENVIRONMENT" in cluster.said(job)
