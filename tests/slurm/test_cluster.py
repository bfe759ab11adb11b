"""The cluster of these tests: it is what the others take it for."""

from tests.slurm.cluster import Cluster


def test_a_job_runs_and_leaves_its_output(cluster, tmp_path):
    job = cluster.submit("--wrap", "srun echo hello", cwd=tmp_path)
    assert cluster.wait(job)["ExitCode"] == "0:0"
    assert cluster.said(job).strip() == "hello"


def test_a_job_that_asks_for_more_gpus_than_there_are_is_refused(cluster, tmp_path):
    answer = cluster.run("sbatch", "--partition=GPU", "--gpus-per-node=3", "--wrap=true", check=False, cwd=tmp_path)
    assert answer.returncode == 1
    assert "Requested node configuration is not available" in answer.stderr


def test_a_job_that_is_requeued_starts_again(cluster, tmp_path):
    script = 'if [ -z "$SLURM_RESTART_COUNT" ]; then scontrol requeue "$SLURM_JOB_ID"; sleep 60; fi'
    job = cluster.submit("--wrap", script, cwd=tmp_path)
    assert cluster.wait(job, restarts=1)["Restarts"] == "1"


def test_a_cluster_that_is_closed_leaves_nothing(tmp_path):
    cluster = Cluster()
    try:
        job = cluster.submit("--wrap", "sleep 300", cwd=tmp_path)
        cluster.wait(job, "RUNNING")
        assert len(cluster.processes()) > 1
    finally:
        cluster.close()
    assert list(cluster.living()) == []
    assert not cluster.folder.exists()
