"""Comparison of two runs: what differs in config, data, code and results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt.callbacks.differences import ABSENT, Difference, differences
from salt.callbacks.resumption import changed_files, config_differences
from salt.callbacks.run_text import read_yaml
from salt.cli.summary import summary_of

REPOSITORIES = ("git", "salt_git")


def comparison(one: Path, other: Path) -> dict[str, list[str]]:
    """What differs between two runs: section -> a line for each difference.

    Parameters
    ----------
    one, other : Path
        Their directories.
    """
    metadata = read_yaml(one / "metadata.yaml"), read_yaml(other / "metadata.yaml")
    configs = read_yaml(one / "config.yaml"), read_yaml(other / "config.yaml")
    return {
        "config": list(map(str, config_differences(*configs))),
        "data": _data(*metadata, one, other),
        "code": [*map(str, differences(_code(metadata[0]), _code(metadata[1]))), *_patches(one, other)],
        "results": list(map(_result, differences(_results(one), _results(other)))),
    }


def _data(before: Mapping[str, Any], after: Mapping[str, Any], one: Path, other: Path) -> list[str]:
    """What of the files' contents differs; or that it is not known."""
    unknown = [str(run) for run, each in ((one, before), (other, after)) if not each.get("files")]
    if unknown:
        return [f"not known: no fingerprints in {' and '.join(f'{run}/metadata.yaml' for run in unknown)}"]
    return changed_files(before["files"], after["files"])


def _code(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Commits and packages."""
    commits = {
        f"{name}.{key}": (metadata.get(name) or {}).get(key) for name in REPOSITORIES for key in ("commit", "dirty")
    }
    packages = {f"packages.{name}": version for name, version in (metadata.get("packages") or {}).items()}
    environment = metadata.get("environment") or {}
    return {
        "salt_version": metadata.get("salt_version"),
        **commits,
        "python": environment.get("python"),
        "cuda_version": metadata.get("cuda_version"),
        **packages,
    }


def _patches(one: Path, other: Path) -> list[str]:
    """Whether what was in no commit differs."""
    texts = [file.read_text() if (file := run / "diff.patch").is_file() else "" for run in (one, other)]
    return [f"diff.patch differs: diff {one / 'diff.patch'} {other / 'diff.patch'}"] if texts[0] != texts[1] else []


def _results(run: Path) -> dict[str, Any]:
    """How a run ended, and with what."""
    summary = summary_of(run)
    metrics = read_yaml(run / "state.yaml").get("metrics") or {}
    best = {f"best {summary.best['name']}": summary.best["value"]} if summary.best else {}
    return {"state": summary.state, "epochs done": summary.epoch, **best, **metrics}


def _result(each: Difference) -> str:
    """A line; of two numbers with the difference."""
    if each.before is ABSENT or each.after is ABSENT or isinstance(each.before, str) or isinstance(each.after, str):
        return str(each)
    return f"{each.key}: {each.before:.6g} -> {each.after:.6g} ({each.after - each.before:+.3g})"
