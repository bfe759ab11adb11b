"""Reader: turns whole records of a sample into columns, block by block.

Shapes: n jets of a block, L slots, r rows (jets, or kept constituents), k columns of one type of number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salt.data.derive import RowError
from salt.data.fields import check_type
from salt.data.recipe import NonFinite, Recipe, StreamRecipe
from salt.data.record import Group, Record
from salt.data.rows import RowView
from salt.data.sources import Sample
from salt.data.tables import Table

BLOCK_BYTES = 32 * 2**20
"""Size of the blocks that files are read in: large enough to be sequential, small enough for any machine."""


class Plan(NamedTuple):
    """Columns of one stream that are stored together: their names, the type that they are stored in."""

    names: tuple[str, ...]
    dtype: np.dtype


class StreamBlock(NamedTuple):
    """What a block of records becomes: matrices (r, k) as planned, and (n,) rows of each jet."""

    inputs: list[NDArray]
    labels: list[NDArray]
    lengths: NDArray


class StreamReader:
    """Reads the columns of one stream.

    Parameters
    ----------
    table : Table
        (N,) jets, or (N, L) constituents; of these the slots that `valid` marks and all filters keep are read.
    stream : str
        Name of the stream, for messages.
    recipe : StreamRecipe
        What to read.
    jets : Table
        The global object's dataset.
    global_object : str
        Its name: the prefix of jets' fields in expressions.
    non_finite : NonFinite
        What to do about input values that are NaN or infinite.
    """

    def __init__(
        self,
        table: Table,
        stream: str,
        recipe: StreamRecipe,
        jets: Table,
        global_object: str,
        non_finite: NonFinite,
    ) -> None:
        self.table = table
        self.stream = stream
        self.recipe = recipe
        self.jets = jets
        self.global_object = global_object
        self.non_finite = non_finite
        self.is_ragged = len(table.shape) == 2
        self._check()
        first = self._view(np.empty((0, *table.shape[1:]), table.dtype), np.empty(0, jets.dtype))
        self.inputs = _plans(first, recipe.variables)
        self.labels = _plans(first.with_labels(recipe.label_derivations), tuple(dict.fromkeys(recipe.labels)))

    def record(
        self, inputs: Mapping[str, np.dtype] | None = None, labels: Mapping[str, np.dtype] | None = None
    ) -> Record:
        """What a row of the stream is, with these types of its columns; None for those in which they are read."""
        inputs = inputs or {name: plan.dtype for plan in self.inputs for name in plan.names}
        labels = labels or {name: plan.dtype for plan in self.labels for name in plan.names}
        return Record.of([(name, inputs[name]) for name in self.recipe.variables], list(labels.items()))

    def pack(self, block: StreamBlock, record: Record) -> NDArray:
        """(r,) rows of a block."""
        rows = record.empty(int(block.lengths.sum()))
        for group in record.inputs:
            group.put(rows, _together(self.inputs, block.inputs, group))
        for group in record.labels:
            group.put(rows, _together(self.labels, block.labels, group))
        return rows

    def _check(self) -> None:
        """Raise where something is asked for that is not there."""
        recipe = self.recipe
        made = {derivation.name for derivation in recipe.derivations}
        labels = made | {derivation.name for derivation in recipe.label_derivations}
        asked = [("variable", name, f", data.variables.{self.stream}") for name in recipe.variables]
        why = f", asked for by the tasks of {self.stream}"
        asked += [("label", name, why) for name in recipe.labels if name not in labels]
        for derivation in (*recipe.derivations, *recipe.label_derivations):
            asked += [("field", name, f", needed for {derivation.key}") for name in derivation.reads()]
        for each in recipe.filters:
            asked += [("field", name, f", needed for {each.key}") for name in each.reads()]
        prefix = f"{self.global_object}."
        for kind, name, why in asked:
            if name not in made:
                table = self.jets if name.startswith(prefix) else self.table
                check_type(table.dtype, name.removeprefix(prefix), kind, table.where + why)

    def kept(self, records: NDArray, jets: NDArray) -> NDArray[np.bool_]:
        """(n, l) bool: which of the first l slots of these (n, L) records are read; (n,) are their jets'."""
        return self.recipe.kept(records, self._view(records, jets))

    def _view(self, records: NDArray, jets: NDArray, owner: NDArray | None = None) -> RowView:
        """The fields of these records, each of which belongs to the jet that `owner` says."""
        if not self.is_ragged:
            return RowView(records, self.recipe.derivations)
        if owner is None:
            owner = np.arange(len(records))[:, None]
        return RowView(records, self.recipe.derivations, RowView(jets), self.global_object, owner)

    def convert(self, first: int, records: NDArray, jets: NDArray) -> StreamBlock:
        """Columns of the records (n,) or (n, L) of the jets from number `first` on."""
        rows = self._view(records, jets)
        lengths = np.ones(len(records), np.int64)
        with self._placed(rows, first):
            kept = self.recipe.kept(records, rows) if self.is_ragged else None
        if kept is not None:
            lengths = kept.sum(axis=1)
            slots = records[:, : kept.shape[1]].reshape(-1).take(np.flatnonzero(kept))
            rows = self._view(slots, jets, np.repeat(np.arange(len(records)), lengths))
        with self._placed(rows, first):
            inputs = [_matrix(rows, plan) for plan in self.inputs]
            truth = rows.with_labels(self.recipe.label_derivations)
            labels = [_matrix(truth, plan) for plan in self.labels]
        for plan, matrix in zip(self.inputs, inputs, strict=True):
            if self.non_finite != "keep" and plan.dtype.kind == "f" and not np.isfinite(matrix).all():
                self._mend(plan, matrix, lengths, first)
        return StreamBlock(inputs, labels, lengths)

    @contextmanager
    def _placed(self, rows: RowView, first: int) -> Iterator[None]:
        """Tell the place of a row that there is no value for."""
        try:
            yield
        except RowError as error:
            raise ValueError(f"{self.table.place(first + rows.jet_of(error.row))}: {error}") from error

    def _mend(self, plan: Plan, matrix: NDArray, lengths: NDArray, first: int) -> None:
        """Replace non-finite values (r, k) by 0, or raise and say where they are."""
        bad = ~np.isfinite(matrix)
        if self.non_finite == "zero":
            matrix[bad] = 0
            return
        row, column = (int(place[0]) for place in np.nonzero(bad))
        jet = first + int(np.searchsorted(np.cumsum(lengths), row, side="right"))
        counts = dict(zip(plan.names, bad.sum(axis=0).tolist(), strict=True))
        found = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        last = first + len(lengths) - 1
        raise ValueError(
            f"{plan.names[column]} is {matrix[row, column]} in {self.table.place(jet)}, dataset {self.table.name!r}; "
            f"non-finite values among jets {first} to {last}: {found}. Mend the file, or set "
            "data.non_finite_to_num: true (they become 0) or data.ignore_finite_checks: true (they stay)"
        )


def _together(plans: Sequence[Plan], matrices: Sequence[NDArray], group: Group) -> NDArray:
    """(r, k) the columns of a group, of whatever matrices they are in."""
    for plan, matrix in zip(plans, matrices, strict=True):
        if set(group.names) <= set(plan.names):
            columns = [plan.names.index(name) for name in group.names]
            start, stop = columns[0], columns[0] + len(columns)
            return matrix[:, start:stop] if columns == list(range(start, stop)) else matrix[:, columns]
    found = {name: m[:, i] for p, m in zip(plans, matrices, strict=True) for i, name in enumerate(p.names)}
    return np.stack([found[name].astype(group.dtype) for name in group.names], axis=1)


def _plans(rows: RowView, names: Sequence[str]) -> list[Plan]:
    """Which of these columns are stored together: those of one type of number."""
    groups: dict[np.dtype, list[str]] = {}
    for name in names:
        groups.setdefault(_stored(rows[name].dtype), []).append(name)
    return [Plan(tuple(group), dtype) for dtype, group in groups.items()]


def _stored(dtype: np.dtype) -> np.dtype:
    """The type that a column is read in: no float is wider than those that training has, a boolean is a byte."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize > 4:
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")


def _matrix(rows: RowView, plan: Plan) -> NDArray:
    """(r, k) of these columns.

    Field by field is ten times slower than to cut out one slab of each record and choose its columns.
    """
    records = rows.records
    fields: Mapping[str, Any] = records.dtype.fields or {}
    plain = [name for name in plan.names if rows.is_field(name) and fields[name][0] == plan.dtype]
    size = plan.dtype.itemsize
    if len(plain) == len(plan.names) and len({fields[name][1] % size for name in plain}) == 1:
        return _slab(records, plain, plan.dtype)
    matrix = np.empty((len(records), len(plan.names)), plan.dtype)
    with np.errstate(over="ignore"):  # a float64 too large for a float32 becomes inf, and is found
        for column, name in enumerate(plan.names):
            matrix[:, column] = rows[name]
    return matrix


def _slab(records: NDArray, names: Sequence[str], dtype: np.dtype) -> NDArray:
    """(r, k) of fields of one type that lie whole items apart."""
    fields = records.dtype.fields
    assert fields is not None  # tables are structured
    offsets = [fields[name][1] for name in names]
    start, width = min(offsets), max(offsets) - min(offsets) + dtype.itemsize
    slab = np.ascontiguousarray(records.getfield(np.dtype(f"V{width}"), start))
    items = slab.view(dtype).reshape(len(records), width // dtype.itemsize)
    return items.take([(offset - start) // dtype.itemsize for offset in offsets], axis=1)


class Reader:
    """Reads the jets of a sample, whatever the number of its files.

    Parameters
    ----------
    sample : Sample
        The open files.
    recipe : Recipe
        What to read of them.
    key : str
        YAML key that names the files, for messages.
    """

    def __init__(self, sample: Sample, recipe: Recipe, key: str = "data.train_file") -> None:
        if not recipe.streams:
            raise ValueError("nothing to read: name the input variables of each stream in data.variables")
        self.sample = sample
        self.recipe = recipe
        self.num_jets = sample.num_jets
        tables = {name: sample.table(of.dataset, f"data.variables.{name}") for name, of in recipe.streams.items()}
        jets = _global_table(tables, recipe.global_object, key)
        self.tables = {table.name: table for table in (jets, *tables.values())}  # streams may share one
        self.jets = jets
        self.streams = {
            name: StreamReader(table, name, recipe.streams[name], jets, recipe.global_object, recipe.policy(name))
            for name, table in tables.items()
        }

    @property
    def chunk(self) -> int:
        """Reads that start at multiples of this many jets are cheap."""
        return max(table.chunk for table in self.tables.values())

    def blocks(self, first: int = 0, count: int | None = None) -> Iterator[tuple[int, dict[str, StreamBlock]]]:
        """Columns of these jets, block by block, each with the number of its first jet.

        Parameters
        ----------
        first : int
            Number of the first jet.
        count : int | None
            How many jets; None for all that follow.
        """
        stop = self.num_jets if count is None else first + count
        chunk = self.chunk
        jet_bytes = sum(t.dtype.itemsize * int(np.prod(t.shape[1:])) for t in self.tables.values())
        step = max(BLOCK_BYTES // max(jet_bytes * chunk, 1), 1) * chunk
        buffers: dict[str, NDArray] = {}
        while first < stop:
            size = min(step - first % step, stop - first)  # blocks end where chunks end
            records = {name: self._read(table, first, size, buffers) for name, table in self.tables.items()}
            yield first, self._convert(first, records)
            first += size

    def _read(self, table: Table, first: int, count: int, buffers: dict[str, NDArray]) -> NDArray:
        """Records (count,) or (count, L), in memory that is used again for the next block."""
        buffer = buffers.get(table.name)
        if buffer is None or len(buffer) < count:
            buffer = buffers[table.name] = np.empty((count, *table.shape[1:]), table.dtype)
        return table.read(first, count, buffer[:count])

    def _convert(self, first: int, records: Mapping[str, NDArray]) -> dict[str, StreamBlock]:
        jets = records[self.jets.name]
        return {name: of.convert(first, records[of.table.name], jets) for name, of in self.streams.items()}


def _global_table(tables: Mapping[str, Table], global_object: str, key: str) -> Table:
    """The dataset with one row a jet."""
    jets = tables.get(global_object)
    if jets is None:
        jets = next((table for table in tables.values() if len(table.shape) == 1), next(iter(tables.values())))
    elif len(jets.shape) != 1:
        raise ValueError(
            f"{jets.where} has the shape {jets.shape}, but data.global_object: {global_object} must have one row a "
            "jet; set data.global_object to the stream that has"
        )
    return jets
