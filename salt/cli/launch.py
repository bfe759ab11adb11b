"""Who started the processes of a run: torchrun, srun, or nobody yet, in which case Lightning starts those it needs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass

from salt.data.death import told_by_death_of

INTERACTIVE = frozenset({"bash", "interactive"})
"""Names of Slurm jobs that Lightning takes for a terminal, in which it starts the processes itself."""

FIRST = "SALT_FIRST_RANK"
"""Environment variable with the process id of the rank that starts the others of its machine."""


@dataclass(frozen=True)
class Launch:
    """Processes that somebody else has started, of which this is one.

    Parameters
    ----------
    by : str
        torchrun or srun.
    per_node : int
        Processes of each node.
    nodes : int
        How many nodes.
    """

    by: str
    per_node: int
    nodes: int

    @property
    def size(self) -> int:
        """All processes."""
        return self.per_node * self.nodes

    def __str__(self) -> str:
        many = f"{self.size} process{'es' if self.size > 1 else ''}"
        return f"{self.by} has started {many}" + (f" on {self.nodes} nodes" if self.nodes > 1 else "")


def launched(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """Who started this process as one of several, or of one; None: nobody did.

    Raises
    ------
    ValueError
        Where the processes cannot be numbered: nodes have different numbers of them.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        return _spread("torchrun", int(environment["WORLD_SIZE"]), int(environment.get("GROUP_WORLD_SIZE", "1")))
    if "SLURM_STEP_NUM_TASKS" in environment and environment.get("SLURM_JOB_NAME") not in INTERACTIVE:
        nodes = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
        return _spread("srun", int(environment["SLURM_STEP_NUM_TASKS"]), nodes)
    return None


def settle(environment: MutableMapping[str, str] = os.environ) -> int:
    """Have Lightning see Slurm's tasks as they are; how many tasks a job's script leaves unused, as it is not by srun.

    Lightning takes the script of a job for a task of srun, and would wait for the others; of a step it looks at the
    numbers of the job, and it refuses `srun --ntasks` without `--ntasks-per-node`, which says the same.
    """
    launch = launched(environment)
    if launch is None:
        is_script = environment.get("SLURM_JOB_NAME") not in INTERACTIVE
        tasks = int(environment.pop("SLURM_NTASKS", "1"))
        return tasks - 1 if is_script else 0
    if launch.by == "srun":
        numbers = {"NTASKS": launch.size, "NTASKS_PER_NODE": launch.per_node, "NNODES": launch.nodes}
        environment.update({f"SLURM_{name}": str(number) for name, number in numbers.items()})
    return 0


@contextmanager
def with_parent() -> Iterator[None]:
    """Be told to end when who has started this rank is killed, torchrun or another rank; srun looks after its own."""
    launch, first = launched(), os.environ.get(FIRST)
    if launch is not None and launch.by == "torchrun":
        told_by_death_of(os.getppid())
    elif launch is None and first is not None and os.environ.get("LOCAL_RANK", "0") != "0":
        told_by_death_of(int(first))
    os.environ[FIRST] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(FIRST, None)


def _spread(by: str, size: int, nodes: int) -> Launch:
    if size % nodes:
        raise ValueError(f"{by} has started {size} processes on {nodes} nodes: give each node as many as the others")
    return Launch(by, size // nodes, nodes)
