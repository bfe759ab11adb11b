import contextlib
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from salt.layout import One
from salt.ragged import Ragged
from salt.training.module import SaltModule

SCORES = ("pb", "pc", "pu", "ptau")


def best(run):
    return min((run / "ckpts").glob("*.ckpt"), key=lambda path: float(path.stem.rpartition("=")[2]))


def evaluation_of(run, checkpoint, sample="sample"):
    return run / "ckpts" / f"{checkpoint.stem}__test_{sample}.h5"


@pytest.fixture
def small_file(dataset, tmp_path):
    """A file of 300 jets without any truth."""

    def without_labels(name, records):
        kept = [field for field in records.dtype.names if "ruth" not in field and "flavour" not in field]
        return records[:300][kept]

    path = tmp_path / "unlabelled.h5"
    shutil.move(dataset(without_labels), path)
    return path


@pytest.fixture
def tested(monkeypatch):
    """The modules that test, and their batches."""
    seen, step = [], SaltModule.test_step

    def recorded(self, batch, batch_idx):
        seen.append((self, batch))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SaltModule, "test_step", recorded)
    return seen


def test_a_run_is_tested_with_its_best_checkpoint_and_its_test_file(salt, own_run):
    answer = salt("test", own_run)
    assert answer.code == 0, answer.err
    with h5py.File(evaluation_of(own_run, best(own_run))) as file:
        assert file["jets"].shape == (2000,)
        assert file["tracks"].shape == (2000, 40)
    assert f"best of 2 checkpoints: {best(own_run)}" in answer.err


def test_a_file_can_be_named_after_the_run(salt, own_run, small_file):
    answer = salt("test", own_run, small_file)
    assert answer.code == 0, answer.err
    with h5py.File(evaluation_of(own_run, best(own_run), "unlabelled")) as file:
        assert file["jets"].shape == (300,)


def test_testing_needs_no_labels(salt, own_run, small_file):
    with h5py.File(small_file) as file:
        assert "flavour_label" not in file["jets"].dtype.names
    assert salt("test", own_run, small_file).code == 0


def test_the_long_form_tests_the_checkpoint_that_it_names(salt, own_run, small_file):
    worst = next(path for path in (own_run / "ckpts").glob("*.ckpt") if path != best(own_run))
    options = ("--config", own_run / "config.yaml", "--data.test_file", small_file, "--ckpt_path", worst)
    assert salt("test", *options).code == 0
    assert evaluation_of(own_run, worst, "unlabelled").is_file()
    assert not evaluation_of(own_run, best(own_run), "unlabelled").exists()


def test_the_scores_are_those_of_the_model_called_jet_by_jet(salt, own_run, small_file, tested):
    assert salt("test", own_run, small_file).code == 0
    module, batch = tested[0]
    saved = torch.load(best(own_run), weights_only=True)["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in module.state_dict().items())
    with h5py.File(evaluation_of(own_run, best(own_run), "unlabelled")) as file:
        jets, tracks = file["jets"][:], file["tracks"][:]
    ragged = batch.inputs["tracks"]
    for place, number in list(enumerate(batch.index.tolist()))[::37]:
        values = ragged.values[ragged.offsets[place] : ragged.offsets[place + 1]]
        inputs = {
            "jets": batch.inputs["jets"][[place]],
            "tracks": Ragged.from_lengths(values, torch.tensor([len(values)])),
        }
        with torch.inference_mode():
            says = module.model.outputs(module.model(module.norm(inputs), One), inputs, {}, One)
        expected = [float(says["jets_classification"][name]) for name in SCORES]
        assert [jets[f"GNN_{name}"][number] for name in SCORES] == pytest.approx(expected, abs=1e-5)
        origin = tracks["GNN_pFromB"][number][tracks["valid"][number]]
        assert origin == pytest.approx(says["track_origin"]["pFromB"].numpy(), abs=1e-5)


def test_rows_stay_in_the_order_of_the_file(salt, own_run, small_file):
    assert salt("test", own_run, small_file).code == 0
    with h5py.File(small_file) as given, h5py.File(evaluation_of(own_run, best(own_run), "unlabelled")) as file:
        assert np.array_equal(file["jets"]["pt_btagJes"], given["jets"]["pt_btagJes"])
        assert file["jets"]["GNN_pb"].std() > 0


def test_a_run_that_is_not_there_is_answered_with_the_nearest(salt, own_run):
    answer = salt("test", own_run.with_name("GNN_2020"))
    assert answer.code == 2
    assert f"in {own_run.parent} there are: {own_run}\n" in answer.error


def test_a_run_without_its_directory_is_found_in_logs(salt, own_run):
    answer = salt("test", "GNN_2020")
    assert answer.code == 2
    assert f"logs/{own_run.name}" in answer.error


def test_a_run_without_checkpoints_says_so(salt, own_run):
    shutil.rmtree(own_run / "ckpts")
    answer = salt("test", own_run)
    assert answer.code == 2
    assert f"no checkpoint in {own_run / 'ckpts'}" in answer.error


def test_a_test_file_that_is_not_there_is_named(salt, own_run, small_file):
    answer = salt("test", own_run, "unlabeled.h5")
    assert answer.code == 2
    assert "no file unlabeled.h5 (data.test_file)" in answer.error
    assert "unlabelled.h5" in answer.error


def test_a_checkpoint_that_is_not_there_is_named(salt, own_run):
    answer = salt("test", own_run, "--ckpt_path", own_run / "ckpts" / "epoch=7.ckpt")
    assert answer.code == 2
    assert "epoch=7.ckpt" in answer.error


def test_more_than_a_run_and_a_file_is_refused(salt, own_run):
    answer = salt("test", own_run, "a.h5", "b.h5")
    assert answer.code == 2
    assert "takes a run and a file, not 3 names" in answer.error


def test_a_relative_run_is_tested_from_its_own_directory(salt, own_run):
    with contextlib.chdir(own_run.parent):
        assert salt("test", own_run.name, "--data.num_test=50", "--data.test_file=salt/configs/sample.h5").code == 0
    assert Path(evaluation_of(own_run, best(own_run))).is_file()
