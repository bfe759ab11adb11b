"""Make a run with upstream's own program, and evaluate it there: something to evaluate with ours.

    benchmarks/peers/setup && .venv/bin/python benchmarks/upstream_run.py FOLDER

Trains the model of a packaged config (gnn.yaml: 2 layers, width 64) for two epochs on the packaged sample of 2,000
simulated jets, or on files of `salt simulate`, then tests it on them. About a minute on one core. With --generate the
files are made of random numbers, with whatever columns the configs ask for; these have to say all else.
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
from config_data import make_files

from salt.cli.configs import merged, read
from salt.cli.widths import completed

HERE = Path(__file__).resolve().parent
PEER_PYTHON = HERE.parent / ".peer-venv" / "bin" / "python"
CONFIGS = HERE.parent / "salt" / "configs"
JETS = 400
"""Of each file that is made."""

FILES = ("sample.h5", "norm_dict.yaml", "class_dict.yaml")

CALLBACKS = [
    {"class_path": "salt.callbacks.Checkpoint", "init_args": {"monitor_loss": "val/jets_classification_loss"}},
    {"class_path": "salt.callbacks.PredictionWriter", "init_args": {"write_tracks": True}},
]
"""As in upstream's base.yaml, but that predictions of tracks are written as well."""


def copied(data: Path, folder: Path) -> dict[str, Path]:
    """A copy of a sample and of its dictionaries: key of `data` -> file."""
    for name in FILES:
        shutil.copy(data / name, folder)
    sample = {f"{part}_file": folder / "sample.h5" for part in ("train", "val", "test")}
    return {**sample, "norm_dict": folder / "norm_dict.yaml", "class_dict": folder / "class_dict.yaml"}


def generated(configs: list[Path], folder: Path) -> dict[str, Path]:
    """Files with all that the configs, merged, ask for: key of `data` -> file."""
    return make_files(merged([read(config) for config in configs]), folder, JETS)


def packaged(folder: Path) -> Path:
    """A copy of gnn.yaml with the widths that follow from others: upstream wants them all."""
    path = folder / "gnn.yaml"
    content = completed(yaml.safe_load((CONFIGS / path.name).read_text()), {})
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def overlay(epochs: int) -> dict[str, Any]:
    """What the training of a model needs besides: upstream merges it over the config."""
    return {
        "trainer": {
            "accelerator": "cpu",
            "devices": 1,
            "precision": "32",
            "max_epochs": epochs,
            "callbacks": CALLBACKS,
        },
    }


def places(folder: Path, files: dict[str, Path]) -> dict[str, Any]:
    """Where everything is."""
    return {
        "data": {**{key: str(path) for key, path in files.items()}, "num_workers": 0},
        "trainer": {"default_root_dir": str(folder / "logs")},
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


def make(folder: Path, configs: list[Path], overlays: list[dict[str, Any]], peer_python: Path) -> dict[str, str]:
    """Train and test; paths of the run, of its last checkpoint and of the evaluation file."""
    over = [folder / f"over_{number}.yaml" for number, _ in enumerate(overlays)]
    for path, content in zip(over, overlays, strict=True):
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    named = [f"--config={config.resolve()}" for config in [*configs, *over]]
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
    parser.add_argument("--generate", action="store_true", help="files with what the configs ask for, in its place")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter of upstream's environment")
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of lines")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if not options.peer_python.exists():
        raise SystemExit(f"{options.peer_python} is missing: run benchmarks/peers/setup")
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    configs = options.config or [packaged(folder)]
    files = generated(configs, folder) if options.generate else copied(options.data.resolve(), folder)
    overlays = [*([] if options.generate else [overlay(options.epochs)]), places(folder, files)]
    # not resolved: the link's place tells Python which environment it is
    made = make(folder, configs, overlays, options.peer_python.absolute())
    print(json.dumps(made) if options.json else "\n".join(f"{name}: {path}" for name, path in made.items()))


if __name__ == "__main__":
    main()
