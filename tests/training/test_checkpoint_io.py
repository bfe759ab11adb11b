import os
import subprocess

import pytest
import torch

from salt.training.checkpoint_io import WholeCheckpointIO

SMALL, LARGE = ({"state_dict": {"a": torch.full((size,), 1.0)}} for size in (1_000, 1_000_000))


@pytest.fixture
def disk(tmp_path):
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"mounting is not permitted here: {done.stderr.strip()}"
        (pytest.fail if os.environ.get("SALT_CI") == "1" and os.geteuid() == 0 else pytest.skip)(reason)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def ckpts(tmp_path):
    return tmp_path / "run" / "ckpts"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded(ckpts):
    WholeCheckpointIO().save_checkpoint(SMALL, ckpts / "a.ckpt")
    assert torch.equal(WholeCheckpointIO().load_checkpoint(ckpts / "a.ckpt")["state_dict"]["a"], torch.ones(1_000))
    assert names(ckpts) == ["a.ckpt"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(ckpts):
    WholeCheckpointIO().save_checkpoint(SMALL, ckpts / "a.ckpt")
    before = (ckpts / "a.ckpt").read_bytes()
    with pytest.raises(Exception, match="pickle"):
        WholeCheckpointIO().save_checkpoint({**LARGE, "function": lambda: None}, ckpts / "a.ckpt")
    assert (ckpts / "a.ckpt").read_bytes() == before
    assert names(ckpts) == ["a.ckpt"]


def test_an_interrupt_while_it_is_written_leaves_the_one_before(ckpts):
    class Interrupting:
        def __reduce__(self):
            raise KeyboardInterrupt

    WholeCheckpointIO().save_checkpoint(SMALL, ckpts / "a.ckpt")
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpointIO().save_checkpoint({**LARGE, "object": Interrupting()}, ckpts / "a.ckpt")
    assert names(ckpts) == ["a.ckpt"]
    assert WholeCheckpointIO().load_checkpoint(ckpts / "a.ckpt")["state_dict"]["a"].numel() == 1_000


def test_a_full_disk_keeps_the_checkpoint_before_and_is_one_error_that_says_how_to_go_on(disk):
    folder = disk / "run" / "ckpts"
    WholeCheckpointIO().save_checkpoint(SMALL, folder / "a.ckpt")
    for name in ("a.ckpt", "b.ckpt"):
        with pytest.raises(OSError, match=rf"{name} could not be written: the disk is full") as error:
            WholeCheckpointIO().save_checkpoint(LARGE, folder / name)
        assert f"salt fit --resume {disk / 'run'}" in str(error.value)
    assert names(folder) == ["a.ckpt"]
    assert WholeCheckpointIO().load_checkpoint(folder / "a.ckpt")["state_dict"]["a"].numel() == 1_000


def test_a_folder_that_may_not_be_written_to_is_told(disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(OSError, match=r"a\.ckpt could not be written: Read-only file system"):
        WholeCheckpointIO().save_checkpoint(SMALL, disk / "a.ckpt")


def test_a_missing_checkpoint_is_told(ckpts):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        WholeCheckpointIO().load_checkpoint(ckpts / "a.ckpt")


def test_a_checkpoint_is_removed(ckpts):
    WholeCheckpointIO().save_checkpoint(SMALL, ckpts / "a.ckpt")
    WholeCheckpointIO().remove_checkpoint(ckpts / "a.ckpt")
    assert names(ckpts) == []
