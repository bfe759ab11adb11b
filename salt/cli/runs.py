"""Run directories on the command line: `salt test RUN [FILE]`, and the best checkpoint of a run."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from salt.data.names import by_nearness

log = logging.getLogger(__name__)

LOSS = re.compile(r"loss=(-?\d+\.?\d*)")


def with_run(arguments: Sequence[str]) -> list[str]:
    """`test RUN [FILE] ...` as `test --config RUN/config.yaml [--data.test_file FILE] ...`."""
    positional = []
    for argument in arguments[1:]:
        if argument.startswith("-"):
            break
        positional.append(argument)
    if not positional:
        return list(arguments)
    if len(positional) > 2:
        raise ValueError(f"salt test takes a run and a file, not {len(positional)} names: {' '.join(positional)}")
    run, *files = positional
    rest = list(arguments[1 + len(positional) :])
    return [arguments[0], "--config", str(_config(Path(run))), *(f"--data.test_file={file}" for file in files), *rest]


def _config(run: Path) -> Path:
    if run.is_file():
        return run
    if (run / "config.yaml").is_file():
        return run / "config.yaml"
    folder = run.absolute().parent
    runs = [str(run.parent / path.parent.name) for path in folder.glob("*/config.yaml")]
    runs += [str(path.parent) for path in Path("logs").glob("*/config.yaml") if folder != Path("logs").absolute()]
    there = ", ".join(by_nearness(str(run), sorted(runs))[:5])
    raise FileNotFoundError(
        f"no run {run} (a directory with config.yaml); in {folder} there are: {there or 'no runs'}"
        f"\n  mend: name {'one of them' if there else 'a directory that salt fit has made'}"
    )


def best_checkpoint(run: Path) -> Path:
    """The checkpoint of a run with the lowest loss in its name; the later one where two are alike."""
    checkpoints = sorted((run / "ckpts").glob("*.ckpt"))
    losses = [(float(found[1]), -i, path) for i, path in enumerate(checkpoints) if (found := LOSS.search(path.name))]
    if not checkpoints:
        raise FileNotFoundError(
            f"no checkpoint in {run / 'ckpts'}: let the run finish an epoch, or give --ckpt_path FILE"
        )
    if not losses:
        newest = max(checkpoints, key=lambda path: path.stat().st_mtime)
        log.warning("no checkpoint in %s has a loss in its name: taking the newest, %s", run / "ckpts", newest.name)
        return newest
    best = min(losses)[2]
    log.info("best of %d checkpoints: %s", len(checkpoints), best)
    return best
