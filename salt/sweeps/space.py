"""The space of a search: for each option of `salt fit` a range or a list of values, and the distribution it means."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from salt.data.names import unknown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

WORDS = ("low", "high", "step", "log")
"""What a range may say."""

OURS = frozenset({"name", "log_suffix", "trainer.default_root_dir", "config", "resume", "ckpt_path"})
"""Options that the sweep itself gives, or that make no sense for a trial."""

EXAMPLE = "model.lrs_config.max: {low: 1e-4, high: 1e-2, log: true} or data.batch_size: [500, 1000]"


@dataclass(frozen=True)
class Parameter(ABC):
    """What is tried of an option.

    Parameters
    ----------
    key : str
        The option without --, like data.batch_size.
    """

    key: str

    is_log = False
    """Whether it spans orders of magnitude."""

    @abstractmethod
    def named(self) -> list[Any]:
        """Values that an axis names one by one; none where it shows numbers."""

    @abstractmethod
    def few(self) -> list[Any]:
        """Numbers that each deserve a tick; none where there are many."""

    @abstractmethod
    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""

    @abstractmethod
    def values(self) -> list[Any]:
        """All that a grid tries, as Optuna has them; a ValueError where there are infinitely many."""

    @abstractmethod
    def first(self) -> Any:
        """One that is surely tried, as the config has it."""

    def plain(self, value: Any) -> Any:
        """A value of the distribution as the config has it."""
        return value


@dataclass(frozen=True)
class Choice(Parameter):
    """A list of values of any kind."""

    choices: tuple[Any, ...]

    def named(self) -> list[Any]:
        """All, but where they are numbers."""
        are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in self.choices)
        return [] if are_numbers else list(self.choices)

    def few(self) -> list[Any]:
        """All, up to ten."""
        return list(self.choices) if len(self.choices) <= 10 else []

    def distribution(self) -> BaseDistribution:
        """Each is as likely."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values())

    def values(self) -> list[Any]:
        """Lists and mappings as JSON: Optuna wants plain values."""
        return [json.dumps(value) if isinstance(value, list | dict) else value for value in self.choices]

    def first(self) -> Any:
        """The first of the list."""
        return self.choices[0]

    def plain(self, value: Any) -> Any:
        """The value that a text of JSON stands for."""
        return dict(zip(self.values(), self.choices, strict=True)).get(value, value)


@dataclass(frozen=True)
class Range(Parameter):
    """All numbers between two, whole ones where both are."""

    low: float
    high: float
    step: float | None = None
    is_log: bool = False

    def named(self) -> list[Any]:
        """None."""
        return []

    def few(self) -> list[Any]:
        """Whole numbers, up to ten."""
        return (
            self.values()
            if self.is_whole and not self.is_log and (self.high - self.low) / (self.step or 1) < 10
            else []
        )

    @property
    def is_whole(self) -> bool:
        """Whether it is one of whole numbers."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    def distribution(self) -> BaseDistribution:
        """Uniform, or uniform in the logarithm."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_whole:
            return IntDistribution(int(self.low), int(self.high), log=self.is_log, step=int(self.step or 1))
        return FloatDistribution(float(self.low), float(self.high), log=self.is_log, step=self.step)

    def first(self) -> Any:
        """Its lower end."""
        return self.low

    def values(self) -> list[Any]:
        """Each step."""
        if (self.step is None and not self.is_whole) or self.is_log:
            raise ValueError(
                f"parameters.{self.key}: a grid cannot try all numbers between {self.low} and {self.high}\n"
                "  mend: give a list of values, or a step; or method: random"
            )
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        return [self.low + number * step for number in range(count)]


def read(parameters: Any, where: str) -> list[Parameter]:
    """The parameters of a space; a ValueError names the key that is wrong, and the file.

    Parameters
    ----------
    parameters : Any
        What stands at `parameters`: option -> a list of values, or a range.
    where : str
        The file.
    """
    if not isinstance(parameters, Mapping) or not parameters:
        raise ValueError(f"{where} has no parameters: nothing to search\n  mend: add parameters, like {EXAMPLE}")
    return [_parameter(str(key), content, where) for key, content in parameters.items()]


def grid(parameters: list[Parameter]) -> list[dict[str, Any]]:
    """Every combination, the last parameter changing fastest."""
    return [
        dict(zip((each.key for each in parameters), combination, strict=True))
        for combination in product(*(each.values() for each in parameters))
    ]


def option(key: str, value: Any) -> str:
    """A value as an option of `salt fit`."""
    return f"--{key}={value if isinstance(value, str) else json.dumps(value)}"


def _parameter(key: str, content: Any, where: str) -> Parameter:
    at = f"parameters.{key} in {where}"
    if key in OURS:
        raise ValueError(f"{at}: {key} is the sweep's own, or makes no sense in it\n  mend: leave it out")
    if isinstance(content, list):
        if not content:
            raise ValueError(f"{at} is an empty list\n  mend: name the values to be tried")
        if len({json.dumps(value) for value in content}) < len(content):
            raise ValueError(f"{at} names a value twice: {content}\n  mend: leave one of them out")
        return Choice(key, tuple(content))
    if not isinstance(content, Mapping):
        raise ValueError(f"{at} is {content!r}, neither a list nor a range\n  mend: write it like {EXAMPLE}")
    for word in content:
        if word not in WORDS:
            raise ValueError(unknown("key", str(word), WORDS, at))
    if missing := [word for word in ("low", "high") if word not in content]:
        raise ValueError(f"{at} has no {' and no '.join(missing)}\n  mend: write it like {EXAMPLE}")
    return _range(key, content, at)


def _range(key: str, content: Mapping[str, Any], at: str) -> Range:
    for word in ("low", "high", "step"):
        value = content.get(word)
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f"{at}: {word} is {value!r}, which is no number")
    low, high, step, log = content["low"], content["high"], content.get("step"), bool(content.get("log", False))
    if not low < high:
        raise ValueError(f"{at}: low is {low} and high is {high}; low must be smaller")
    if log and not low > 0:
        raise ValueError(f"{at}: low is {low}, which has no logarithm\n  mend: low > 0, or log: false")
    if step is not None and (log or not step > 0):
        why = "a logarithmic range has no step" if log else f"step is {step}; it must be greater than 0"
        raise ValueError(f"{at}: {why}")
    return Range(key, low, high, step, log)
