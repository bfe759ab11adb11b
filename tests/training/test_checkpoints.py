import os
import time
from pathlib import Path

import pytest
import torch

from salt.training import checkpoints

LOSS = "val/jets_classification_loss"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run" / "ckpts").mkdir(parents=True)
    return tmp_path / "run"


@pytest.fixture
def save(run):
    """Save a checkpoint of a run; without `value` one whose weights were not validated."""

    def make(name, step, value=None, mode="min", metric=LOSS, ours=True, **more):
        path = run / "ckpts" / name
        content = {"state_dict": {"weight": torch.ones(100)}, "epoch": 0, "global_step": step, **more}
        if ours:
            content["salt"] = {"format": 1, "monitor": {"name": metric, "value": value, "mode": mode}, "epochs": step}
        torch.save(content, path)
        return path

    return make


def cut(path):
    """Cut a file short."""
    os.truncate(path, path.stat().st_size - 100)


def flip(path):
    """Change one byte of its tensors."""
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(4).numpy().tobytes())] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("values", "mode", "best"),
    [
        ([0.70, 0.65, 0.66], "min", 1),
        ([0.70, 0.65, 0.66], "max", 0),
        ([0.70, 0.70], "min", 1),
        ([0.70, 0.70], "max", 1),
        ([float("nan"), 0.70], "min", 1),
        ([0.70, float("nan")], "max", 0),
        ([0.700001, 0.700002], "min", 0),  # alike in the names
    ],
)
def test_the_best_has_the_best_number_stored_and_the_later_one_wins(run, save, values, mode, best):
    for step, value in enumerate(values):
        save(f"epoch={step:03d}-val_loss={value:.5f}.ckpt", step, value, mode)
    assert Path(checkpoints.best(run).path).name.startswith(f"epoch={best:03d}")


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["epoch=000-val_loss=0.70000", "epoch=001-val_loss=0.65000", "epoch=002-val_loss=0.66000"], 1),
        (["epoch=000-val_loss=0.70000", "epoch=001-val_loss=0.70000"], 1),
        (["epoch=000-val_loss=-1.50000", "epoch=001-val_loss=0.10000"], 0),
        (["epoch=000-val_loss=9.00000", "epoch=001-val_loss=10.00000"], 0),
        (["epoch=000-val_loss=nan", "epoch=001-val_loss=0.70000", "last"], 1),
    ],
)
def test_the_best_of_upstreams_checkpoints_is_found_by_their_names(run, save, names, best):
    for step, name in enumerate(names):
        save(f"{name}.ckpt", step, ours=False, hyper_parameters={"model": torch.nn.Linear(1, 1)})
    assert Path(checkpoints.best(run).path).stem == names[best]


def test_the_number_stored_counts_and_not_the_name(run, save):
    save("epoch=000-val_loss=0.10000.ckpt", 0, 0.9)
    save("epoch=001-val_loss=0.90000.ckpt", 1, 0.1)
    assert checkpoints.best(run).step == 1


def test_where_the_monitored_metric_has_changed_the_newest_says_which_counts(run, save):
    save("epoch=000-val_loss=0.10000.ckpt", 0, 0.1)
    save("epoch=001-auc=0.80000.ckpt", 1, 0.8, "max", "val/auc")
    save("epoch=002-auc=0.70000.ckpt", 2, 0.7, "max", "val/auc")
    assert checkpoints.best(run).step == 1


def test_the_state_in_the_middle_of_an_epoch_is_the_newest_but_never_the_best(run, save):
    save("epoch=000-val_loss=0.70000.ckpt", 10, 0.7)
    save("last.ckpt", 15)
    assert checkpoints.last(run).step == 15
    assert checkpoints.best(run).step == 10


def test_the_newest_is_taken_where_none_has_a_number(run, save, caplog):
    save("epoch=001-step=9.ckpt", 9)
    save("epoch=000-step=3.ckpt", 3)
    assert checkpoints.best(run).step == 9
    assert "taking the newest, epoch=001-step=9.ckpt" in caplog.text


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b""), lambda path: path.write_text("hi")])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(run, save, damage, caplog):
    save("epoch=000-val_loss=0.70000.ckpt", 10, 0.7)
    damaged = save("epoch=001-val_loss=0.60000.ckpt", 20, 0.6)
    damage(damaged)
    assert checkpoints.newest(run).step == 10
    assert f"skipping {damaged}" in caplog.text
    assert checkpoints.best(run).step == 10


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b""), lambda path: path.write_text("hi")])
def test_a_damaged_checkpoint_that_is_asked_for_is_one_clear_error(save, damage):
    path = save("epoch=000-val_loss=0.70000.ckpt", 10, 0.7)
    damage(path)
    assert not checkpoints.is_whole(path)
    with pytest.raises(ValueError, match=f"{path} .* is cut short, damaged, or not a checkpoint\n.*salt fit --resume"):
        checkpoints.read(path)


def test_any_length_that_is_cut_off_is_noticed(save):
    path = save("a.ckpt", 10, 0.7)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert not checkpoints.is_whole(path), length


def test_a_whole_checkpoint_is_read(save):
    content = checkpoints.read(save("a.ckpt", 10, 0.7))
    assert content["global_step"] == 10
    assert content["state_dict"]["weight"].sum() == 100


@pytest.mark.parametrize("more", [{"hyper_parameters": {"model": torch.nn.Linear(1, 1)}}, {"hyper_parameters": {}}])
def test_of_a_checkpoint_of_upstreams_the_weights_alone_are_read(save, more):
    content = checkpoints.read(save("a.ckpt", 10, ours=False, **more))
    assert content["state_dict"]["weight"].sum() == 100
    assert checkpoints.is_foreign(content)
    assert content.keys() == {"state_dict", "hyper_parameters", "pytorch-lightning_version"}


def test_a_checkpoint_of_ours_is_not_foreign(save):
    assert not checkpoints.is_foreign(checkpoints.read(save("a.ckpt", 10, 0.7)))


def test_a_file_of_torch_that_is_no_checkpoint_is_refused(tmp_path):
    torch.save({"weights": torch.ones(1)}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="it has no state_dict"):
        checkpoints.read(tmp_path / "a.ckpt")


def test_a_run_without_checkpoints_is_refused(run):
    assert checkpoints.newest(run) is None
    for find in (checkpoints.best, checkpoints.last):
        with pytest.raises(FileNotFoundError, match="give --ckpt_path FILE"):
            find(run)


def test_files_that_are_being_written_are_no_checkpoints(run, save):
    save(".epoch=000-val_loss=0.1.ckpt.part", 10, 0.1)
    assert checkpoints.newest(run) is None


def test_what_a_large_checkpoint_says_of_itself_is_read_without_its_tensors(run, save):
    path = save("epoch=000-val_loss=0.70000.ckpt", 10, 0.7, large=torch.zeros(50_000_000))
    began = time.perf_counter()
    assert checkpoints.facts(str(path)).monitor == checkpoints.Monitor(LOSS, 0.7, "min")
    assert time.perf_counter() - began < 0.1  # reading 200 MB takes longer
