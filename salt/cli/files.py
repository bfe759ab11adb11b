"""Files that the user names: their own, or those that the package ships."""

from __future__ import annotations

import logging
from pathlib import Path

from salt.data.names import NUM_NEAREST, by_nearness
from salt.training.run_files import is_url

log = logging.getLogger(__name__)

PACKAGED = Path(__file__).resolve().parent.parent / "configs"
"""The folder of the packaged configs and of the sample."""

NO_MODELS = frozenset({"base.yaml", "norm_dict.yaml", "class_dict.yaml"})
"""Files of that folder that describe no model."""

PREFIX = "salt/configs/"
"""How a config names a file of that folder, wherever the package is installed."""


def packaged_path(name: str) -> str:
    """The path behind a name like salt/configs/sample.h5, from any directory; any other name as it is."""
    packaged = PACKAGED / name.removeprefix(PREFIX)
    return str(packaged) if name.startswith(PREFIX) and packaged.is_file() else name


def packaged_config(name: str) -> str | Path:
    """The file of a --config: the user's own where there is one, else the one that is packaged under its name."""
    file = Path(name)
    if file.is_file() or is_url(name):
        return name
    inside = name.removeprefix(PREFIX).removeprefix("configs/")
    if (PACKAGED / inside).is_file():
        log.info("no file %s here: taking the one that salt ships", name)
        return PACKAGED / inside
    folder = file.parent
    shipped = [path.name for path in sorted(PACKAGED.glob("*.yaml")) if path.name not in NO_MODELS]
    here = [path.name for path in sorted(folder.glob("*.yaml"))]
    there = ", ".join(by_nearness(inside, here)[:NUM_NEAREST]) or ("no .yaml" if folder.is_dir() else "no such folder")
    raise FileNotFoundError(
        f"no file {name} (--config); in {folder}: {there}; salt ships: {', '.join(by_nearness(inside, shipped))}\n"
        "  mend: name one of them, or the path of your own"
    )


def is_packaged(name: object) -> bool:
    """Whether what a key names (None, a path, a URL, or a list of these) is a file of the package."""
    return isinstance(name, str | Path) and Path(name).parent == PACKAGED
