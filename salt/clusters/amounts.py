"""Amounts that a job asks for, as Slurm writes them: times and memory."""

from __future__ import annotations

import re

SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86400

TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})$")
TIMES = "30 (minutes), 30:00 (minutes and seconds), 4:00:00, 2-12 (days and hours), 2-12:00, 2-12:00:00"

MEMORY = re.compile(r"(?P<number>\d+)(?P<unit>[KMGT]?)B?$", re.IGNORECASE)
MEGABYTES = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}


def seconds(time: str) -> int:
    """The seconds that a time limit means.

    Parameters
    ----------
    time : str
        As Slurm reads it: minutes, minutes:seconds, hours:minutes:seconds, or days-hours[:minutes[:seconds]].
    """
    match = TIME.match(time.strip())
    if not match:
        raise ValueError(f"{time!r} is no time\n  mend: write it as {TIMES}")
    parts = [int(part) for part in match["rest"].split(":")]
    if match["days"] is not None:
        units = (HOUR, MINUTE, SECOND)
    else:
        units = (HOUR, MINUTE, SECOND) if len(parts) == 3 else (MINUTE, SECOND, 0)
    total = int(match["days"] or 0) * DAY + sum(part * unit for part, unit in zip(parts, units, strict=False))
    if total == 0:
        raise ValueError(f"{time!r} is no time at all\n  mend: write it as {TIMES}")
    return total


def in_words(number: int) -> str:
    """A number of seconds as days-hours:minutes:seconds, days only where there are some."""
    days, rest = divmod(number, DAY)
    clock = f"{rest // HOUR:02}:{rest % HOUR // MINUTE:02}:{rest % MINUTE:02}"
    return f"{days}-{clock}" if days else clock


def megabytes(memory: str) -> int:
    """The megabytes (2**20 bytes) that a size means, rounded up: 500M, 16G; a number alone is in megabytes."""
    match = MEMORY.match(memory.strip())
    if not match or not int(match["number"]):
        raise ValueError(f"{memory!r} is no size of memory\n  mend: write it as 16G or 500M")
    return max(1, round(int(match["number"]) * MEGABYTES[match["unit"].upper()]))
