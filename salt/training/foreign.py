"""Foreign checkpoints: pickles of which nothing is executed.

Tensors and containers come out as they are; every other class and function becomes an inert stub, which keeps its name
and what it was given, and does nothing.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import torch

from salt.training.run_files import open_run_file

PLAIN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    # Python 2's name of builtins, which the older protocols keep
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, complex, slice, bytearray)
    },
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}
"""Classes whose making does nothing else."""

REBUILT = ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter")
"""Functions of torch._utils that make tensors of storages."""


ZIP = b"PK\x03\x04"
"""How a file of torch's zip format begins."""

TORCHSCRIPT = "constants.pkl"
"""In the archives that torch.load hands on to torch.jit.load, which runs what is in them."""


class Stub:
    """In the place of an object of a class that is not known; it accepts whatever a pickle does to an object."""

    def __new__(cls, *arguments: Any, **options: Any) -> Stub:
        """Make one, and remember of what."""
        made = super().__new__(cls)
        made.__dict__.update(arguments=arguments, options=options, state=None, items=[])
        return made

    def __init__(self, *arguments: Any, **options: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        """Keep the state beside the object, so that no name in it means anything."""
        self.__dict__["state"] = state

    def __call__(self, *arguments: Any, **options: Any) -> Stub:
        """As of a function, which is not called."""
        return Stub(self, *arguments, **options)

    def append(self, item: Any) -> None:
        """As of a list."""
        self.__dict__["items"].append(item)

    def extend(self, items: Any) -> None:
        """As of a list."""
        self.__dict__["items"].extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__["items"].append((key, value))

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<stub of {type(self).__module__}.{type(self).__qualname__}>"


class TensorUnpickler(pickle.Unpickler):
    """Unpickles tensors and containers; all else are stubs. torch.load gives it the storages."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for."""
        if (module, name) in PLAIN:
            return PLAIN[module, name]
        if module == "torch._utils" and name in REBUILT:
            return _fresh(getattr(torch._utils, name))
        if module == "torch" and isinstance(kind := getattr(torch, name, None), torch.dtype):
            return kind
        return _stub_class(module, name)


class OutlineUnpickler(pickle.Unpickler):
    """Unpickles containers and plain values; all else, tensors too, are stubs."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for."""
        return PLAIN.get((module, name)) or _stub_class(module, name)

    def persistent_load(self, identity: Any) -> Any:
        """A storage, which is not read."""
        return Stub(identity)


def _fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, as an object of this pickle alone: it may set attributes of whatever it has its hands on."""
    return lambda *arguments: function(*arguments)


def _stub_class(module: str, name: str) -> type[Stub]:
    """A class of stubs, for this pickle alone."""
    return type(name.rpartition(".")[2] or "stub", (Stub,), {"__module__": module})


def read(path: str | Path) -> Any:
    """Read a checkpoint of torch's zip format, with tensors and containers, all else as `Stub`; on the CPU."""
    reader: Any = SimpleNamespace(Unpickler=TensorUnpickler, __name__="salt.training.foreign")
    with open_run_file(path, "rb") as file:
        if file.read(len(ZIP)) != ZIP:
            raise ValueError(f"{path} is not a checkpoint of torch's zip format; save it again with torch 1.6 or later")
        file.seek(0)
        if TORCHSCRIPT in torch._C.PyTorchFileReader(file).get_all_records():  # as torch.load itself finds out
            raise ValueError(f"{path} holds a program (TorchScript), which is not loaded")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=reader)


def outline(file: IO[bytes]) -> Any:
    """What a checkpoint holds, without its tensors: cheap, however large they are.

    Parameters
    ----------
    file : IO[bytes]
        A checkpoint of torch's zip format; any other is a BadZipFile.
    """
    with ZipFile(file) as archive:
        name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
        if name is None:
            raise BadZipFile("it has no data.pkl")
        with archive.open(name) as stream:
            return OutlineUnpickler(stream).load()
