"""Space: bytes that may still be written into a folder, and bytes of memory that this process may still take."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

IN_MEMORY = {"tmpfs", "ramfs"}
"""File systems whose files take memory."""

SHARE_OF_MEMORY = 0.9
"""Of the memory that is free, files may take so much: the rest is for who reads them."""

MEMORY_SHARE = 0.5
"""Stores up to this share of the free memory are mapped whole; larger ones are written mixed, and read by windows."""

DEFAULT_MEMORY = 2**31
"""Bytes that are taken to be free where nothing is known."""

CGROUPS = Path("/sys/fs/cgroup")


class Space(NamedTuple):
    """Free bytes, and of what."""

    free: int
    kind: str


def free_space(folder: Path) -> Space:
    """What may still be written into a folder, or the folder that it will be made in."""
    while not folder.exists():
        folder = folder.parent
    disk = Space(shutil.disk_usage(folder).free, "disk space")
    memory = available_memory() if _is_in_memory(folder) else None
    return disk if memory is None else min(disk, Space(int(memory * SHARE_OF_MEMORY), "memory"))


def require_space(folder: Path, needed: int, what: str, key: str) -> None:
    """Raise an OSError where a folder has too little room.

    Parameters
    ----------
    folder : Path
        Where something will be written.
    needed : int
        Its bytes.
    what : str
        What it is, for the message.
    key : str
        YAML key that asks for the folder, for the message.
    """
    space = free_space(folder)
    if needed > space.free:
        raise OSError(
            f"{key}: {what} needs {in_words(needed)}, but {folder} has {in_words(space.free)} of {space.kind} left; "
            "make room there, or choose another folder",
        )


def in_words(size: int) -> str:
    """Bytes with a unit."""
    value, units = float(size), ["TB", "GB", "MB", "kB"]
    if value < 1000:
        return f"{size} bytes"
    while units and value >= 1000:
        value, unit = value / 1000, units.pop()
    return f"{value:.1f} {unit}"


def available_memory() -> int | None:
    """Bytes of memory that this process may still take, by the least of all limits; None where none is known."""
    limits = [*_of_machine(), *_of_groups(), *_of_process()]
    return max(min(limits), 0) if limits else None


def _of_machine() -> Iterator[int]:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                yield int(value.split()[0]) * 1024


def _of_process() -> Iterator[int]:
    """What the process's own limits leave (`ulimit -v`, `ulimit -d`)."""
    limits = {"VmSize": resource.RLIMIT_AS, "VmData": resource.RLIMIT_DATA}
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in limits and (limit := resource.getrlimit(limits[name])[0]) != resource.RLIM_INFINITY:
                yield limit - int(value.split()[0]) * 1024


def _of_groups() -> Iterator[int]:
    """What is left to each control group that this process is in: batch systems set such limits."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers in ("", "memory"):
                version = ("memory.max", "memory.current") if not controllers else V1
                root = CGROUPS / controllers
                group = root / name.strip("/")
                for place in [group, *group.parents]:
                    if place.is_relative_to(root):
                        yield from _left(place, *version)


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def _left(group: Path, limit_name: str, usage_name: str) -> Iterator[int]:
    """What a control group may still take; pages of files that were read count as used, but can be had back."""
    with suppress(OSError, ValueError):  # no such file, or the limit is the word "max"
        limit, usage = (int((group / name).read_text()) for name in (limit_name, usage_name))
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield limit - usage + int(statistics.get("inactive_file", 0))


def _is_in_memory(folder: Path) -> bool:
    """Whether files of a folder take memory."""
    device = folder.stat().st_dev
    with suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, place, kind, *_ = line.split()
            with suppress(OSError):
                if kind in IN_MEMORY and Path(place).stat().st_dev == device:
                    return True
    return False
