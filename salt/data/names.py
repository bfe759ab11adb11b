"""Names that were asked for and are not there: messages that show what there is, the nearest first."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

NUM_NEAREST = 5


def by_nearness(name: str, names: Iterable[str]) -> list[str]:
    """All names, those most alike to `name` first; ties keep their order."""

    def distance(other: str) -> float:
        return -SequenceMatcher(None, name.lower(), other.lower()).ratio()

    return sorted(names, key=distance)


def unknown(kind: str, name: str, names: Iterable[str], where: str) -> str:
    """Message for a name that is not among `names`.

    Parameters
    ----------
    kind : str
        What was asked for: "variable", "dataset", ...
    name : str
        The name asked for.
    names : Iterable[str]
        What there is.
    where : str
        Where that is: dataset, file and YAML key.

    Returns
    -------
    str
        What was asked, where, the nearest names, then all of them.
    """
    nearest = by_nearness(name, names)
    if not nearest:
        return f"unknown {kind} {name!r} in {where}; there are none"
    message = f"unknown {kind} {name!r} in {where}; nearest: {', '.join(nearest[:NUM_NEAREST])}"
    if len(nearest) > NUM_NEAREST:
        message += f"; there are {len(nearest)}: {', '.join(nearest)}"
    return message
