"""A rank that is killed: the others end soon, leave nothing behind, and the run can go on."""

import os
import signal
from pathlib import Path

import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc"),
]

SOON = 30
"""Seconds; it takes about one."""

ENDLESS = ("--trainer.max_epochs=1000", "--data.batch_size=50", "--data.num_workers=1", "-ls", "a")

CODES = {"lightning": 137, "torchrun": 1}
"""Exit code of a run one rank of which is killed; torchrun has one of its own."""


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("launcher", list(CODES))
def test_the_others_end_and_the_run_goes_on(start, dataset, tmp_path, launcher, victim):
    file, fast = dataset(), tmp_path / "fast"
    files = [f"--data.{name}={file}" for name in ("train_file", "val_file")]
    staged = f"--data.move_files_temp={fast}"
    run = start(launcher, "fit", "--config=simple.yaml", *files, *ENDLESS, staged)
    folder = tmp_path / "logs" / "simple_a"
    run.wait_for(lambda: list((folder / "ckpts").glob("epoch=001*.ckpt")))
    assert len(run.processes()) >= 6  # with two workers for each rank
    assert fast.exists()
    os.kill(run.rank(victim), signal.SIGKILL)
    is_killed = launcher == "lightning" and victim == 0
    assert run.code(SOON) == (-signal.SIGKILL if is_killed else CODES[launcher])
    assert run.ends(SOON)
    assert f"salt: rank {victim} was killed" in run.said
    assert not fast.exists()
    if victim:
        assert yaml.safe_load((folder / "state.yaml").read_text())["reason"].startswith("rank 1 was killed")
    done = len(list((folder / "ckpts").glob("epoch=*.ckpt")))
    more = start(launcher, "fit", f"--resume={folder}", f"--trainer.max_epochs={done + 1}")
    assert more.code() == 0, more.said
    assert len(list((folder / "ckpts").glob("epoch=*.ckpt"))) == done + 1


def test_ranks_end_with_torchrun(start, tmp_path):
    run = start("torchrun", "fit", "--config=simple.yaml", *ENDLESS)
    run.wait_for(lambda: list((tmp_path / "logs").glob("*/ckpts/*.ckpt")))
    run.process.kill()
    assert run.ends(SOON), run.said
    assert "all is saved" in run.said


SLEEPER = """
import time

import lightning


class Sleeper(lightning.Callback):
    def on_test_batch_end(self, trainer, *_):
        if trainer.global_rank == 0:
            open("slept", "w").close()
            time.sleep(1000)
"""


@pytest.mark.parametrize("victim", [0, 1])
def test_nothing_is_left_of_a_test_one_rank_of_which_is_killed(start, own_run, tmp_path, victim):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    before = sorted(path.name for path in (own_run / "ckpts").iterdir())
    sleeper = "--trainer.callbacks+={class_path: sleeper.Sleeper}"
    options = ("--data.batch_size=100", "--trainer.strategy=ddp", sleeper)
    run = start("lightning", "test", own_run, *options)
    run.wait_for((tmp_path / "slept").exists)
    assert len(list((own_run / "ckpts").iterdir())) > len(before)
    os.kill(run.rank(victim), signal.SIGKILL)
    assert run.code(SOON) == (-signal.SIGKILL if victim == 0 else 137), run.said
    assert run.ends(SOON)
    assert sorted(path.name for path in (own_run / "ckpts").iterdir()) == before
