"""Run directories on the command line: `salt test RUN [FILE]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from salt.data.names import by_nearness
from salt.training.run_files import exists, is_url, joined

FILE_OF = {"test": "data.test_file", "validate": "data.val_file", "predict": "data.test_file"}
"""Verb -> the key of the file that may be named after the run."""


def with_run(arguments: Sequence[str]) -> list[str]:
    """`test RUN [FILE] ...` as `test --config RUN/config.yaml [--data.test_file FILE] ...`; validate too."""
    positional = []
    for argument in arguments[1:]:
        if argument.startswith("-"):
            break
        positional.append(argument)
    if not positional:
        return list(arguments)
    if len(positional) > 2:
        given = f"{len(positional)} names: {' '.join(positional)}"
        raise ValueError(f"salt {arguments[0]} takes a run and a file, not {given}")
    run, *files = positional
    rest = list(arguments[1 + len(positional) :])
    named = [f"--{FILE_OF[arguments[0]]}={file}" for file in files]
    return [arguments[0], "--config", run_config(run), *named, *rest]


def run_config(name: str) -> str:
    """The config.yaml of a run, which may be given by its directory, or by that file."""
    if is_url(name):
        return _config_on_server(name)
    run = Path(name)
    if run.is_file():
        return str(run)
    if (run / "config.yaml").is_file():
        return str(run / "config.yaml")
    folder = run.absolute().parent
    runs = [str(run.parent / path.parent.name) for path in folder.glob("*/config.yaml")]
    runs += [str(path.parent) for path in Path("logs").glob("*/config.yaml") if folder != Path("logs").absolute()]
    there = ", ".join(by_nearness(str(run), sorted(runs))[:5])
    raise FileNotFoundError(
        f"no run {run} (a directory with config.yaml); in {folder} there are: {there or 'no runs'}"
        f"\n  mend: name {'one of them' if there else 'a directory that salt fit has made'}"
    )


def _config_on_server(url: str) -> str:
    for config in (joined(url, "config.yaml"), url):
        if exists(config):
            return config
    raise FileNotFoundError(f"no run {url} (a directory with config.yaml)")
