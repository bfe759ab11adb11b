"""A sample: chunks simulated until the training, validation and test files are full.

Finished chunks wait in OUT/.chunks-KEY, so a run that was killed goes on from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from salt.simulate import candidates, chunk, columns, dictionaries, files, generator, overlay
from salt.simulate.candidates import Candidates
from salt.simulate.chunk import Chunk
from salt.simulate.events import Array
from salt.simulate.progress import Progress
from salt.simulate.workers import Task, Workers

log = logging.getLogger(__name__)

MODEL_VERSION = 1  # raise it when the same seed gives other jets
SPLITS = ("train", "val", "test")
SPLIT_FILES = tuple(f"pp_output_{split}.h5" for split in SPLITS)
NTUPLE, NORM_DICT, CLASS_DICT = "ntuple.h5", "norm_dict.yaml", "class_dict.yaml"
OUTPUTS = (*SPLIT_FILES, NTUPLE, NORM_DICT, CLASS_DICT)
BYTES_PER_JET = 2500  # on disk, of all files together and the chunks


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the content of the files.

    Parameters
    ----------
    process : str
        Name of the process.
    seed : int
        Of the sample.
    jets : tuple[int, int, int]
        Jets for training, validation and test.
    """

    process: str
    seed: int
    jets: tuple[int, int, int]

    @property
    def config(self) -> str:
        """The recipe as JSON, as files carry it in the attribute `config`."""
        facts = {
            "command": "salt simulate",
            "process": self.process,
            "seed": self.seed,
            "jets": dict(zip(SPLITS, self.jets, strict=True)),
            "generator": generator.version(),
            "model_version": MODEL_VERSION,
        }
        return json.dumps(facts)

    @property
    def key(self) -> str:
        """Names what chunks depend on: all but the numbers of jets."""
        facts = (self.process, self.seed, generator.version(), MODEL_VERSION)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the files."""
        version = generator.version()
        facts = {"process": self.process, "seed": self.seed, "generator": version, "dsids": "[]"}
        return {**facts, "config": self.config}


def fold(event_number: Array, jets: tuple[int, int, int]) -> Array:
    """Split of each event, 0, 1 or 2 in proportion to the numbers of jets, by a hash of its number."""
    edges = np.cumsum(jets)[:-1] / sum(jets) * 2.0**32
    return np.searchsorted(edges, columns.mix(event_number).astype(np.float64), side="right")


def config_of(path: Path) -> str | None:
    """The recipe that a file says it was made by; None for a file that says nothing."""
    if path.suffix == ".yaml":
        return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    try:
        with h5py.File(path) as file:
            config = file.attrs.get("config")
            return config if isinstance(config, str) else None
    except OSError:
        return None


def is_complete(recipe: Recipe, out: Path, force: bool = False) -> bool:
    """Whether a folder holds this sample already.

    Parameters
    ----------
    recipe : Recipe
        The sample.
    out : Path
        The folder.
    force : bool
        Remove the files of another command instead of refusing.

    Raises
    ------
    FileExistsError
        If the folder holds files of another command.
    """
    present = [out / name for name in OUTPUTS if (out / name).exists()]
    for path in present:
        found = config_of(path)
        if found != recipe.config:
            if force:
                clear(out)
                return False
            raise FileExistsError(
                f"{path} exists and was made by another command ({found or 'unknown'}), not by {recipe.config}: "
                "choose another --out, or replace its files with --force"
            )
    return len(present) == len(OUTPUTS)


def save(path: Path, **arrays: Array) -> None:
    """Write arrays under a temporary name, then rename."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    temporary.replace(path)


def pool_file(folder: Path, part: int) -> Path:
    """File of one part of the minimum-bias pool."""
    return folder / f"pool-{part}.npz"


@cache
def load_pool(folder: Path) -> Candidates:
    """The whole pool, once for each process of the operating system."""
    parts = []
    for part in range(overlay.POOL_PARTS):
        with np.load(pool_file(folder, part)) as arrays:
            parts.append(Candidates(**arrays))
    return candidates.concatenate(parts)


def make_pool(folder: Path, seed: int, part: int) -> None:
    """A worker's task: one part of the pool, unless it exists."""
    path = pool_file(folder, part)
    if not path.exists():
        pool = chunk.make_pool(seed, part)
        save(path, **{field.name: getattr(pool, field.name) for field in fields(pool)})


def make_chunk(folder: Path, process: str, seed: int, number: int) -> Path:
    """A worker's task: one chunk, unless it exists."""
    path = folder / f"chunk-{number:06d}.npz"
    if not path.exists():
        made = chunk.simulate(generator.PROCESSES[process], seed, number, load_pool(folder))
        save(path, **{field.name: getattr(made, field.name) for field in fields(made)})
    return path


class Collector:
    """Spreads chunks over the files until the splits are full.

    Parameters
    ----------
    folder : Path
        Where the files grow.
    recipe : Recipe
        What to fill.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self._folder, self._recipe = folder, recipe
        self._files = [files.JetFile(folder / name, labelled=True) for name in SPLIT_FILES]
        self._ntuple = files.JetFile(folder / NTUPLE, labelled=False)
        self._dictionaries = dictionaries.Dictionaries()

    @property
    def num_jets(self) -> int:
        """Jets in the splits so far."""
        return sum(file.num_jets for file in self._files)

    @property
    def is_full(self) -> bool:
        """Whether each split has the jets that it wants."""
        return self.num_jets == sum(self._recipe.jets)

    def add(self, made: Chunk) -> None:
        """Add a chunk's jets, those that still fit."""
        tables = files.tables(made)
        self._ntuple.append(tables)
        split = fold(made.jets["eventNumber"], self._recipe.jets)
        for index, file in enumerate(self._files):
            rows = np.flatnonzero(split == index)[: self._recipe.jets[index] - file.num_jets]
            part = {name: table[rows] for name, table in tables.items()}
            file.append(part)
            if index == 0:
                self._dictionaries.add(part)

    def finish(self) -> None:
        """Complete and close the files."""
        for file in (*self._files, self._ntuple):
            with file:
                file.finish(self._recipe.attributes)
        dictionaries.write(self._folder / NORM_DICT, self._recipe.config, self._dictionaries.norm_dict())
        dictionaries.write(self._folder / CLASS_DICT, self._recipe.config, self._dictionaries.class_dict())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against a second run of the same command."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"another salt simulate is writing to {folder.parent}: wait for it or choose another --out"
            ) from None
        yield


def tasks(folder: Path, recipe: Recipe) -> Iterator[Task]:
    """The chunks, without end."""
    for number in itertools.count():
        yield make_chunk, (folder, recipe.process, recipe.seed, number)


def build(recipe: Recipe, out: Path, num_workers: int) -> None:
    """Simulate a sample into a folder, going on from the chunks of an earlier run.

    Parameters
    ----------
    recipe : Recipe
        What to make.
    out : Path
        The folder; made if need be.
    num_workers : int
        Processes; the result does not depend on it.
    """
    folder = out / f".chunks-{recipe.key}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        kept = len(list(folder.glob("chunk-*.npz")))
        if kept:
            log.info("going on from the chunks of an earlier run (%d) in %s", kept, folder)
        collector = Collector(folder, recipe)
        with Workers(num_workers) as workers, Progress(sum(recipe.jets)) as progress:
            parts = ((make_pool, (folder, recipe.seed, part)) for part in range(overlay.POOL_PARTS))
            for _ in workers.run(parts):
                pass
            for path in workers.run(tasks(folder, recipe)):
                with np.load(path) as arrays:
                    collector.add(Chunk(**arrays))
                progress.reach(collector.num_jets)
                if collector.is_full:
                    break
        collector.finish()
        for name in OUTPUTS:
            (folder / name).replace(out / name)
        shutil.rmtree(folder)


def check_space(recipe: Recipe, out: Path) -> None:
    """Raise OSError if the disk of an existing folder cannot hold the sample."""
    wanted, free = BYTES_PER_JET * sum(recipe.jets), shutil.disk_usage(out).free
    if wanted > free:
        raise OSError(
            f"{sum(recipe.jets)} jets need about {wanted / 1e9:.1f} GB and {out} has {free / 1e9:.1f} GB free: "
            "ask for fewer --jets or choose another --out"
        )


def clear(out: Path) -> None:
    """Remove the sample and the chunks of whatever command made them."""
    for name in OUTPUTS:
        (out / name).unlink(missing_ok=True)
    for folder in out.glob(".chunks-*"):
        shutil.rmtree(folder)
