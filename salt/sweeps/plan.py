"""The plan of a sweep: what is searched, how, by which metric; what sweep.yaml holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from salt.data.names import unknown
from salt.sweeps import space
from salt.sweeps.folder import parsed

Method = Literal["grid", "random", "tpe", "replicas", "folds"]
SEARCHES = ("tpe", "random", "grid")
"""Methods that a user names; replicas and folds are options of their own."""

PRUNING = ("median", "off")
DIRECTIONS = ("min", "max")

KEYS = ("parameters", "method", "objective", "direction", "trials", "prune", "seed")
"""What the file of a space may say."""

NUM_TRIALS = 20
"""Of a search that does not say how many."""

FIRST_SEED = 42
"""Of replicas: that of base.yaml."""


@dataclass(frozen=True)
class Plan:
    """What a sweep does; the same for all of its workers.

    Parameters
    ----------
    name : str
        Of its runs.
    method : Method
        How values are chosen.
    objective : str
        A logged metric.
    direction : str
        min or max.
    parameters : dict[str, Any]
        Option -> list or range, as the user wrote it.
    trials : int
        How many, over all workers.
    prune : str
        median or off.
    seed : int
        Of the search: trial number n is drawn with seed + n.
    arguments : tuple[str, ...]
        Of each `salt fit`.
    directory : str
        Where its relative paths begin.
    """

    name: str
    method: Method
    objective: str
    direction: str
    parameters: dict[str, Any]
    trials: int
    prune: str
    seed: int
    arguments: tuple[str, ...]
    directory: str

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str) -> Plan:
        """The plan that sweep.yaml holds."""
        missing = [field.name for field in fields(cls) if field.name not in content]
        if missing:
            raise ValueError(f"{where} has no {', '.join(missing)}: it is damaged, or of another program")
        known = {field.name: content[field.name] for field in fields(cls)}
        return cls(**{**known, "arguments": tuple(known["arguments"])})

    def content(self) -> dict[str, Any]:
        """For sweep.yaml."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**found, "arguments": list(self.arguments)}

    def space(self) -> list[space.Parameter]:
        """The parameters."""
        return space.read(self.parameters, "the sweep's plan")

    def combinations(self) -> list[dict[str, Any]] | None:
        """What is tried, in order; None for a search that chooses as it goes."""
        return None if self.method in {"tpe", "random"} else space.grid(self.space())

    def differences(self, other: Plan) -> Iterator[str]:
        """What two plans do not have in common, in words; the number of trials may change."""
        for field in fields(self):
            mine, its = getattr(self, field.name), getattr(other, field.name)
            if mine != its and field.name not in {"trials", "directory"}:
                yield f"{field.name}: {_shown(mine)} here, {_shown(its)} there"

    def first(self) -> list[str]:
        """A trial's options, for a look at whether `fit` knows them."""
        return [space.option(each.key, each.first()) for each in self.space()]

    def extended(self, trials: int) -> Plan:
        """With another number of trials."""
        return replace(self, trials=trials)


def read_space(file: str | Path) -> dict[str, Any]:
    """What the file of a space says; a ValueError where it is none."""
    try:
        content = parsed(Path(file).read_text())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no file {file}\n  mend: name the YAML file of a space, with parameters: {{{space.EXAMPLE}}}"
        ) from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{file} holds no mapping\n  mend: begin it with parameters:")
    for key in content:
        if key not in KEYS:
            raise ValueError(unknown("key", str(key), KEYS, str(file)))
    space.read(content.get("parameters"), str(file))
    return dict(content)


def checked(content: Mapping[str, Any], where: str) -> None:
    """Raise where a word of a plan is none that we know, or a number none that makes sense."""
    for key, words in (("method", get_args(Method)), ("prune", PRUNING), ("direction", DIRECTIONS)):
        if content[key] not in words:
            raise ValueError(unknown(key, str(content[key]), words, where))
    for key, least in (("trials", 1), ("seed", 0)):
        value = content[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(
                f"{key} is {value!r} in {where}; it must be a whole number from {least} on\n"
                f"  mend: write such a number, or leave {key} out"
            )
    if not isinstance(content["objective"], str):
        raise ValueError(f"objective is {content['objective']!r} in {where}; it must be the name of a logged metric")


def _shown(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)
