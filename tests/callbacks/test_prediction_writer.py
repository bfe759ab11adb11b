import logging
import subprocess
import sys

import h5py
import numpy as np
import pytest

from salt.callbacks import PredictionWriter

NAME = "epoch=003-val_loss=0.12345__test_ttbar.h5"


def read(folder, name=NAME):
    with h5py.File(folder / name) as file:
        return {key: file[key][:] for key in file}


def source(test_file):
    with h5py.File(test_file) as file:
        return {key: file[key][:] for key in file}


def test_the_file_lies_beside_the_checkpoint_under_the_name_of_the_sample(test_with):
    folder = test_with(PredictionWriter())
    assert sorted(path.name for path in folder.iterdir()) == sorted([NAME, "epoch=003-val_loss=0.12345.ckpt"])


def test_a_suffix_is_added_to_the_name(test_with):
    assert (test_with(PredictionWriter(test_suff="loose")) / NAME.replace(".h5", "_loose.h5")).exists()


def test_a_sample_is_the_whole_name_where_it_has_not_four_parts(tmp_path):
    path = PredictionWriter()._path(tmp_path / "a.ckpt", tmp_path / "pp_output_ttbar.h5", None)
    assert path == tmp_path / "a__test_pp_output_ttbar.h5"


def test_jets_are_in_the_order_of_the_file(test_with):
    jets = read(test_with(PredictionWriter()))["jets"]
    assert jets["number"].tolist() == list(range(95))
    assert np.array_equal(jets["GN2_pb"], jets["number"])
    assert np.array_equal(jets["GN2_pc"], -jets["number"])


def test_predictions_of_tracks_are_in_their_slots(test_with):
    tracks = read(test_with(PredictionWriter(write_tracks=True)))["tracks"]
    valid = tracks["valid"]
    assert np.array_equal(tracks["GN2_pPrimary"][valid], tracks["number"][valid] / 4)
    assert np.array_equal(tracks["VertexIndex"][valid], tracks["number"][valid].astype(int))


def test_padded_slots_have_the_padding_of_their_task(test_with):
    written = read(test_with(PredictionWriter(write_tracks=True)))
    padded = ~written["tracks"]["valid"]
    assert padded.any()
    assert (written["tracks"]["GN2_pPrimary"][padded] == 0).all()
    assert (written["tracks"]["VertexIndex"][padded] == -1).all()
    assert np.isnan(written["flows_loose"]["GN2_pt"][padded]).all()


def test_all_fields_are_copied_bit_for_bit_and_come_first(test_with, test_file):
    written = read(test_with(PredictionWriter(write_tracks=True)))
    for name, expected in source(test_file).items():
        fields = expected.dtype.names
        assert written[name].dtype.names[: len(fields)] == fields
        for field in fields:
            assert written[name].dtype[field] == expected.dtype[field]
            assert np.array_equal(written[name][field], expected[field])


def test_mask_is_true_where_no_constituent_is_and_comes_last(test_with):
    tracks = read(test_with(PredictionWriter(write_tracks=True)))["tracks"]
    assert tracks.dtype.names[-1] == "mask"
    assert np.array_equal(tracks["mask"], ~tracks["valid"])


def test_upstream_names_have_a_mask_in_the_first_dataset_of_constituents_only(test_with):
    written = read(test_with(PredictionWriter(write_tracks=True)))
    assert [name for name in written if "mask" in written[name].dtype.names] == ["tracks"]


def test_upstream_names_have_no_mask_where_dataset_and_stream_differ(test_with):
    written = read(test_with(PredictionWriter()))
    assert not any("mask" in written[name].dtype.names for name in written)


def test_consistent_names_prefix_everything_and_mask_all_constituents(test_with):
    written = read(test_with(PredictionWriter(write_tracks=True, names="consistent")))
    assert "GN2_VertexIndex" in written["tracks"].dtype.names
    assert [name for name in written if "mask" in written[name].dtype.names] == ["flows_loose", "tracks"]


def test_without_write_tracks_streams_called_tracks_are_not_written(test_with):
    assert sorted(read(test_with(PredictionWriter()))) == ["flows_loose", "jets"]


def test_extra_vars_narrows_the_fields(test_with):
    written = read(test_with(PredictionWriter(write_tracks=True, extra_vars={"jets": ["pt"], "tracks": ["d0"]})))
    assert written["jets"].dtype.names == ("pt", "GN2_pb", "GN2_pc")
    assert written["tracks"].dtype.names == ("d0", "GN2_pPrimary", "VertexIndex", "mask")
    assert written["flows_loose"].dtype.names == ("GN2_pt",)


def test_an_unknown_extra_variable_is_answered_with_the_nearest(test_with):
    with pytest.raises(ValueError, match=r"unknown field 'ptt' .*extra_vars.jets; nearest: pt"):
        test_with(PredictionWriter(extra_vars={"jets": ["ptt"]}))


@pytest.mark.parametrize(("half", "dtype"), [(False, "f4"), (True, "f2")])
def test_half_precision_is_of_predictions_only(test_with, half, dtype):
    written = read(test_with(PredictionWriter(write_tracks=True, half_precision=half)))
    assert written["jets"].dtype["GN2_pb"] == dtype
    assert written["tracks"].dtype["GN2_pPrimary"] == dtype
    assert written["tracks"].dtype["VertexIndex"] == "i8"
    assert written["jets"].dtype["number"] == "f4"


def test_attributes_are_copied_and_the_writer_is_named(test_with):
    with h5py.File(test_with(PredictionWriter()) / NAME) as file:
        assert list(file["jets"].attrs["flavour_label"]) == ["bjets", "cjets"]
        assert file.attrs["writer_version"].startswith("salt ")


def test_plain_h5py_reads_the_file(test_with):
    path = test_with(PredictionWriter(write_tracks=True)) / NAME
    code = (
        "import h5py, sys\n"
        "with h5py.File(sys.argv[1]) as file: total = file['jets']['GN2_pb'].sum(), file['tracks']['mask'].shape\n"
        "assert 'hdf5plugin' not in sys.modules\n"
        "assert total == (4465, (95, 5)), total"
    )
    environment = {"HDF5_PLUGIN_PATH": "/nowhere"}
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)


def test_an_exception_leaves_no_file(test_with, tagger, tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"):
        test_with(PredictionWriter(), tagger=tagger(fail_at=2))
    assert [path.suffix for path in (tmp_path / "run" / "ckpts").iterdir()] == [".ckpt"]


def test_an_exception_leaves_the_file_of_before(test_with, tagger):
    folder = test_with(PredictionWriter())
    with pytest.raises(RuntimeError, match="out of memory"):
        test_with(PredictionWriter(), tagger=tagger(fail_at=2))
    assert len(read(folder)["jets"]) == 95


def test_overwriting_is_told(test_with, caplog):
    test_with(PredictionWriter())
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]
    folder = test_with(PredictionWriter())
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warning == f"overwriting {folder / NAME}"


def test_where_the_file_is_is_told(test_with, caplog):
    caplog.set_level(logging.INFO)
    folder = test_with(PredictionWriter())
    assert f"predictions for 95 jets are in {folder / NAME}" in caplog.text


@pytest.mark.parametrize(
    ("options", "reason"), [({"fast_dev_run": 1}, "fast_dev_run"), ({"checkpoint": False}, "checkpoint")]
)
def test_without_a_run_nothing_is_written_and_that_is_told(test_with, caplog, options, reason):
    caplog.set_level(logging.INFO)
    folder = test_with(PredictionWriter(), **options)
    assert not list(folder.glob("*.h5"))
    assert reason in next(message for message in caplog.messages if "writes nothing" in message)


def test_fewer_batches_give_a_shorter_file(test_with, caplog):
    caplog.set_level(logging.INFO)
    assert len(read(test_with(PredictionWriter(), limit_test_batches=2))["jets"]) == 40
    assert "predictions for 40 jets" in caplog.text


def test_two_tasks_with_one_column_are_told_apart_by_the_name_of_the_second(test_with, tagger, head, caplog):
    tasks = [head("track_vertexing", "tracks", -1), head("track_vertexing", "tracks", -1)]
    folder = test_with(PredictionWriter(write_tracks=True), tagger=tagger(tasks=tasks))
    assert read(folder)["tracks"].dtype.names[-3:] == ("VertexIndex", "GN2_track_vertexing_VertexIndex", "mask")
    told = (
        "two tasks on tracks write 'VertexIndex': that of 'track_vertexing' is called 'GN2_track_vertexing_VertexIndex'"
    )
    assert caplog.text.count(told) == 1


def test_write_objects_without_objects_is_told(test_with, caplog):
    test_with(PredictionWriter(write_objects=True))
    assert "data.mf_config is not set, so there are no objects" in caplog.text
