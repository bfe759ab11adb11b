"""Where stores are: found, built once by whoever comes first, listed, removed."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from salt.data.build import StoreWriter
from salt.data.folder import StoreFolder
from salt.data.leases import lock
from salt.data.manifest import Manifest
from salt.data.mixing import mixed_blocks
from salt.data.reader import Reader, StreamBlock
from salt.data.remote import is_url
from salt.data.sources import SourceFile
from salt.data.space import DEFAULT_MEMORY, MEMORY_SHARE, available_memory, free_space, in_words

log = logging.getLogger(__name__)

FOLDER = "salt-store"
"""Name of the folder that holds stores, beside the files that they are made of."""

UNFINISHED = ".tmp"
"""End of the name of a store that is being built, or whose building was killed."""

NO_PLACE = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG,
}  # fmt: skip
"""What the system answers where a store cannot be: another place may do."""


JETS_LOOKED_AT = 1000
"""The size of a store is judged by so many."""

POOL_SHARE = 1 / 32
"""Share of the free memory that a pool of jets may take while they are mixed; four copies of it are made."""

POOL_BYTES = 256 * 2**20
"""What a pool takes at most: some hundred blocks, more of which mix no better."""


class NoRoomError(OSError):
    """There is no place for a store."""


class Wanted(NamedTuple):
    """The store that is wanted."""

    reader: Reader
    num_jets: int
    name: str
    """Name of its folder: that of the first file, and the key of the recipe."""
    key: str
    is_mixed: bool = False
    """Whether it is to be written in a random order, even if memory could hold it."""

    @property
    def sources(self) -> list[SourceFile]:
        """The files of which it is made."""
        return self.reader.sample.files


def wanted(reader: Reader, num_jets: int, is_mixed: bool = False) -> Wanted:
    """The store of the first jets that a reader gives."""
    paths = [source.path for source in reader.sample.files]
    key = reader.recipe.key(paths)
    return Wanted(reader, num_jets, f"{Path(paths[0]).stem}-{key}", key, is_mixed)


def roots(sources: Sequence[SourceFile], store_dir: str | Path | None) -> list[Path]:
    """Where a store may be, the best place first: beside its files, in $SALT_STORE, in $TMPDIR; never at home.

    Parameters
    ----------
    sources : Sequence[SourceFile]
        The files of which it is made.
    store_dir : str | Path | None
        The one place that the user wants; None for no wish.
    """
    if store_dir is not None:
        return [Path(store_dir).expanduser().absolute()]
    places = [] if is_url(sources[0].path) else [Path(sources[0].path).parent / FOLDER]
    return [*places, *common_roots()]


def common_roots() -> list[Path]:
    """The places that do not depend on where the files are."""
    named = os.environ.get("SALT_STORE")
    temporary = Path(tempfile.gettempdir()) / f"{FOLDER}-{os.getuid()}"
    return [*([Path(named).expanduser().absolute()] if named else []), temporary]


def open_store(want: Wanted, store_dir: str | Path | None, labels: Mapping[str, Sequence[str]]) -> StoreFolder:
    """The store that is wanted, built where it is not there yet.

    Parameters
    ----------
    want : Wanted
        Which.
    store_dir : str | Path | None
        Where it has to be; None takes the first place that can have it.
    labels : Mapping[str, Sequence[str]]
        Stream -> the labels that batches have.

    Raises
    ------
    NoRoomError
        Where no place can have it.
    """
    places = roots(want.sources, store_dir)
    for root in places:
        folder, _ = _usable(root / want.name, want, labels)
        if folder is not None:
            return folder
    reasons = []
    for root in places:
        try:
            return _build_once(root, want, labels)
        except OSError as error:
            if error.errno not in NO_PLACE:
                raise
            reasons.append(f"{root}: {error.strerror}")
    asked = "" if store_dir is None else ". Give another data.store_dir, or data.store: false"
    raise NoRoomError(f"no place for a store of {want.sources[0].path}: {'; '.join(reasons)}{asked}")


def _usable(path: Path, want: Wanted, labels: Mapping[str, Sequence[str]]) -> tuple[StoreFolder | None, str]:
    """The store of this path if it can serve, or the reason why it cannot."""
    manifest = Manifest.read(path)
    if manifest is None:
        return None, f"{path} is damaged" if os.path.lexists(path) else "there is none yet"
    changed = manifest.changed(want.sources)
    if changed:
        return None, changed
    if manifest.num_jets < want.num_jets:
        return None, f"the one there is holds {manifest.num_jets} jets only"
    if manifest.is_mixed and manifest.num_jets > want.num_jets:
        return None, f"the one there is holds {manifest.num_jets} jets in a random order, not the first {want.num_jets}"
    with suppress(OSError):  # a file is missing
        folder = StoreFolder(path, manifest, labels)
        if folder.is_whole and Manifest.read(path) == manifest:  # no other took its place while it was opened
            return folder, ""
    return None, f"{path} is damaged"


def _build_once(root: Path, want: Wanted, labels: Mapping[str, Sequence[str]]) -> StoreFolder:
    """Build the store there, unless another process has done so in the meantime."""
    with _locked(root, want.name):
        folder, reason = _usable(root / want.name, want, labels)
        if folder is not None:
            return folder
        for leftover in root.glob(f"{escape(want.name)}.*{UNFINISHED}"):  # of a killed process: the lock was free
            shutil.rmtree(leftover)
        log.info("building a store of %s: %s%s", _names(want.sources), reason, _difference(root, want))
        with _unfinished(root / f"{want.name}.{os.getpid()}{UNFINISHED}") as unfinished:
            manifest = _build(unfinished, want)
            _put(unfinished, root / want.name)
        return StoreFolder(root / want.name, manifest, labels)


@contextmanager
def _locked(root: Path, name: str) -> Iterator[None]:
    """Hold the lock of a store. The folders that are made for stores alone go again where they stay empty."""
    made = [folder for folder in (root, *root.parents) if folder.name == FOLDER or not folder.exists()]
    with ExitStack() as stack:
        stack.callback(_remove_empty, made)
        while True:
            root.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process, whose building failed, has removed the empty folder
                stack.enter_context(lock(root / f"{name}.lock"))
                break
        yield


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, the innermost of which comes first, as far as they are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A new folder, which is gone afterwards, unless it was given another name."""
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put(folder: Path, path: Path) -> None:
    """Give a store its name; the one that has it goes, though who has it open keeps it."""
    if path.exists():
        old = path.with_name(f"{path.name}.old{UNFINISHED}")
        path.rename(old)
        folder.rename(path)
        shutil.rmtree(old)
    else:
        folder.rename(path)


def _build(folder: Path, want: Wanted) -> Manifest:
    """Write the arrays and the manifest."""
    start = time.perf_counter()
    reader = want.reader
    needed = _checked_size(folder, want)
    free = available_memory()
    is_mixed = want.is_mixed or (free is not None and needed > free * MEMORY_SHARE)
    if is_mixed:
        log.info("its jets are written in a random order: they will be read by windows")
    writer = StoreWriter(folder, reader.streams)
    try:
        with tqdm(total=want.num_jets, unit=" jets", unit_scale=True, disable=None, desc="store", leave=False) as bar:
            for blocks in _blocks(want, needed, free, is_mixed):
                writer.append(blocks)
                bar.update(min(bar.total - bar.n, len(next(iter(blocks.values())).lengths)))
        streams = writer.finish()
    finally:
        writer.close()
    content = (want.key, reader.recipe.describe(), tuple(want.sources), want.num_jets, streams, is_mixed)
    manifest = Manifest(*content)
    manifest.write(folder)
    size, seconds = sum(file.stat().st_size for file in folder.iterdir()), time.perf_counter() - start
    log.info("built %s: %d jets, %s, in %.1f s", want.name, want.num_jets, in_words(size), seconds)
    return manifest


def _blocks(want: Wanted, needed: int, free: int | None, is_mixed: bool) -> Iterator[dict[str, StreamBlock]]:
    """The jets of a store, in the order in which they are written."""
    if is_mixed:
        size = min(int((free or DEFAULT_MEMORY) * POOL_SHARE), POOL_BYTES)
        pool = size * want.num_jets // max(needed, 1)
        yield from mixed_blocks(want.reader, want.num_jets, pool)
    else:
        yield from (blocks for _, blocks in want.reader.blocks(0, want.num_jets))


def _checked_size(folder: Path, want: Wanted) -> int:
    """Bytes that a store will take, judging by its first jets; said, and raised where that is more than is free."""
    jets = min(want.num_jets, JETS_LOOKED_AT)
    size = 0
    for _, blocks in want.reader.blocks(0, jets):
        packed = [of.pack(blocks[name], of.record()) for name, of in want.reader.streams.items()]
        size += sum(rows.nbytes for rows in packed) + sum(8 * len(block.lengths) for block in blocks.values())
    needed, free = size * want.num_jets // jets, free_space(folder).free
    room = f"{in_words(needed)} in {folder.parent}, where {in_words(free)} is free"
    log.info("%d jets will take at most about %s", want.num_jets, room)
    if needed > free:
        raise OSError(errno.ENOSPC, f"needs about {in_words(needed)}, but only {in_words(free)} is free")
    return needed


def _difference(root: Path, want: Wanted) -> str:
    """What is another in the recipe than in that of a store of the same files that is there."""
    paths = [source.path for source in want.sources]
    new = _flat(want.reader.recipe.describe())
    for manifest in (Manifest.read(folder) for folder in sorted(root.iterdir())):
        if manifest is not None and [source.path for source in manifest.sources] == paths and manifest.key != want.key:
            old = _flat(manifest.recipe)
            keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            return f" (the one of the same files there is differs in {', '.join(keys[:4])})"
    return ""


def _flat(content: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Nested mappings as one: a.b.c -> value."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{start}{key}.") if isinstance(value, Mapping) else {start + key: value}
    return flat


def _names(sources: Sequence[SourceFile]) -> str:
    more = f" and {len(sources) - 1} more" if sources[1:] else ""
    return sources[0].path + more
