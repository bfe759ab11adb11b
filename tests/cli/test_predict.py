"""`salt predict RUN FILE`: what `salt test` writes, of jets of which no truth is known."""

import shutil

import h5py
import pytest


@pytest.fixture
def unlabelled(dataset, tmp_path):
    """A file of 300 jets with the inputs of the model, and nothing else."""

    def inputs_only(name, records):
        kept = [field for field in records.dtype.names if "ruth" not in field and "flavour" not in field]
        return records[:300][kept]

    return shutil.move(dataset(inputs_only), tmp_path / "new.h5")


def test_a_file_without_labels_is_predicted_as_it_would_be_tested(salt, own_run, unlabelled):
    assert salt("predict", own_run, unlabelled, "--data.test_suff=predicted").code == 0
    assert salt("test", own_run, unlabelled, "--data.test_suff=tested").code == 0
    one, other = sorted((own_run / "ckpts").glob("*__test_new_*.h5"))
    assert (one.stem.rpartition("_")[2], other.stem.rpartition("_")[2]) == ("predicted", "tested")
    assert one.read_bytes() == other.read_bytes()
    with h5py.File(one) as file:
        assert file["jets"]["GNN_pb"].std() > 0


def test_a_run_and_a_file_that_are_not_there_are_answered_as_for_a_test(salt, own_run):
    answer = salt("predict", own_run, "absent.h5")
    assert answer.code == 2
    assert "no file absent.h5 (data.test_file)" in answer.error


def test_nothing_is_said_of_what_lightning_would_predict(salt):
    assert "--return_predictions" not in salt("predict", "--help").out
