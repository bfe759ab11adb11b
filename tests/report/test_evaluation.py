"""Evaluation files: what is read, and what is refused."""

import h5py
import numpy as np
import pytest
from numpy.lib import recfunctions

from salt.report.evaluation import (
    BLOCK,
    FLAVOURS,
    LIGHT,
    OTHER,
    TAU,
    B,
    C,
    TrackReader,
    count_training_jets,
    open_file,
    read_evaluation,
    read_flavour,
    read_training_tracks,
)
from salt.report.run import InputError, read_run


def test_scores_flavours_and_momenta_are_those_of_the_file(toy_run):
    run = read_run(toy_run)
    file = run.evaluation_file()
    found = read_evaluation(run, file)
    with h5py.File(file) as handle:
        jets = handle["jets"][()]
    assert found.model_name == "toy"
    assert found.process == "ttbar"
    assert np.array_equal(found.probabilities["b"], jets["toy_pb"])
    assert np.array_equal(found.pt, jets["pt_btagJes"].astype(float) / 1000)
    assert np.array_equal(found.flavour, jets["flavour_label"])
    assert found.counts() == {name: (jets["flavour_label"] == code).sum() for name, code in FLAVOURS.items()}


def test_the_number_of_jets_can_be_capped(toy_run):
    run = read_run(toy_run)
    assert read_evaluation(run, run.evaluation_file(), 500).num_jets == 500


def test_the_process_is_asked_of_the_test_file_where_the_evaluation_file_is_silent(own_run):
    run = read_run(own_run)
    file = run.evaluation_file()
    with h5py.File(file, "r+") as handle:
        del handle.attrs["process"]
    assert read_evaluation(run, file).process == "ttbar"
    (own_run.parent / "pp_output_test.h5").unlink()
    assert read_evaluation(run, file).process == ""


def test_flavours_follow_the_order_of_the_attribute(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as handle:
        handle["jets"] = np.zeros(5, [("x", "f4")])
        handle["jets"].attrs["flavour_label"] = np.array([b"ujets", b"hbb", b"bjets"])
        found = read_flavour(handle["jets"], {"flavour_label": np.array([0, 1, 2, -1, 3])}, tmp_path)
    assert found.tolist() == [LIGHT, OTHER, B, OTHER, OTHER]


def test_without_the_attribute_the_truth_label_of_the_cone_is_taken(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as handle:
        handle["jets"] = np.zeros(5, [("x", "f4")])
        columns = {"flavour_label": np.zeros(5), "HadronConeExclTruthLabelID": np.array([5, 4, 0, 15, 55])}
        assert read_flavour(handle["jets"], columns, tmp_path).tolist() == [B, C, LIGHT, TAU, OTHER]
        with pytest.raises(InputError, match="HadronConeExclTruthLabelID"):
            read_flavour(handle["jets"], {"flavour_label": np.zeros(5)}, tmp_path)


def test_a_missing_file_names_the_nearest(toy_run):
    with pytest.raises(InputError, match=r"there is epoch=003"):
        open_file(toy_run / "ckpts" / "epoch=004-val_loss=0.6__test.h5")


def test_a_truncated_file_is_named(tmp_path):
    (tmp_path / "half.h5").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(InputError, match=r"half.h5 is not an HDF5 file"):
        open_file(tmp_path / "half.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda jets: None, "has no table jets; it has tracks"),
        (lambda jets: recfunctions.drop_fields(jets, "toy_pb"), "has no b scores toy_pb"),
        (lambda jets: recfunctions.drop_fields(jets, "toy_pc"), "has toy_pb but not toy_pc"),
        (lambda jets: jets[jets["flavour_label"] != 0], "has no b jets"),
        (lambda jets: jets[jets["flavour_label"] > 1], "has no b and no c jets"),
        (lambda jets: jets[:0], "has no b and no c and no light jets"),
    ],
)
def test_what_cannot_be_reported_is_refused(own_run, edit, change, message):
    run = read_run(own_run)
    edit(run.evaluation_file(), "jets", change)
    with pytest.raises(InputError, match=message):
        read_evaluation(run, run.evaluation_file())


def test_scores_that_are_not_finite_are_refused(own_run, edit):
    def spoil(jets):
        jets["toy_pc"][3:5] = np.nan
        return jets

    run = read_run(own_run)
    edit(run.evaluation_file(), "jets", spoil)
    with pytest.raises(InputError, match=r"2 of 1200 jets have a toy_pc"):
        read_evaluation(run, run.evaluation_file())


def test_the_only_model_is_found_whatever_the_run_is_called(own_run):
    (own_run / "config.yaml").write_text("name: another")
    run = read_run(own_run)
    assert read_evaluation(run, run.evaluation_file()).model_name == "toy"


def test_two_other_models_are_listed(own_run, edit):
    def double(jets):
        return recfunctions.append_fields(jets, "second_pb", jets["toy_pb"], usemask=False)

    (own_run / "config.yaml").write_text("name: another")
    run = read_run(own_run)
    edit(run.evaluation_file(), "jets", double)
    with pytest.raises(InputError, match="it has the models toy, second"):
        read_evaluation(run, run.evaluation_file())


def test_tracks_come_from_the_test_file_where_the_evaluation_file_has_none(own_run, edit):
    run = read_run(own_run)
    file = run.evaluation_file()
    evaluation = read_evaluation(run, file)
    column = "lifetimeSignedD0Significance"
    whole = [tracks for _, tracks in TrackReader(run, evaluation, None).blocks([column])]
    edit(file, "tracks", lambda tracks: None)
    reader = TrackReader(run, evaluation, own_run.parent / "pp_output_test.h5")
    assert column in reader.columns()
    for (rows, found), expected in zip(reader.blocks([column]), whole, strict=True):
        assert rows == slice(0, min(BLOCK, evaluation.num_jets))
        assert np.array_equal(found.columns[column], expected.columns[column], equal_nan=True)
        assert np.array_equal(found.real, expected.real)


def test_a_test_file_with_other_jets_is_refused(own_run):
    run = read_run(own_run)
    evaluation = read_evaluation(run, run.evaluation_file())
    with pytest.raises(InputError, match=r"its jets differ.*--test-file"):
        TrackReader(run, evaluation, own_run.parent / "pp_output_train.h5")


def test_tracks_that_the_tagger_did_not_see_are_real_but_not_predicted(own_run, edit):
    def truncate(tracks):
        tracks["mask"][:, 3:] = True
        return tracks

    run = read_run(own_run)
    evaluation = read_evaluation(run, run.evaluation_file())
    edit(run.evaluation_file(), "tracks", truncate)
    _, tracks = next(TrackReader(run, evaluation, None).blocks([]))
    assert tracks.real[:, 3:].any()
    assert not tracks.predicted[:, 3:].any()
    assert np.array_equal(tracks.real[:, :3], tracks.predicted[:, :3])


def test_training_jets_are_spread_over_the_file(toy_run):
    run = read_run(toy_run)
    file = toy_run.parent / "pp_output_train.h5"
    blocks = list(read_training_tracks(run, file, ["ftagTruthOriginLabel"], 1000))
    assert sum(len(flavour) for flavour, _ in blocks) == 1000
    assert set(np.unique(blocks[0][0])) == {B, C, LIGHT, TAU}
    everything = list(read_training_tracks(run, file, [], 10**9))
    assert sum(len(flavour) for flavour, _ in everything) == 8000


@pytest.mark.parametrize(("asked", "counted"), [(700, 700), (-1, 1500)])
def test_training_jets_are_as_many_as_asked_for_or_all(own_run, asked, counted):
    (own_run / "metadata.yaml").unlink()
    (own_run / "config.yaml").write_text(f"data: {{num_train: {asked}, train_file: pp_output_train.h5}}")
    assert count_training_jets(read_run(own_run)) == counted


def test_training_jets_of_a_lost_file_are_not_counted(own_run):
    (own_run / "metadata.yaml").unlink()
    (own_run / "config.yaml").write_text("data: {train_file: gone.h5}")
    assert count_training_jets(read_run(own_run)) is None


def test_a_training_file_without_the_columns_is_told_what_to_do(toy_run):
    run = read_run(toy_run)
    with pytest.raises(InputError, match=r"no track columns signed_2d_ip.*--no-likelihood"):
        next(read_training_tracks(run, toy_run.parent / "pp_output_train.h5", ["signed_2d_ip"], 10))
