"""What a batch script of Slurm does once it runs: the same in all of them, with submit_slurm.sh."""

from __future__ import annotations

from importlib import resources

from salt.clusters.job import Job, command_line, stage_lines

AS_ONE = frozenset({"sweep"})
"""Verbs that start the ranks of a training themselves, and so are one process for all of a job."""


def body(job: Job) -> str:
    """The script after its head: sets variables, and runs the command as a step, see step.sh."""
    needs = job.resources
    options = [f"--ntasks=1 --nodes=1 --cpus-per-task={needs.cpus * needs.ranks_per_node}"] * (job.verb in AS_ONE)
    words = ["run_as_step", str(job.max_restarts), *options, "--", command_line(job)]
    lines = [
        "export OMP_WAIT_POLICY=PASSIVE  # threads that spin starve whoever shares the cores",
        'export SALT_JOB_ID="slurm-$SLURM_JOB_ID"  # stays when the job is begun again, and so its run is found',
        *job.environment.lines(),
        *stage_lines(job),
        "",
        step(),
        " ".join(words),
    ]
    return "\n".join(lines) + "\n"


def step() -> str:
    """The functions of bash that run a command as a step of a job."""
    return (resources.files("salt") / "clusters" / "step.sh").read_text()
