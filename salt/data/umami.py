"""Umami's layout: training files of umami 0.15 and later, in which an object is a group of plain datasets.

Shapes: N jets, L slots for constituents, F input variables, C classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import h5py
import numpy as np

from salt.data import virtual
from salt.data.handles import Handles, telling
from salt.data.names import unknown
from salt.data.tables import Table

ONE_HOT = "labels_one_hot"
"""What umami calls the (N, C) classes of jets; older files call them labels."""

CLASS_NAMES = "label_classes"
"""Attribute of either: the names of the classes."""


class Column(NamedTuple):
    """A field that is a dataset of its own."""

    path: str
    """Of the dataset in the group."""
    dtype: np.dtype
    one_hot: bool
    """Whether the dataset has one column a class, and the field the class's number."""


class UmamiTable(Table):
    """A group of umami's layout, which looks like a structured dataset and gives exactly what the file holds.

    What umami's documentation ("Write train sample") and its files say, and what is assumed here:

    - ``inputs`` is (N, F) for jets, (N, L, F) for constituents, often float16. Its columns are named by its attribute
      ``jet_variables``, or ``variables`` for constituents; here by any one attribute that has F names.
    - Inputs are **already normalised**: (x - shift) / scale with the values of umami's scale_dict.json. Not so umami's
      ``noNormVars`` (which have no entry there), ``isDefaults`` flags and ``weight``; of ``logNormVars`` the logarithm
      was normalised, under the variable's own name. NaN of jets were replaced by their defaults. None of this is marked
      in the file.
    - With ``concat_jet_tracks`` the first columns of constituents are the jet's, repeated, called ``jet_<variable>``,
      and all inputs of empty slots are 0.
    - ``valid`` is (N, L); constituents need it. ``labels`` of jets is the (N,) number of the class, or (N, C) one-hot;
      ``labels_one_hot`` serves where there is no ``labels``. Names of the classes are the attribute ``label_classes``
      of either, and ``attrs["labels"]`` of this table.
    - ``labels/<label>`` of constituents, ``add_labels/<label>`` of jets and ``weight`` are fields ``<label>`` and
      ``weight``; a label with the name of an input is called by its path, ``add_labels/<label>``.

    Parameters
    ----------
    handles : Handles
        The sample's open files.
    path : str
        The file.
    name : str
        Name of the group, for which `is_table` holds.
    """

    def __init__(self, handles: Handles, path: str, name: str) -> None:
        self.path = path
        self._handles = handles
        where = f"group {name!r} of {path} ({handles.key})"
        with telling(path, handles.key):
            group = handles.file(path)[name]
            found = datasets(group)
            inputs = found["inputs"]
            attrs = dict(group.attrs)
            for item in found.values():
                if CLASS_NAMES in item.attrs:
                    attrs["labels"] = item.attrs[CLASS_NAMES]
        for item in found.values():
            virtual.check(item, where, handles.key)
        self.variables = _variables(inputs, where)
        """Names of the columns of the inputs, in their order."""
        self._columns = _columns(found, self.variables, where)
        fields = [(variable, inputs.dtype) for variable in self.variables]
        fields += [(field, column.dtype) for field, column in self._columns.items()]
        chunk = max(item.chunks[0] if item.chunks else 1 for item in found.values())
        super().__init__(name, where, np.dtype(fields), inputs.shape[:-1], chunk, attrs)
        # all inputs of a record as one field: one copy a block instead of one a variable
        matrix = np.dtype((inputs.dtype, (len(self.variables),)))
        self._matrix = np.dtype(
            {"names": ["inputs"], "formats": [matrix], "offsets": [0], "itemsize": self.dtype.itemsize}
        )

    def _fill(self, first: int, out: np.ndarray) -> None:
        out.view(self._matrix)["inputs"] = self._read("inputs", first, len(out))
        for field, column in self._columns.items():
            values = self._read(column.path, first, len(out))
            out[field] = self._classes(values, first) if column.one_hot else values

    def _read(self, path: str, first: int, count: int) -> np.ndarray:
        with telling(self.path, self._handles.key):
            return self._handles.dataset(self.path, f"{self.name}/{path}")[first : first + count]

    def _classes(self, values: np.ndarray, first: int) -> np.ndarray:
        """(n,) number of the class of one-hot labels (n, C)."""
        bad = np.flatnonzero((values != 0).sum(axis=1) != 1)
        if bad.size:
            place = self.place(first + int(bad[0]))
            raise ValueError(f"the one-hot labels of {place}, {self.where}, are {values[bad[0]]}: not of one class")
        return values.argmax(axis=1)

    def place(self, jet: int) -> str:
        """Which jet of which file that is, for messages: jet 17 of /d/part_2.h5."""
        return f"jet {jet} of {self.path}"


def is_table(item: Any) -> bool:
    """Whether something in a file is a group of umami's layout."""
    inputs = item.get("inputs") if isinstance(item, h5py.Group) else None
    return isinstance(inputs, h5py.Dataset) and inputs.dtype.names is None and inputs.ndim in {2, 3}


def no_table(name: str, group: h5py.Group, where: str) -> str:
    """Message for a group that is not of umami's layout."""
    inputs = group.get("inputs")
    found = f"its inputs have the shape {inputs.shape}" if isinstance(inputs, h5py.Dataset) else "it has no inputs"
    return (
        f"{name!r} of {where} is a group with {', '.join(datasets(group)) or 'no datasets'}; to be read as umami's "
        f"layout it must have the dataset {name}/inputs, (jets, variables) or (jets, constituents, variables): {found}"
    )


def datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """All datasets of a group and of the groups in it, by their paths in it."""
    found: dict[str, h5py.Dataset] = {}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            found |= {f"{name}/{path}": dataset for path, dataset in datasets(item).items()}
        elif isinstance(item, h5py.Dataset):
            found[name] = item
    return found


def _variables(inputs: h5py.Dataset, where: str) -> list[str]:
    """Names of the columns of the inputs."""
    found = {name: np.atleast_1d(value).tolist() for name, value in inputs.attrs.items()}
    for names in found.values():
        if len(names) == inputs.shape[-1] and all(isinstance(name, str | bytes) for name in names):
            variables = [name.decode() if isinstance(name, bytes) else name for name in names]
            if len(set(variables)) < len(variables):
                raise ValueError(f"{where} names a variable of its inputs twice: {', '.join(variables)}")
            return variables
    lengths = ", ".join(f"{name} with {len(names)}" for name, names in found.items()) or "none at all"
    raise ValueError(
        f"{where} does not say which variables the {inputs.shape[-1]} columns of its inputs are: it has no attribute "
        f"`variables` or `jet_variables` of the dataset inputs with as many names; its attributes: {lengths}. "
        "Write the file again with umami 0.15 or later, or add the names: "
        "file['<group>/inputs'].attrs['variables'] = [...]"
    )


def _columns(found: dict[str, h5py.Dataset], variables: list[str], where: str) -> dict[str, Column]:
    """The fields that are datasets of their own."""
    shape = found["inputs"].shape[:-1]
    if len(shape) == 2 and "valid" not in found:
        message = unknown("dataset", "valid", found, where)
        raise ValueError(f"{message}; without it padding would be read as constituents: write the file again")
    columns: dict[str, Column] = {}
    for path, item in found.items():
        if path == "inputs" or (path == ONE_HOT and "labels" in found):
            continue
        one_hot = path in {"labels", ONE_HOT} and item.ndim == len(shape) + 1
        if item.shape != (*shape, *item.shape[len(shape) :][:one_hot]):
            raise ValueError(f"{path} of {where} has the shape {item.shape}, but its inputs {found['inputs'].shape}")
        name = "labels" if path == ONE_HOT else path.rpartition("/")[2]
        field = next((each for each in (name, path) if each not in {*variables, *columns}), None)
        if field is not None:  # else an input that is written twice, as umami does with weight
            columns[field] = Column(path, np.dtype(np.uint8) if one_hot else item.dtype, one_hot)
    return columns
