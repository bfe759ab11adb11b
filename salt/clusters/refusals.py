"""Refusals: what sbatch says to a job that it does not take, and what of it the user can mend."""

from __future__ import annotations

import getpass
import re
import shlex
import subprocess
from collections.abc import Callable
from typing import NamedTuple

from salt.clusters.job import Job
from salt.data.names import by_nearness

SECONDS = 10
"""So long may a scheduler take to say what it has."""


class Partition(NamedTuple):
    """A part of the cluster: its nodes, and what each has; empty GPUs: none."""

    name: str
    nodes: str
    cpus: str
    memory: str
    gpus: str
    time: str

    def __str__(self) -> str:
        gpus = f"GPUs {self.gpus}" if self.gpus else "no GPU"
        return f"{self.name}: {self.nodes} nodes of {self.cpus} cores, {self.memory} MB, {gpus}, time {self.time}"


def explained(job: Job, said: str) -> str:
    """The scheduler's words, and ours: what was asked for, what there is, and how to mend it."""
    words = "\n".join(line.strip() for line in said.strip().splitlines()) or "sbatch failed, and said nothing"
    ours = next((of(job) for pattern, of in REASONS if pattern.search(words)), "")
    return f"{words}\n{ours}".rstrip()


def partitions() -> list[Partition]:
    """What there is; empty where the scheduler does not say."""
    lines = _answer("sinfo", "-h", "-o", "%R|%D|%c|%m|%G|%l")
    return [_read(*line.split("|")) for line in lines if line.count("|") == 5]


def _read(name: str, nodes: str, cpus: str, memory: str, resources: str, time: str) -> Partition:
    return Partition(name, nodes, cpus, memory, _gpus(resources), time)


def _gpus(resources: str) -> str:
    """The GPUs among generic resources: gpu:a100:4(S:0-1) is a100:4."""
    return ",".join(
        re.sub(r"\(.*", "", each).removeprefix("gpu:") for each in resources.split(",") if each.startswith("gpu")
    )


def _answer(*command: str) -> list[str]:
    """Lines that a program of the scheduler says; none where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.splitlines()


def _there(job: Job) -> str:
    """All partitions, those with a name like the one that is asked for first."""
    found = partitions()
    names = by_nearness(job.resources.partition or "", dict.fromkeys(each.name for each in found))
    lines = [f"    {each}" for name in names for each in found if each.name == name]
    return "  there are:\n" + "\n".join(lines) if lines else "  sinfo lists no partition"


def _partition(job: Job) -> str:
    asked = f"--partition {job.resources.partition}" if job.resources.partition else "no --partition"
    return f"asked for: {asked}\n{_there(job)}\n  mend: --partition with one of these names"


def _size(job: Job) -> str:
    needs = job.resources
    cores = needs.ranks_per_node * needs.cpus
    gpus = f"{needs.gpus} GPUs{f' ({needs.gpu_type})' if needs.gpu_type else ''}"
    asked = f"{needs.nodes} nodes with {gpus}, {cores} cores ({needs.ranks_per_node} ranks of {needs.cpus})"
    memory = f", {needs.memory} memory" if needs.memory else ""
    where = f" in {needs.partition}" if needs.partition else ""
    mend = "less of --gpus, --nodes, --cpus or --memory, or another --partition"
    return f"asked for: {asked}{memory}{where}\n{_there(job)}\n  mend: {mend}"


def _time(job: Job) -> str:
    return f"asked for: --time {job.resources.time}\n{_there(job)}\n  mend: a shorter --time, or another --partition"


def _account(job: Job) -> str:
    asked = f"--account {job.resources.account}" if job.resources.account else "no --account"
    columns = ("-n", "-P", "show", "assoc", f"user={getpass.getuser()}", "format=account,qos")
    there = [line.replace("|", " (qos ") + ")" for line in dict.fromkeys(_answer("sacctmgr", *columns)) if line]
    known = f"you have: {', '.join(there)}" if there else "sacctmgr does not say which you have"
    qos = f", --qos {job.resources.qos}" if job.resources.qos else ""
    return f"asked for: {asked}{qos}\n  {known}\n  mend: --account and --qos with what you have, or without"


def _feature(job: Job) -> str:
    there = sorted({each for line in _answer("sinfo", "-h", "-o", "%f") for each in line.split(",")} - {"(null)"})
    names = ", ".join(by_nearness(job.resources.constraint or "", there)) or "none"
    return f"asked for: --constraint {job.resources.constraint}; there are: {names}\n  mend: one of them, or without"


def _dependency(job: Job) -> str:
    ended = "one that ended minutes ago is forgotten, and nothing has to wait for it"
    return f"asked for: --after {job.after}; {ended}\n  mend: the number of a job that squeue lists, or no --after"


def _extra(job: Job) -> str:
    asked = " ".join(f"--extra={shlex.quote(words)}" for words in job.resources.extra)
    return f"asked for: {asked or 'nothing that is not ours'}\n  mend: words of sbatch, quoted for it: --comment='a b'"


def _away(job: Job) -> str:
    return "  mend: wait until the scheduler answers (scontrol ping), or salt submit local"


REASONS: tuple[tuple[re.Pattern[str], Callable[[Job], str]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), of)
    for pattern, of in {
        "invalid partition|no partition specified|partition.*not available": _partition,
        "node configuration|generic resource|gres|more processors|node count|memory spec|cpu count|tres": _size,
        "invalid account|account/partition|qos": _account,
        "time limit": _time,
        "feature": _feature,
        "dependency|job id": _dependency,
        "invalid directive|unrecognized option|invalid option": _extra,
        "unable to contact|connection|timed out|configuration source": _away,
    }.items()
)
"""What the scheduler says -> what we add."""
