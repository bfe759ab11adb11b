"""Checkpoints that make a file, if anything in them is executed: kind -> what writes one."""

import functools
import os
import warnings
import zipfile
from pathlib import Path

import torch


class Calls:
    """A function and its arguments, which whoever unpickles this calls."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Set:
    """Makes the file when its state is set."""

    def __init__(self, made):
        self.made = str(made)

    def __getstate__(self):
        return self.made

    def __setstate__(self, made):
        Path(made).touch()


class Key:
    """Makes the file when it becomes the key of a dictionary again."""

    def __init__(self, made, again=False):
        self.made, self.again = str(made), again

    def __hash__(self):
        if self.again:
            Path(self.made).touch()
        return 0

    def __reduce__(self):
        return Key, (self.made, True)


class Program(torch.nn.Module):
    """TorchScript that makes the file when it is loaded."""

    def __init__(self, made: str):
        super().__init__()
        self.made = made
        self.held = torch.ones(1)

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return (self.made, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.made = state[0]
        self.training = state[1]
        self.held = torch.from_file(self.made, True, 4)


def _nested(made, file):
    inner = file.with_suffix(".inner")
    torch.save(Calls(os.system, f"touch {made}"), inner)
    return Calls(functools.partial(torch.load, weights_only=False), str(inner))


OBJECTS = {
    "os.system": lambda made, file: Calls(os.system, f"touch {made}"),
    "eval": lambda made, file: Calls(eval, f"__import__('os').mkdir({str(made)!r})"),
    "exec": lambda made, file: Calls(exec, f"__import__('os').mkdir({str(made)!r})"),
    "os.mkdir": lambda made, file: Calls(os.mkdir, str(made)),
    "a nested torch.load": _nested,
    "torch.save": lambda made, file: Calls(torch.save, torch.ones(1), str(made)),
    "functools.partial": lambda made, file: Calls(functools.partial(os.system, f"touch {made}")),
    "a method": lambda made, file: Calls(Path.touch, Path(made)),
    "__setstate__": lambda made, file: Set(made),
    "__hash__": lambda made, file: {Key(made): 1},
}
"""Kind -> an object, as part of a checkpoint."""

PICKLES = {
    "getattr": b"c__builtin__\ngetattr\n(c__builtin__\n__import__\n(S'os'\ntRS'system'\ntR(S'touch %s'\ntR.",
    "a dotted name": b"\x80\x04\x8c\x02os\x8c\x0epath.os.system\x93(\x8c\x40touch %s\ntR.",
    "an instance": b"(S'touch %s'\nios\nsystem\n.",
}
"""Kind -> a whole pickle, which no Python object gives."""


def with_object(kind, made, file, **content):
    """A checkpoint of these contents, and a hostile object."""
    torch.save({**content, "hyper_parameters": OBJECTS[kind](made, file)}, file)


def of_pickle(kind, made, file):
    """An archive of torch's with a pickle made by hand."""
    text = PICKLES[kind]
    if b"\x40touch" in text:
        command = f"touch {made}".encode()
        text = text.replace(b"\x40touch %s\n", bytes([len(command)]) + command)
    elif b"%s" in text:
        text = text % str(made).encode()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", text)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")


def legacy(made, file):
    """The format before torch 1.6, which is a pickle from its first byte on."""
    torch.save({"state_dict": {}, "a": Calls(os.system, f"touch {made}")}, file, _use_new_zipfile_serialization=False)


def program(made, file):
    """An archive of TorchScript, which torch.load hands on to torch.jit.load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Program(str(made))), str(file))


def in_weights(made, file):
    """In the place of a weight."""
    torch.save({"state_dict": {"model.a": Calls(os.system, f"touch {made}")}}, file)


FILES = {
    **{kind: functools.partial(with_object, kind, state_dict={"model.a": torch.ones(2)}) for kind in OBJECTS},
    **{kind: functools.partial(of_pickle, kind) for kind in PICKLES},
    "a legacy file": legacy,
    "TorchScript": program,
    "a weight": in_weights,
}
"""Kind -> what writes a file of it."""
