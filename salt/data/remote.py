"""Remote files: s3:// and other URLs that fsspec can open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

from salt.data.names import NUM_NEAREST, by_nearness

BLOCK = 8 * 2**20
"""Bytes a request: what a server needs to answer one is worth a megabyte or so."""

BLOCKS_KEPT = 8
"""Of a file: the tables of a sample are read in turn, each from its own part of the file."""

PATIENCE = 20
"""Seconds that a server may take to say whether a file is there."""


def is_url(path: str) -> bool:
    """Whether a path names a file on a server."""
    return "://" in path


def find(pattern: str, key: str) -> list[str]:
    """URLs of the files that a URL, which may be a glob, stands for.

    Parameters
    ----------
    pattern : str
        The URL.
    key : str
        YAML key that holds it, for messages.
    """
    filesystem, path = _filesystem(pattern, key)
    with _telling(pattern, key):
        found, folder, names = _in_time(lambda: _look(filesystem, path))
    if found:
        return [filesystem.unstrip_protocol(each) for each in found]
    nearest = ", ".join(by_nearness(path.rpartition("/")[2], names)[:NUM_NEAREST]) or "no files"
    raise FileNotFoundError(f"no file {pattern} ({key}); in {filesystem.unstrip_protocol(folder)} there are: {nearest}")


def _look(filesystem: Any, path: str) -> tuple[list[str], str, list[str]]:
    """Files that a path, which may be a glob, stands for; where there are none, a folder and the names in it."""
    filesystem.invalidate_cache()  # of listings, which may be older than the files
    folder = path.rpartition("/")[0]
    if any(sign in path for sign in "*?["):
        found = [name for name, facts in filesystem.glob(path, detail=True).items() if facts["type"] == "file"]
    else:
        try:
            is_file = filesystem.info(path)["type"] == "file"
            found, folder = ([path], folder) if is_file else ([], path)
        except FileNotFoundError:
            found = []
    names = [] if found else filesystem.ls(folder, detail=False)
    return found, folder, [name.rstrip("/").rpartition("/")[2] for name in names]


def facts(url: str, key: str) -> tuple[int, str]:
    """Size of a file, and its ETag or time: another one means other contents. Empty where the server tells neither.

    Parameters
    ----------
    url : str
        The file.
    key : str
        YAML key that names it, for messages.
    """
    filesystem, path = _filesystem(url, key)
    with _telling(url, key):
        info = _in_time(lambda: filesystem.info(path))
    versions = (info.get(name) for name in ("ETag", "etag", "mtime", "LastModified", "last_modified", "created"))
    return info["size"] or 0, str(next(filter(None, versions), ""))


@contextmanager
def open_url(url: str, key: str) -> Iterator[BinaryIO]:
    """Open a file on a server for reading, with a cache of large blocks.

    Parameters
    ----------
    url : str
        The file.
    key : str
        YAML key that names it, for messages.
    """
    filesystem, path = _filesystem(url, key)
    with _telling(url, key):
        options = {"maxblocks": BLOCKS_KEPT}
        stream = _in_time(
            lambda: filesystem.open(path, "rb", block_size=BLOCK, cache_type="background", cache_options=options)
        )
    with stream:
        yield stream


def _filesystem(url: str, key: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the path in it."""
    protocol = url.partition("://")[0]
    try:
        import fsspec

        return fsspec.url_to_fs(url)
    except ImportError as error:
        mend = "pip install 'salt-hep[s3]'" if protocol == "s3" else f"pip install what is named here: {error}"
        raise ImportError(f"{url} ({key}) needs a library that is not installed: {mend}") from error
    except ValueError as error:
        known = ", ".join(by_nearness(protocol, fsspec.available_protocols())[:NUM_NEAREST])
        raise ValueError(f"{url} ({key}): {error}; nearest: {known}; the path of a local file has no ://") from error


@contextmanager
def _telling(url: str, key: str) -> Iterator[None]:
    """Turn what the server and its library say into one message that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {url} ({key}): {error}") from error
    except PermissionError as error:
        raise PermissionError(f"no permission to read {url} ({key}): {error}; check the credentials") from error
    except Exception as error:  # each library has errors of its own, and all of them mean that the file is out of reach
        raise OSError(
            f"{url} ({key}) cannot be read: {error or type(error).__name__}; check the network, the credentials "
            "(s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws) and the server (s3: AWS_ENDPOINT_URL)"
        ) from error


def _in_time(ask: Callable[[], Any]) -> Any:
    """What a server answers, or TimeoutError; the libraries' own patience may last for many minutes."""
    answers: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()

    def answer() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:
            answers.put((None, error))

    Thread(target=answer, daemon=True).start()
    try:
        result, error = answers.get(timeout=PATIENCE)
    except Empty:
        raise TimeoutError(f"no answer in {PATIENCE} seconds") from None
    if error is not None:
        raise error
    return result
