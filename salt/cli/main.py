"""The verbs of the command `salt`. Nothing heavy is imported before the verb is known."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from typing import NamedTuple

from salt import __version__


class Verb(NamedTuple):
    """What a verb does, in a line, and the module whose `main(arguments)` does it."""

    summary: str
    module: str


INTERRUPTED = 130
"""Exit code of what was ended by SIGINT, as shells have it."""

VERBS = {
    "fit": Verb("train a model: salt fit --config gnn.yaml", "salt.cli.lightning"),
    "test": Verb("evaluate a trained model on a file: salt test RUN", "salt.cli.lightning"),
    "predict": Verb("what a trained model says of a file without labels: salt predict RUN FILE", "salt.cli.lightning"),
    "validate": Verb("losses of a trained model on its validation jets: salt validate RUN", "salt.cli.lightning"),
    "sweep": Verb("train many: a search, a grid, seeds or folds: salt sweep SPACE.yaml", "salt.sweeps.command"),
    "runs": Verb("list runs, show how two differ, clean up after dead ones: salt runs", "salt.cli.runs_command"),
    "report": Verb("draw ROC curves and tables of an evaluated run: salt report RUN", "salt.report.command"),
    "simulate": Verb(
        "make training files from simulated collisions: salt simulate --out data", "salt.simulate.command"
    ),
    "submit": Verb("run a verb as a job on a cluster: salt submit slurm --gpus 2 --config gnn.yaml", "salt.cli.submit"),
    "store": Verb("build, list and remove the stores of training files: salt store list", "salt.cli.store"),
}


def usage() -> str:
    """The help of `salt` itself."""
    lines = [f"  {name:10} {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            f"salt {__version__}: trains jet taggers, from collisions to ROC curves",
            "",
            "usage: salt VERB [ARGUMENTS]",
            "",
            *lines,
            "",
            "salt VERB --help lists the arguments of a verb; salt --version prints the version.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `salt` with these arguments (those of the process where None); returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    speak()
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage() + "\n")
        return 0 if arguments else 2
    if arguments[0] in {"-V", "--version"}:
        sys.stdout.write(f"salt {__version__}\n")
        return 0
    if arguments[0] not in VERBS:
        from salt.data.names import by_nearness

        return _complain(f"unknown verb {arguments[0]!r}; there are {', '.join(by_nearness(arguments[0], VERBS))}")
    # Threads that spin while they wait slow each other down tenfold where others use the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if _peer_is_here():
        return _complain(
            "the package salt-ml is installed in this environment and answers to the same name; "
            "use an environment of its own for each (python -m venv), or: pip uninstall salt-ml"
        )
    return guard(lambda: import_module(VERBS[arguments[0]].module).main(_for_verb(arguments)))


def _for_verb(arguments: list[str]) -> list[str]:
    """Fit, validate, test and predict share a parser, which wants to see the verb; the others have one of their own."""
    return arguments if VERBS[arguments[0]].module == "salt.cli.lightning" else arguments[1:]


def guard(run: Callable[[], int]) -> int:
    """Run, and turn an error that the user can mend into one message and exit code 2; SALT_DEBUG=1 raises it."""
    if os.environ.get("SALT_DEBUG"):
        return run()
    try:
        return run()
    except (ValueError, KeyError, OSError, ImportError) as error:
        # a KeyError's text is the repr of its message
        message = error.args[0] if isinstance(error, KeyError) and error.args else error
        return _complain(f"{message}\n(SALT_DEBUG=1 shows where this was raised)")
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED


ONCE_A_NODE = ("salt.data.places", "salt.data.leases", "salt.data.staging")
"""What any rank may do for all ranks of its machine, and says."""


def speak() -> None:
    """Show what salt's own rooms have to say; libraries have handlers of their own. Of ranks the first one speaks."""
    log = logging.getLogger("salt")
    by_srun = "SLURM_PROCID" if "SLURM_STEP_NUM_TASKS" in os.environ else "LOCAL_RANK"  # the script of a job has one
    rank = os.environ.get("RANK", os.environ.get(by_srun, "0"))
    log.setLevel(logging.INFO if rank == "0" else logging.WARNING)
    for name in ONCE_A_NODE:
        logging.getLogger(name).setLevel(logging.INFO)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("salt: %(message)s"))
        log.addHandler(handler)


def _complain(message: str) -> int:
    sys.stderr.write(f"salt: error: {message}\n")
    return 2


def _peer_is_here() -> bool:
    try:
        distribution("salt-ml")
    except PackageNotFoundError:
        return False
    return True
