"""Slurm: the head of a batch script, and what sbatch says to it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator

from salt.clusters import script
from salt.clusters.job import Job
from salt.clusters.refusals import explained

PLAIN = re.compile(r"[\w.:/@+=,%{}|&*!-]+$")
"""Words that sbatch reads as they are."""

NO_SBATCH = (
    "there is no sbatch on the PATH here: this machine submits no jobs to Slurm\n"
    "  mend: run this on a machine of the cluster (or load its module); "
    "--dry-run prints the script, and salt submit local runs it here"
)


def render(job: Job) -> dict[str, str]:
    """The batch script, by the name of a file for it."""
    head = "".join(f"#SBATCH {_quoted(line)}\n" for line in _head(job))
    extra = "".join(f"#SBATCH {line}\n" for line in job.resources.extra)
    task = 'export SALT_TASK="${SLURM_ARRAY_TASK_ID:-0}"\n' if job.array else ""
    return {f"{job.name}.sh": f"#!/bin/bash\n{head}{extra}\n{task}{script.body(job)}"}


def submit(job: Job) -> str:
    """Submit; returns the job's number."""
    _check_after(job)
    done = subprocess.run(_sbatch(), input=_text(job), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(explained(job, done.stderr or done.stdout))
    return _number(done.stdout)


def submit_and_wait(job: Job, tell: Callable[[str], None]) -> int:
    """Submit, tell the job's number, and wait for its end; returns its exit code, of an array's tasks the highest."""
    _check_after(job)
    pipe = subprocess.PIPE
    with subprocess.Popen([*_sbatch(), "--wait"], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(_text(job))
        process.stdin.close()
        number = _number(process.stdout.readline())
        if number:
            tell(number)
        said = process.stderr.read()
    if not number:
        raise ValueError(explained(job, said))
    return process.returncode


def _sbatch() -> list[str]:
    if shutil.which("sbatch") is None:
        raise FileNotFoundError(NO_SBATCH)
    return ["sbatch", "--parsable"]


def _check_after(job: Job) -> None:
    """Slurm takes a job that it does not know for one that has ended, and would begin at once."""
    for number in job.after.partition(":")[0].split(",") if job.after else ():
        done = subprocess.run(["squeue", "--noheader", "--jobs", number], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(explained(job, done.stderr))


def _text(job: Job) -> str:
    (text,) = render(job).values()
    return text


def _number(said: str) -> str:
    """The number in what --parsable says: 12, or 12;cluster."""
    return said.strip().partition(";")[0]


def _head(job: Job) -> Iterator[str]:
    """Options of sbatch, one a line."""
    needs = job.resources
    yield f"--job-name={job.name}"
    yield f"--chdir={job.directory}"
    pattern = "%A_%a" if job.array else "%j"
    yield f"--output={str(job.log_dir).replace('%', '%%')}/{job.name}_{pattern}.log"
    yield "--open-mode=append"  # a job that goes on adds to its own log
    yield "--requeue"  # a cluster may have it otherwise, and a job that saved asks for it
    yield f"--nodes={needs.nodes}"
    yield f"--ntasks-per-node={needs.ranks_per_node}"
    yield f"--cpus-per-task={needs.cpus}"
    if needs.gpus:
        number = f"{needs.gpu_type}:{needs.gpus}" if needs.gpu_type else str(needs.gpus)
        yield f"--gres=gpu:{number}" if needs.gpu_request == "gres" else f"--gpus-per-node={number}"
    for option, value in (
        ("mem", needs.memory),
        ("time", needs.time),
        ("partition", needs.partition),
        ("account", needs.account),
        ("qos", needs.qos),
        ("constraint", needs.constraint),
    ):
        if value is not None:
            yield f"--{option}={value}"
    if job.array:
        yield f"--array=0-{job.array - 1}"
    if job.after:
        jobs, _, kind = job.after.partition(":")
        yield f"--dependency={kind or 'afterok'}:{jobs.replace(',', ':')}"
        yield "--kill-on-invalid-dep=yes"  # or it would wait for ever for a job that has failed
    if job.signal_before:
        yield f"--signal=USR1@{job.signal_before * 60}"  # to the steps, of which the training is one


def _quoted(line: str) -> str:
    """An option for a line of #SBATCH, which knows the shell's quotes."""
    option, equals, value = line.partition("=")
    return line if not value or PLAIN.match(value) else f"{option}{equals}{shlex.quote(value)}"
