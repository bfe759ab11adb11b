"""What the user wrote, where the parser, or another directory, would read something else in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from jsonargparse import ArgumentParser, Namespace

from salt.cli.resolve import FILES
from salt.data.remote import is_url

FOLDERS = ("store_dir", "move_files_temp", "train_vds_path", "val_vds_path", "test_vds_path")
"""Keys of `data` that name folders and files besides."""

PLACES = frozenset({"save_dir", "dir", "root_dir", "dirpath", "offline_directory"})
"""Arguments of what the trainer is given that name folders."""

CHECKPOINTS = frozenset({"best", "last", "hpc", "registry"})
"""Words for a checkpoint that are no paths."""


def whole_numbers_first(parser: ArgumentParser) -> None:
    """Have the parser keep whole numbers where it may read fractions, too: 1 is one batch, and 1.0 all of them.

    `Optional[Union[int, float]]` of the trainer may be `float | int` by the time it is looked at: the two are equal,
    and typing keeps whichever any package wrote first.
    """
    for action in parser._actions:
        wanted = getattr(action, "_typehint", None)
        members = get_args(wanted)
        if get_origin(wanted) is Union and {int, float} <= set(members) and members.index(float) < members.index(int):
            action._typehint = Union[(int, *(each for each in members if each is not int))]  # type: ignore[attr-defined]


def absolute_paths(config: Namespace) -> None:
    """Make all paths absolute: what is saved shall be the same run from any directory.

    Parameters
    ----------
    config : Namespace
        As it is resolved and checked; is changed.
    """
    for key in (*FILES, *FOLDERS):
        if key in config.data:
            config.data[key] = absolute(config.data[key])
    if config.get("ckpt_path") and config.ckpt_path not in CHECKPOINTS:
        config.ckpt_path = absolute(config.ckpt_path)
    if config.get("model.init_from") is not None:
        config.model.init_from.ckpt = absolute(config.model.init_from.ckpt)
    if config.get("model.mup_config") is not None:
        config.model.mup_config["shape_path"] = absolute(config.model.mup_config["shape_path"])
    config.trainer.default_root_dir = absolute(config.trainer.default_root_dir)
    for node in _namespaces(config.trainer):
        for key in PLACES & set(vars(node)):
            node[key] = absolute(node[key])


def absolute(path: Any) -> Any:
    """A path, a pattern or a list of these from the root; URLs, and what is not given, as they are."""
    if isinstance(path, list):
        return [absolute(each) for each in path]
    if path in {None, ""} or not isinstance(path, str | Path) or is_url(str(path)) or str(path).startswith("file://"):
        return path
    return str(Path(path).expanduser().absolute())


def _namespaces(node: Any) -> Iterator[Namespace]:
    """All mappings in a config."""
    if isinstance(node, Namespace):
        yield node
    inside = vars(node).values() if isinstance(node, Namespace) else node if isinstance(node, list) else ()
    for each in inside:
        yield from _namespaces(each)
