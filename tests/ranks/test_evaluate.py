"""Tests, predictions and validations on several ranks: what one rank gives."""

import h5py
import pytest
import torch

from tests.cli.test_maskformer import edited

NAME = "__test_sample_{}.h5"
OBJECT_DATASETS = ["jets", "tracks", "truth_hadrons", "object_masks"]


@pytest.fixture
def one_thread():
    """As each rank has one: sums of matrix products round as they are cut among threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def evaluation(run, end):
    (path,) = (run / "ckpts").glob(f"*{NAME.format(end)}")
    return path


def check_equal(one, other):
    """Names, types, chunks, attributes, and each bit of the contents."""
    with h5py.File(one) as first, h5py.File(other) as second:
        assert list(first) == list(second)
        for name in first:
            sets = first[name], second[name]
            assert len({(each.dtype, each.shape, each.chunks, each[:].tobytes()) for each in sets}) == 1, name
            assert len({str(dict(each.attrs)) for each in sets}) == 1


@pytest.mark.slow
def test_two_ranks_write_the_file_of_one(start, salt, own_run, one_thread):
    options = ("--data.num_test=1130", "--data.batch_size=300")  # four batches, the last of which is not full
    two = start("lightning", "test", own_run, *options, "--trainer.strategy=ddp", "--data.test_suff=two")
    assert salt("test", own_run, *options, "--data.test_suff=one").code == 0
    assert two.code() == 0, two.said
    check_equal(evaluation(own_run, "one"), evaluation(own_run, "two"))
    assert not list((own_run / "ckpts").glob(".*"))
    assert "predictions for 1130 jets" in two.said


@pytest.mark.slow
def test_two_ranks_write_the_objects_of_one(start, salt, overlay, tmp_path, one_thread):
    files = {f"{stage}_file": "salt/configs/sample.h5" for stage in ("train", "val", "test")}
    config = overlay(**edited(**files, norm_dict="salt/configs/norm_dict.yaml", num_val=200))
    assert salt("fit", "--config", config).code == 0
    (run,) = (tmp_path / "logs").iterdir()
    options = ("--data.num_test=1130", "--data.batch_size=300")
    two = start("lightning", "test", run, *options, "--trainer.strategy=ddp", "--data.test_suff=two")
    assert salt("test", run, *options, "--data.test_suff=one").code == 0
    assert two.code() == 0, two.said
    check_equal(evaluation(run, "one"), evaluation(run, "two"))
    with h5py.File(evaluation(run, "two")) as file:
        assert {name: len(file[name]) for name in file} == dict.fromkeys(OBJECT_DATASETS, 1130)


@pytest.mark.slow
@pytest.mark.parametrize(("jets", "size"), [(2, 1), (601, 300)])
def test_fewer_batches_than_ranks_do(start, salt, own_run, one_thread, jets, size):
    options = (f"--data.num_test={jets}", f"--data.batch_size={size}")
    three = start("lightning", "test", own_run, *options, "--trainer.strategy=ddp", "--data.test_suff=three", ranks=3)
    assert salt("test", own_run, *options, "--data.test_suff=one").code == 0
    assert three.code() == 0, three.said
    check_equal(evaluation(own_run, "one"), evaluation(own_run, "three"))


@pytest.mark.slow
def test_torchrun_needs_no_more_than_to_be_used(start, salt, own_run, one_thread):
    two = start("torchrun", "predict", own_run, "--data.batch_size=300", "--data.test_suff=two", ranks=0)
    assert salt("predict", own_run, "--data.batch_size=300", "--data.test_suff=one").code == 0
    assert two.code() == 0, two.said
    check_equal(evaluation(own_run, "one"), evaluation(own_run, "two"))


FAILING = """
import lightning


class Failing(lightning.Callback):
    def on_test_batch_end(self, trainer, module, outputs, batch, number):
        if trainer.global_rank == 1 and number == 2:
            raise OSError("no memory left, say")
"""


@pytest.mark.slow
def test_nothing_is_left_where_one_rank_fails(start, own_run, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    before = sorted((own_run / "ckpts").iterdir())
    failing = "--trainer.callbacks+={class_path: failing.Failing}"
    run = start("lightning", "test", own_run, "--data.batch_size=100", "--trainer.strategy=ddp", failing)
    assert run.code() != 0, run.said
    assert run.ends(5)
    assert "salt: error: no memory left, say" in run.said
    assert sorted((own_run / "ckpts").iterdir()) == before


@pytest.mark.slow
def test_a_number_of_batches_would_leave_gaps(start, own_run):
    run = start("lightning", "test", own_run, "--trainer.limit_test_batches=2", "--trainer.strategy=ddp")
    assert run.code() != 0
    assert "mend: give --data.num_test=JETS" in run.said


@pytest.mark.slow
@pytest.mark.parametrize("jets", [2000, 801])
def test_two_ranks_validate_as_one_does(start, salt, own_run, jets):
    options = (f"--data.num_val={jets}", "--data.batch_size=200")
    two = start("torchrun", "validate", own_run, *options, ranks=0)
    answer = salt("validate", own_run, *options)
    assert answer.code == 0, answer.err
    assert two.code() == 0, two.said
    figures = [_figures(text) for text in (answer.out, two.said)]
    assert len(figures[0]) > 10
    assert figures[1] == pytest.approx(figures[0], abs=2e-5)


def _figures(text):
    words = [line.split() for line in text.splitlines() if line.startswith("val/")]
    return {name: float(value) for name, value in words}
