"""Opening: from the name of a file to jets that can be gathered: by a store, or from the file itself."""

from __future__ import annotations

import logging
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.data.folder import StoreFolder
from salt.data.manifest import Manifest
from salt.data.places import NoRoomError, open_store, wanted
from salt.data.reader import Reader
from salt.data.recipe import Recipe
from salt.data.remote import is_url
from salt.data.sources import Pattern, Sample, open_sample
from salt.data.space import in_words
from salt.data.splits import FileSplit, Labels, MemorySplit, Split, StoredSplit
from salt.data.staging import Staging

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)

PACKAGE = Path(__file__).parent.parent


class Opening:
    """How the jets of a file are opened.

    Parameters
    ----------
    store : bool
        Convert it to a store; False reads the file itself.
    store_dir : str | Path | None
        Where stores go; None for the best place that there is.
    staging : Staging | None
        Where copies go; None for no copies.
    is_mixed : bool
        Write stores in a random order, also those that memory can hold.
    """

    def __init__(
        self,
        store: bool = True,
        store_dir: str | Path | None = None,
        staging: Staging | None = None,
        is_mixed: bool = False,
    ) -> None:
        self.store = store
        self.store_dir = store_dir
        self.staging = staging
        self.is_mixed = is_mixed

    def open(
        self, pattern: Pattern, recipe: Recipe, num_jets: int, labels: Labels, name: str, num_stored: int = 0
    ) -> Split:
        """The jets of a file.

        Parameters
        ----------
        pattern : Pattern
            The file, or files.
        recipe : Recipe
            What to read of them.
        num_jets : int
            How many jets, from the first on; -1 for all.
        labels : Labels
            Stream -> the labels that batches have.
        name : str
            train, val or test, for messages.
        num_stored : int
            How many jets the store is to have where others use it too: at least `num_jets`; -1 for all.
        """
        key = f"data.{name}_file"
        sample = open_sample(pattern, key)
        try:
            reader = Reader(sample, recipe, key)
            count = _count(sample, num_jets, f"data.num_{name}")
            if _is_packaged(sample):  # the package's own folder is no place for stores
                return self._in_memory(reader, count, labels)
            if self.store and name != "test":
                try:
                    stored = sample.num_jets if num_stored == -1 else min(max(num_stored, count), sample.num_jets)
                    return self._stored(reader, count, stored, labels)
                except NoRoomError as error:
                    if self.store_dir is not None:
                        raise
                    warn("%s. The files are read anew in each epoch instead, which is slower", error)
            return self._streamed(reader, pattern, count, labels, name)
        except BaseException:
            sample.close()
            raise

    def close(self) -> None:
        """Remove copies that nobody else uses."""
        if self.staging is not None:
            self.staging.release()

    def _in_memory(self, reader: Reader, count: int, labels: Labels) -> Split:
        split = MemorySplit(FileSplit(reader, count, labels))
        reader.sample.close()
        return split

    def _stored(self, reader: Reader, count: int, stored: int, labels: Labels) -> Split:
        """The jets of a store, built where it is not there, copied where that is wanted."""
        folder = open_store(wanted(reader, stored, self.is_mixed), self.store_dir, labels)
        reader.sample.close()
        info("store %s: %d jets%s, %s", folder.path, count, _constituents(folder.manifest), in_words(folder.num_bytes))
        if self.staging is not None:
            copy = self.staging.stage([folder.path])[folder.path]
            folder = StoreFolder(copy, Manifest.read(copy) or folder.manifest, labels)
        return StoredSplit(folder, count)

    def _streamed(self, reader: Reader, pattern: Pattern, count: int, labels: Labels, name: str) -> Split:
        """The jets of the files themselves, copied where that is wanted."""
        paths = [Path(source.path) for source in reader.sample.files if not is_url(source.path)]
        if name != "test":
            info("data.%s_file: %d jets are read from the files in each epoch (no store)", name, count)
            if self.staging is not None and len(paths) == len(reader.sample.files):
                reader.sample.close()
                copies = self.staging.stage(paths)
                sample = open_sample([copies[path] for path in paths], reader.sample.key)
                reader = Reader(sample, reader.recipe, sample.key)
        return FileSplit(reader, count, labels)


def _constituents(manifest: Manifest) -> str:
    """How many constituents of each stream there are."""
    streams = {name: stream for name, stream in manifest.streams.items() if stream.offsets is not None}
    return "".join(f", {stream.rows} {name}" for name, stream in streams.items())


def _is_packaged(sample: Sample) -> bool:
    return all(not is_url(file.path) and Path(file.path).is_relative_to(PACKAGE) for file in sample.files)


def _count(sample: Sample, num_jets: int, num_key: str) -> int:
    """How many jets to read."""
    total, where = sample.num_jets, sample.files[0].path
    if num_jets < -1 or num_jets == 0 or total == 0:
        raise ValueError(f"no jets to read: {num_key} is {num_jets} and {where} has {total}; -1 reads all")
    if num_jets > total:
        warn("%s: %d jets asked for, %s has %d: all are used", num_key, num_jets, where, total)
    return total if num_jets == -1 else min(num_jets, total)
