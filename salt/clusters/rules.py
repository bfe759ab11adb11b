"""Rules of a site: what its scheduler, or its nodes, would refuse later, as data beside the site's defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from salt.clusters.amounts import seconds
from salt.clusters.job import Job
from salt.clusters.site import PACKAGED


@dataclass(frozen=True)
class Rule:
    """What an option of `salt submit` has to be at a site.

    Parameters
    ----------
    option : str
        What the rule is about, a name in `ASKED`.
    because : str
        Why, in the words of the site.
    mend : str
        What to do.
    source : str
        Where the site says so.
    under : tuple[str, ...]
        Folders, in one of which a path has to be; none: anywhere.
    without : tuple[str, ...]
        Texts that may not stand in it.
    at_most : int | None
        Largest number; of a time [s]. None: there is none.
    """

    option: str
    because: str
    mend: str
    source: str
    under: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    at_most: int | None = None

    def forbids(self, asked: str) -> bool:
        """Whether what was asked for is against the rule."""
        is_outside = bool(self.under) and not any(Path(asked).is_relative_to(folder) for folder in self.under)
        is_too_much = self.at_most is not None and int(asked) > self.at_most
        return is_outside or is_too_much or any(text in asked for text in self.without)


def check(job: Job, site: str | None) -> None:
    """Raise ValueError with all rules that a job breaks at a packaged site; other sites have none."""
    problems = [
        f"{rule.option} {asked}: {rule.because} ({rule.source})\n  mend: {rule.mend}"
        for rule in (rules(site) if site else ())
        for asked in ASKED[rule.option](job)
        if rule.forbids(asked)
    ]
    if problems:
        raise ValueError("\n".join(problems))


def rules(site: str) -> list[Rule]:
    """The rules of a packaged site."""
    file = PACKAGED / "rules" / f"{site}.yaml"
    return [_rule(content) for content in yaml.safe_load(file.read_text())] if file.is_file() else []


def _rule(content: dict[str, Any]) -> Rule:
    lists = {key: tuple(content.get(key, ())) for key in ("under", "without")}
    return Rule(**{**content, **lists})


def _paths_of_the_node(job: Job) -> Iterator[str]:
    """Files and folders that the job needs where it runs."""
    environment = job.environment
    named = (str(job.directory), environment.name, environment.activate, environment.prelude or "")
    return (os.path.realpath(path) for path in named if path.startswith("/"))


def _numbers(*numbers: int | None) -> list[str]:
    return [str(number) for number in numbers if number is not None]


ASKED: dict[str, Callable[[Job], Iterable[str]]] = {
    "--log-dir": lambda job: [os.path.realpath(job.log_dir)],
    "path on the node": _paths_of_the_node,
    "argument": lambda job: job.arguments,
    "--time": lambda job: _numbers(seconds(job.resources.time)) if job.resources.time else [],
    "--max-restarts": lambda job: _numbers(job.max_restarts),
    "--array": lambda job: _numbers(job.array),
}
"""What a rule may be about -> what a job asks for there, as texts."""
