"""`salt validate`: what a checkpoint gives on the validation jets."""

import csv
import shutil

import pytest
import yaml


def table_of(answer):
    """Metric -> value."""
    assert answer.code == 0, answer.err
    lines = [line.split() for line in answer.out.splitlines() if line.startswith("val/")]
    return {name: float(value) for name, value in lines}


def logged(run):
    """The losses of each epoch's validation."""
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    return [{name: float(value) for name, value in row.items() if name.startswith("val/")} for row in rows]


def test_validating_gives_what_was_logged_when_the_best_epoch_was_validated(salt, own_run):
    files = set(own_run.rglob("*"))
    answer = salt("validate", own_run)
    best = min(logged(own_run), key=lambda row: row["val/jets_classification_loss"])
    assert table_of(answer) == pytest.approx(best, rel=1e-5)
    assert set(own_run.rglob("*")) == files
    assert "checkpoint: " in answer.out


def test_a_checkpoint_and_a_file_can_be_named(salt, own_run, dataset):
    first = next((own_run / "ckpts").glob("epoch=000*.ckpt"))
    file = dataset()
    whole = table_of(salt("validate", own_run, file, "--ckpt_path", first))
    assert whole == pytest.approx(logged(own_run)[0], rel=1e-5)
    half = table_of(salt("validate", own_run, file, "--ckpt_path", first, "--data.num_val=500"))
    assert half != pytest.approx(whole, rel=1e-5)


def test_the_long_form_does_the_same(salt, own_run):
    first = next((own_run / "ckpts").glob("epoch=000*.ckpt"))
    answer = salt("validate", "--config", own_run / "config.yaml", "--ckpt_path", first)
    assert table_of(answer) == pytest.approx(logged(own_run)[0], rel=1e-5)


def test_a_run_that_was_gone_on_with_is_validated_with_its_own_checkpoint(salt, own_run):
    elsewhere = own_run.parent / "other.ckpt"
    shutil.copy(next((own_run / "ckpts").glob("epoch=000*.ckpt")), elsewhere)
    config = yaml.safe_load((own_run / "config.yaml").read_text())
    (own_run / "config.yaml").write_text(yaml.safe_dump({**config, "ckpt_path": str(elsewhere)}))
    answer = salt("validate", own_run)
    assert answer.code == 0, answer.err
    assert f"checkpoint: {own_run / 'ckpts'}" in answer.out


def test_a_file_without_labels_is_answered_clearly(salt, own_run, dataset):
    def without_labels(name, records):
        return records[[field for field in records.dtype.names if "flavour" not in field]]

    answer = salt("validate", own_run, dataset(without_labels))
    assert answer.code == 2
    assert "flavour_label" in answer.error


def test_a_validation_file_that_is_not_there_is_named(salt, own_run):
    answer = salt("validate", own_run, "nowhere.h5")
    assert answer.code == 2
    assert "no file nowhere.h5 (data.val_file)" in answer.error
