"""A job: what it runs, what it needs, where it runs. Pure data, which a backend renders as a script.

What only the node knows is a variable of the shell in the command line: SALT_STAGE (the folder of `--stage`) and
SALT_TASK (the number of an array's task, from 0). Scripts set SALT_TASK, and SALT_JOB_ID, before `stage_lines`.
Words of the shell that are ours are written between double quotes, all others between single ones.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from salt.clusters.environments import Environment

TASK = "{task}"
"""What stands for the number of an array's task in the verb's arguments."""

STAGE = "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/salt-$SALT_JOB_ID"
"""Where `--stage` alone copies to: the node's own scratch, a folder for each job."""

COPIES = "--data.move_files_temp=$SALT_STAGE"
BESIDE_STAGE = "${SALT_STAGE%/*}"
"""The folder that a container has to see, for the one below it to be made."""

ON_DEVICES = ("fit", "test", "validate", "predict", "sweep")
"""Verbs that have a trainer, which is told of its devices."""


WITH_CONFIG = ("sweep",)
"""Verbs that take options of the trainer beside a config only: a sweep that goes on has those that it began with."""

CONFIG = frozenset({"--config", "-c"})


@dataclass(frozen=True)
class Resources:
    """What a job needs of the cluster; None: what the cluster gives to those who say nothing.

    Parameters
    ----------
    nodes : int
        Number of machines.
    gpus : int
        GPUs a node; one rank for each. 0: the ranks run on CPUs.
    tasks : int
        Ranks a node where there are no GPUs.
    cpus : int
        CPU cores a rank.
    memory : str | None
        Memory a node, as 16G or 500M.
    time : str | None
        Limit of the run time, as the scheduler reads it: HH:MM:SS, D-HH:MM:SS.
    partition, account, qos, constraint : str | None
        Words of the scheduler.
    extra : tuple[str, ...]
        Further words for the scheduler, each a line of the script's head, without #SBATCH.
    gpu_type : str | None
        Which GPUs, as the cluster calls them: a100.
    gpu_request : str
        How GPUs are asked for: gpus-per-node, or gres where a site wants that.
    """

    nodes: int = 1
    gpus: int = 0
    tasks: int = 1
    cpus: int = 1
    memory: str | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    extra: tuple[str, ...] = ()
    gpu_type: str | None = None
    gpu_request: str = "gpus-per-node"

    @property
    def ranks_per_node(self) -> int:
        """Processes that train together on a node."""
        return self.gpus or self.tasks


@dataclass(frozen=True)
class Job:
    """One submission.

    Parameters
    ----------
    name : str
        Name of the job, and of its log files.
    verb : str
        Verb of salt that is run: fit, test, ...
    arguments : tuple[str, ...]
        The verb's own, without trainer.devices and trainer.num_nodes; {task} stands for the number of the array's task.
    resources : Resources
        What it needs.
    environment : Environment
        How it finds salt.
    log_dir : Path
        Folder of the log files, absolute.
    directory : Path
        Folder that the job runs in, absolute.
    array : int | None
        Number of tasks, 0 to array - 1; None: a job without an array.
    after : str | None
        Job that has to end first: 12 or 12:afterok, a kind of Slurm's; None: none.
    signal_before : int
        Minutes before the time limit at which the job is told to save; 0: not.
    max_restarts : int
        How often a job that died is begun again.
    stage : str | None
        Folder on the node for copies of the data, variables of the shell expanded there; None: no copies.
    """

    name: str = "salt"
    verb: str = "fit"
    arguments: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    environment: Environment = field(default_factory=Environment)
    log_dir: Path = Path("logs")
    directory: Path = Path()
    array: int | None = None
    after: str | None = None
    signal_before: int = 0
    max_restarts: int = 0
    stage: str | None = None


def command(job: Job) -> list[str]:
    """The words of `salt VERB ...`, without the container; $SALT_STAGE and {task} are still to be put in.

    Scripts take `command_line`, which does that, and quotes.
    """
    words = ["salt", job.verb, *job.arguments]
    names = {word.partition("=")[0] for word in job.arguments}
    if job.verb not in ON_DEVICES or (job.verb in WITH_CONFIG and not names & CONFIG):
        return words
    if not job.resources.gpus and "--trainer.accelerator" not in names:
        words.append("--trainer.accelerator=cpu")
    words += [f"--trainer.devices={job.resources.ranks_per_node}", f"--trainer.num_nodes={job.resources.nodes}"]
    if job.stage:
        words.append(COPIES)
    return words


def command_line(job: Job) -> str:
    """`command`, inside the container where there is one, as a line of bash; needs `stage_lines` before it."""
    environment = job.environment
    if job.stage:
        environment = replace(environment, binds=(*environment.binds, BESIDE_STAGE))
    ours = {COPIES, f"--bind={BESIDE_STAGE}"} - set(job.arguments)
    words = environment.wrapped(command(job))
    return " ".join(f'"{word}"' if word in ours else _quoted(word) for word in words)


def stage_lines(job: Job) -> list[str]:
    """Lines of bash that name the folder of the copies, which salt makes and removes; none without --stage."""
    return [f'export SALT_STAGE="{_in_double_quotes(job.stage)}"'] if job.stage else []


def _quoted(word: str) -> str:
    """A word for bash, with the number of the task."""
    return '"$SALT_TASK"'.join(shlex.quote(part) if part or word == "" else "" for part in word.split(TASK))


def _in_double_quotes(text: str) -> str:
    """A text between double quotes, where only variables mean something."""
    for character in '\\"`':
        text = text.replace(character, f"\\{character}")
    return text.replace("$(", "\\$(")
