"""Make a run with upstream's own program, and evaluate it there: something to evaluate with ours.

    benchmarks/peers/setup && .venv/bin/python benchmarks/upstream_run.py FOLDER

Trains the model of a packaged config (gnn.yaml: 2 layers, width 64) for two epochs on the packaged sample of 2,000
simulated jets, or on files of `salt simulate`, then tests it on them. About a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
PEER_PYTHON = HERE.parent / ".peer-venv" / "bin" / "python"
CONFIGS = HERE.parent / "salt" / "configs"
FILES = ("sample.h5", "norm_dict.yaml", "class_dict.yaml")

CALLBACKS = [
    {"class_path": "salt.callbacks.Checkpoint", "init_args": {"monitor_loss": "val/jets_classification_loss"}},
    {"class_path": "salt.callbacks.PredictionWriter", "init_args": {"write_tracks": True}},
]
"""As in upstream's base.yaml, but that predictions of tracks are written as well."""


def overlay(folder: Path, data: Path, epochs: int) -> dict[str, Any]:
    """What the run needs besides a model: upstream merges it over the config."""
    sample = str(data / "sample.h5")
    return {
        "data": {
            **{f"{part}_file": sample for part in ("train", "val", "test")},
            "norm_dict": str(data / "norm_dict.yaml"),
            "class_dict": str(data / "class_dict.yaml"),
            "num_workers": 0,
        },
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "precision": "32",
            "max_epochs": epochs,
            "default_root_dir": str(folder / "logs"),
            "callbacks": CALLBACKS,
        },
    }


def salt(peer_python: Path, folder: Path, *arguments: object) -> None:
    """Upstream's program, from outside the repository, on one thread; what it says is in a file of the folder."""
    command = [peer_python.with_name("salt"), *map(str, arguments)]
    offline = {"COMET_MODE": "offline", "COMET_OFFLINE_DIRECTORY": str(folder), "OMP_NUM_THREADS": "1"}
    log = folder / f"{arguments[0]}.log"
    with log.open("w") as said:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **offline, "PYTHONPATH": ""}, stdout=said, stderr=said, check=False
        )
    if done.returncode:
        raise SystemExit(f"upstream's salt {arguments[0]} ended with {done.returncode}; what it said is in {log}")


def make(folder: Path, configs: list[Path], data: Path, epochs: int, peer_python: Path) -> dict[str, str]:
    """Train and test; paths of the run, of its last checkpoint and of the evaluation file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(data / name, folder)
    over = folder / "over.yaml"
    over.write_text(yaml.safe_dump(overlay(folder, folder, epochs), sort_keys=False))
    named = [f"--config={config.resolve()}" for config in [*configs, over]]
    salt(peer_python, folder, "fit", *named, "--force")
    run = max((folder / "logs").iterdir(), key=lambda path: path.stat().st_mtime)
    checkpoint = max((run / "ckpts").glob("*.ckpt"))
    salt(peer_python, folder, "test", f"--config={run / 'config.yaml'}", f"--ckpt_path={checkpoint}")
    (evaluation,) = (run / "ckpts").glob(f"{checkpoint.stem}__test_*.h5")
    return {"run": str(run), "checkpoint": str(checkpoint), "evaluation": str(evaluation)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="for the data and the run")
    parser.add_argument("--config", type=Path, action="append", help="configs of the model, in place of gnn.yaml")
    parser.add_argument("--data", type=Path, default=CONFIGS, help=f"folder with {', '.join(FILES)}")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter of upstream's environment")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of lines")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if not options.peer_python.exists():
        raise SystemExit(f"{options.peer_python} is missing: run benchmarks/peers/setup")
    configs = options.config or [CONFIGS / "gnn.yaml"]
    folder = options.folder.resolve()
    # not resolved: the link's place tells Python which environment it is
    made = make(folder, configs, options.data.resolve(), options.epochs, options.peer_python.absolute())
    print(json.dumps(made) if options.json else "\n".join(f"{name}: {path}" for name, path in made.items()))


if __name__ == "__main__":
    main()
