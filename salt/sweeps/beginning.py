"""How a sweep begins: its folder is made by one process, whole; the others that were asked for the same join it."""

from __future__ import annotations

import filecmp
import shutil
import uuid
from pathlib import Path

from salt.sweeps import process
from salt.sweeps.folder import TRIALS, is_sweep, read_plan, write_members, write_plan
from salt.sweeps.plan import Plan


def made_or_joined(folder: Path, mine: Plan) -> None:
    """Make the folder of a sweep, whole, by a rename that only one process can do; the others join it."""
    if not is_sweep(folder):
        draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        (draft / process.CONFIGS).mkdir(parents=True)
        (draft / TRIALS).mkdir()
        _copy_configs(mine, draft)
        write_plan(draft, mine.content())
        write_members(draft, [])
        try:
            draft.rename(folder)  # onto a folder that is there and not empty: an error
            return
        except OSError:
            shutil.rmtree(draft)
            if not is_sweep(folder):
                raise ValueError(
                    f"{folder} is there, and is no sweep\n  mend: name another folder, or remove that one"
                ) from None
    theirs = Plan.of(read_plan(folder), str(folder))
    differences = [*mine.differences(theirs), *_changed_configs(mine, folder)]
    if differences:
        raise ValueError(
            f"{folder} is another sweep: {'; '.join(differences)}\n"
            f"  mend: salt sweep --study {folder} alone joins that one; another --study begins a new one"
        )


def _copy_configs(of: Plan, folder: Path) -> None:
    for number, file in enumerate(_configs(of)):
        if file.is_file():
            shutil.copyfile(file, folder / process.CONFIGS / f"{number}-{file.name}")


def _changed_configs(of: Plan, folder: Path) -> list[str]:
    """What the sweep has another copy of."""
    copies = [folder / process.CONFIGS / f"{number}-{file.name}" for number, file in enumerate(_configs(of))]
    return [
        f"{file} has changed since"
        for file, copy in zip(_configs(of), copies, strict=True)
        if file.is_file() and copy.is_file() and not filecmp.cmp(file, copy, shallow=False)
    ]


def _configs(of: Plan) -> list[Path]:
    return [Path(of.directory, name) for name, is_config in process.configs_in(of.arguments) if is_config]
