"""An allotment: nodes, and ranks on each, on which the cluster and the trainer agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from salt.cli.configs import COMMAND_LINE, Source, merged, source_of

NAMES = ("trainer.devices", "trainer.num_nodes")
"""Options of the verb that follow from the job, and leave its command line."""

ON_GPUS = ("gpu", "cuda")

NO_GPU = "nobody asks for a GPU (--gpus N): the job runs on CPUs"


class Allotment(NamedTuple):
    """Number of nodes, of GPUs on each, and of ranks on each where there are no GPUs; why, where nobody asked."""

    nodes: int
    gpus: int
    tasks: int
    reason: str = ""


def allotted(asked: Mapping[str, Any], site: Mapping[str, Any], said: Sequence[Source]) -> Allotment:
    """What the job is given.

    Parameters
    ----------
    asked : Mapping[str, Any]
        --gpus, --tasks and --nodes on the command line of `salt submit`, those that are there, as numbers.
    site : Mapping[str, Any]
        The same of the site, which count where nobody else says anything.
    said : Sequence[Source]
        Configs and options of the verb, without base.yaml.

    Raises
    ------
    ValueError
        Where two of them contradict each other: names both.
    """
    trainer = merged(said).get("trainer") or {}
    accelerator = trainer.get("accelerator")
    nodes = _number(trainer, "num_nodes", said)
    devices = _number(trainer, "devices", said)
    if {"gpus", "tasks"} <= asked.keys() and asked["gpus"]:
        raise ValueError(
            f"--gpus {asked['gpus']} and --tasks {asked['tasks']}: there is one rank for each GPU\n"
            "  mend: --gpus alone, or --tasks alone for ranks on CPUs"
        )
    if asked.get("gpus") and accelerator == "cpu":
        raise _contradiction(f"--gpus {asked['gpus']}", "trainer.accelerator", "cpu", said)
    on_gpus = accelerator in ON_GPUS and source_of("trainer.accelerator", said) == COMMAND_LINE
    if on_gpus and not asked.get("gpus") and asked.keys() & {"gpus", "tasks"}:
        raise _contradiction("a job without GPUs", "trainer.accelerator", accelerator, said)
    per_node = "gpus" if asked.get("gpus") else "tasks"
    for option, key, value in (("nodes", "num_nodes", nodes), (per_node, "devices", devices)):
        if option in asked and value is not None and value != asked[option]:
            raise _contradiction(f"--{option} {asked[option]}", f"trainer.{key}", value, said)
    return _followed(asked, site, accelerator, devices, nodes, said)


def _followed(
    asked: Mapping[str, Any],
    site: Mapping[str, Any],
    accelerator: str | None,
    devices: int | None,
    num_nodes: int | None,
    said: Sequence[Source],
) -> Allotment:
    """What the job is given, now that nothing contradicts anything."""
    nodes = asked.get("nodes", num_nodes or site.get("nodes", 1))
    if asked.get("gpus"):
        return Allotment(nodes, asked["gpus"], 1)
    if "gpus" in asked or "tasks" in asked:
        return Allotment(nodes, 0, asked.get("tasks", devices or 1))
    if accelerator == "cpu":
        return Allotment(nodes, 0, devices or site.get("tasks", 1))
    if devices is None and accelerator not in ON_GPUS:
        gpus = site.get("gpus", 0)
        return Allotment(nodes, gpus, site.get("tasks", 1), "" if gpus else NO_GPU)
    gpus = devices or site.get("gpus") or 1
    key, value = ("trainer.devices", devices) if devices else ("trainer.accelerator", accelerator)
    return Allotment(nodes, gpus, 1, f"--gpus {gpus} from {key} = {value} in {source_of(key, said)}")


def _number(trainer: Mapping[str, Any], name: str, said: Sequence[Source]) -> int | None:
    """How many devices or nodes a config wants: of a list of devices its length; None: it leaves that open."""
    value = trainer.get(name)
    if isinstance(value, str) and "," in value:
        value = [each for each in value.split(",") if each.strip()]
    if isinstance(value, list):
        return len(value)
    if value is None or value in ("auto", -1, "-1"):
        return None
    if not str(value).isdigit() or int(value) < 1:
        where = source_of(f"trainer.{name}", said)
        raise ValueError(f"trainer.{name} is {value!r} in {where}: expected a number\n  mend: write 1, or more")
    return int(value)


def _contradiction(ours: str, key: str, value: Any, said: Sequence[Source]) -> ValueError:
    where = source_of(key, said)
    return ValueError(
        f"{ours} contradicts {key} = {value}, which {where} says\n  mend: leave one of them out, or make both the same"
    )


def without(arguments: Sequence[str], names: Sequence[str] = NAMES) -> Iterator[str]:
    """The arguments without options of these names."""
    is_value = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if is_value and not argument.startswith("--"):
            is_value = False
            continue
        is_value = name.removeprefix("--") in names and name.startswith("--") and not equals
        if not (name.startswith("--") and name.removeprefix("--") in names):
            yield argument
