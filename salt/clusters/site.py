"""A site: the defaults of a cluster, in a YAML file whose keys are options of `salt submit`.

Counted up: ~/.config/salt/site.yaml, what --site names, the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from salt.clusters.options import IMPLIED, OPTIONS, parsed
from salt.data.names import by_nearness, unknown

PACKAGED = Path(__file__).resolve().parent / "sites"

NOT_HERE = frozenset({"site", "dry-run", "wait", "array", "after"})
"""Options of one submission, which no site could know."""

OF_A_SITE = tuple(option for option in OPTIONS if option not in NOT_HERE)


def own_file() -> Path:
    """The user's own defaults, there or not."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "salt" / "site.yaml"


def site_file(name: str) -> Path:
    """The file that --site names: one of the packaged sites, or a path."""
    sites = sorted(path.stem for path in PACKAGED.glob("*.yaml"))
    if name in sites:
        return PACKAGED / f"{name}.yaml"
    file = Path(name).expanduser()
    if not file.is_file():
        there = ", ".join(by_nearness(name, sites)) or "none"
        raise FileNotFoundError(
            f"--site {name} is no file, and no site that salt ships; it ships: {there}\n"
            f"  mend: write a YAML file with options of salt submit, as `partition: gpu`, and name it"
        )
    return file


def defaults(name: str | None) -> dict[str, Any]:
    """Options of the user's own file, and over them of the site that --site names (None: no other)."""
    files = [own_file()] if own_file().is_file() else []
    files += [site_file(name)] if name else []
    found: dict[str, Any] = {}
    for file in files:
        found = over(found, read(file))
    return found


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Options over others; lists are added, and an environment takes back the names of those of another kind."""
    if "env" in above:
        below = {name: value for name, value in below.items() if IMPLIED.get(name, above["env"]) == above["env"]}
    lists = {name: [*below[name], *value] for name, value in above.items() if _is_list(value) and name in below}
    return {**below, **above, **lists}


def read(file: Path) -> dict[str, Any]:
    """The options in a file."""
    content = _mapping(file)
    for key in content:
        if key.replace("_", "-") not in OF_A_SITE:
            raise ValueError(
                f"{unknown('option', key, OF_A_SITE, str(file))}\n  mend: salt submit --help says what each is"
            )
    try:
        return parsed(list(_arguments(content)))[0]
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _mapping(file: Path) -> dict[str, Any]:
    """The content, with every value as it is written: a time such as 12:00:00 would be a number to YAML."""
    try:
        content = yaml.load(file.read_text(), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{file}{line} is not YAML: {getattr(error, 'problem', None) or error}") from error
    if content is None or content == "":
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no mapping; write options of salt submit, as `partition: gpu`")
    return content


def _arguments(content: Mapping[str, Any]) -> Iterator[str]:
    """The same as words of a command line."""
    for key, value in content.items():
        for each in value if _is_list(value) else [value]:
            if not isinstance(each, str):
                raise ValueError(f"{key} holds a mapping; write a value, or a list of them")
            yield f"--{key}={each}"


def _is_list(value: object) -> bool:
    return isinstance(value, list)
