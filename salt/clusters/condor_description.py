"""The submit description of a job of HTCondor.

What becomes of a job is told by the exit code of its executable:

- 85, saved and to be continued: HTCondor begins the executable again in its place, or where the claim ends, queues it
  again (https://htcondor.readthedocs.io/en/latest/users-manual/self-checkpointing-applications.html);
- 75, saved because the run time ends: queued again, for a run time of its own ("Early Checkpoint Exits" there);
- 128 and above, killed: queued again, `max_restarts` times;
- anything else: over.

An evicted job gets SIGTERM, saves, and is queued again whatever it answers. Each start has the same SALT_JOB_ID, by
which a fit finds its run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from salt.clusters.amounts import megabytes, seconds
from salt.clusters.job import Job
from salt.data.death import TO_BE_CONTINUED

CHECKPOINTED = 85
"""Exit code that HTCondor's manual proposes for "saved, begin me again": ERESTART."""

KILLED = 128
"""Exit codes of a shell whose command a signal ended begin here."""

HANDED_ON = re.compile(
    r"SALT_(?!JOB_ID$|TASK$|STAGE$)\w+|PL_\w+|COMET_\w+|WANDB_\w+|MLFLOW_\w+|AWS_(PROFILE|REGION|DEFAULT_REGION|ENDPOINT_URL)"
)
"""Variables that go with the job: those which configure a run, but for what the executable sets."""

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|://[^/]*@")
"""What is secret, in a name or in a value: a job's variables are in its ad, which condor_q shows to everybody."""

TEMPLATE = """\
# Written by `salt submit condor`.
universe = vanilla
batch_name = {name}
executable = {folder}/job.sh
arguments = $(ClusterId) $(ProcId)
initialdir = {folder}
output = {folder}/$(ClusterId).$(ProcId).out
error = {folder}/$(ClusterId).$(ProcId).err
log = {folder}/job.log

# Runs lie on a file system that the nodes share: nothing is brought back but what was printed.
should_transfer_files = IF_NEEDED
when_to_transfer_output = ON_EXIT
transfer_output_files = ""

{needs}

# {checkpointed}: saved, begun again. {continued}: saved, queued again. {killed} and above: killed.
checkpoint_exit_code = {checkpointed}
on_exit_remove = (ExitCode =!= {continued}) && \
((ExitBySignal =!= true && ExitCode < {killed}) || NumJobCompletions > {restarts})

queue {processes}
"""
"""on_exit_remove: whether a job that ended is over.

HTCondor would join `max_retries` to it by an "or", and end a run that is to be continued when they are used up.
"""


def description(job: Job, folder: Path) -> str:
    """The text of job.sub.

    Parameters
    ----------
    job : Job
        One that HTCondor can run.
    folder : Path
        Where its files will lie.
    """
    return TEMPLATE.format(
        name=_literal(job.name),
        folder=_literal(str(folder)),
        needs="\n".join(_needs(job)),
        checkpointed=CHECKPOINTED,
        continued=TO_BE_CONTINUED,
        killed=KILLED,
        restarts=job.max_restarts,
        processes=1 if job.array is None else job.array,
    )


def secret_variables(environ: Mapping[str, str]) -> list[str]:
    """Names of variables that would go with a job if they were not secret."""
    return sorted(name for name, value in _configuring(environ) if SECRET.search(f"{name}={value}"))


def _needs(job: Job) -> Iterator[str]:
    """Commands that say what the job needs."""
    needs = job.resources
    yield f"request_CPUs = {needs.cpus * needs.ranks_per_node}"
    if needs.gpus:
        yield f"request_GPUs = {needs.gpus}"
    if needs.gpu_type:
        yield f'require_gpus = regexp("{needs.gpu_type}", DeviceName, "i")'
    if needs.memory:
        yield f"request_memory = {megabytes(needs.memory)}"
    if needs.time:
        yield f"+MaxRuntime = {seconds(needs.time)}"
    if needs.constraint:
        yield f"requirements = {needs.constraint}"
    if needs.account:
        yield f"accounting_group = {_literal(needs.account)}"
    secret = secret_variables(os.environ)
    names = sorted(name for name, _ in _configuring(os.environ) if name not in secret)
    if names:
        yield f"getenv = {', '.join(names)}"
    yield from needs.extra


def _configuring(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in environ.items() if HANDED_ON.fullmatch(name))


def _literal(text: str) -> str:
    """A text in which HTCondor finds no macro."""
    return text.replace("$", "$(DOLLAR)")
