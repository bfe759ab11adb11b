"""Stages: the jets to train, validate and test with, from the names of their files to what is open of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from numpy.typing import NDArray

from salt.data.choice import Choice
from salt.data.folds import Stage
from salt.data.opening import Opening
from salt.data.recipe import Recipe
from salt.data.recipes import Options, as_they_are, columns_there, make_recipe
from salt.data.sources import open_sample
from salt.data.splits import Split
from salt.types import PARAMETERS, Schema

Files = str | list[str] | None
"""A path, a glob, a URL, or a list of these."""


class Stages:
    """Which files there are, what is read of each, and those that are open.

    Parameters
    ----------
    schema : Schema
        The input variables.
    files : Mapping[str, Files]
        Stage -> its file; None where there is none.
    numbers : Mapping[Stage, int]
        Stage -> how many of its jets are used, from the first on; -1 for all.
    labels : Mapping[str, Sequence[str]]
        Stream -> labels, which a test does without.
    columns : Mapping[str, Sequence[str]]
        Stream -> columns that a test reads where its file has them.
    options : Options
        What else changes what is read.
    choice : Choice
        Which of the jets are used.
    opening : Opening
        How files are opened.
    """

    def __init__(
        self,
        schema: Schema,
        files: Mapping[str, Files],
        numbers: Mapping[Stage, int],
        labels: Mapping[str, Sequence[str]],
        columns: Mapping[str, Sequence[str]],
        options: Options,
        choice: Choice,
        opening: Opening,
    ) -> None:
        self._schema = schema
        self._files = files
        self._numbers = numbers
        self._labels = labels
        self._columns = columns
        self._options = options
        self._choice = choice
        self._opening = opening
        self._splits: dict[Stage, Split] = {}
        self._columns_there: dict[str, list[str]] | None = None

    def recipe(self, name: Stage) -> Recipe:
        """What is read of the jets of a stage: tests need no labels, but what physical values need."""
        options = replace(self._options, columns=self._choice.columns(name))
        if name != "test":
            return make_recipe(self._schema, self._labels, options)
        variables = {s: names for s, names in self._schema.variables.items() if s != PARAMETERS}  # the config has them
        return make_recipe(replace(self._schema, variables=variables), self.test_columns(), as_they_are(options))

    def test_columns(self) -> dict[str, list[str]]:
        """Those of the columns that the test file has."""
        if self._columns_there is None and self._columns:
            with open_sample(self._file("test"), "data.test_file") as sample:
                self._columns_there = columns_there(sample, self._columns, self._schema, self._options)
        return self._columns_there or {}

    def _file(self, name: Stage) -> str | list[str]:
        file = self._files[name]
        if file is None:
            raise ValueError(f"data.{name}_file is not set: set it in the config, or with --data.{name}_file FILE")
        return file

    def open(self, name: Stage) -> None:
        """Open the jets of a stage, unless they are open; ValueError where it has no file."""
        if name in self._splits:
            return
        file = self._file(name)
        labels = self.test_columns() if name == "test" else self._labels
        alike: tuple[Stage, ...] = () if name == "test" else ("train", "val")
        shared = [self._numbers[other] for other in alike if self._files[other] == file]
        built = -1 if -1 in shared else max(shared, default=0)
        self._splits[name] = self._opening.open(file, self.recipe(name), self._numbers[name], labels, name, built)

    def opened(self) -> list[Stage]:
        """Which stages are open."""
        return list(self._splits)

    def split(self, name: Stage) -> Split:
        """The jets of a stage that is open; else ValueError."""
        if name not in self._splits:
            stage = "test" if name == "test" else "fit"
            raise ValueError(f"no {name} jets have been opened: call setup({stage!r}) first")
        return self._splits[name]

    def chosen(self, name: Stage, seed: int) -> NDArray | None:
        """(M,) the jets of a stage that are used, rising; None for all. Which ones depends on the seed alone."""
        return self._choice.jets(self.split(name), self._schema.global_object, name, seed)

    def close(self) -> None:
        """Close all files, and remove copies that nobody else uses."""
        for split in self._splits.values():
            split.close()
        self._splits.clear()
        self._columns_there = None
        self._opening.close()
