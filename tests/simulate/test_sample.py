import os
import re
import signal
import time

import numpy as np
import pytest

from salt.simulate import columns, sample
from salt.simulate.command import main

H5_FILES = ("pp_output_train.h5", "pp_output_val.h5", "pp_output_test.h5", "ntuple.h5")


@pytest.fixture
def finished(request):
    return request.getfixturevalue("sample")


def test_one_and_two_workers_give_the_same_files(finished, resumed):
    for name in H5_FILES:
        assert (finished / name).read_bytes() == (resumed["out"] / name).read_bytes()


def test_one_and_two_workers_give_the_same_dictionaries(finished, resumed):
    for name in ("norm_dict.yaml", "class_dict.yaml"):
        assert (finished / name).read_text() == (resumed["out"] / name).read_text()


def test_killed_run_leaves_no_file_under_its_final_name(resumed):
    assert all(name.startswith(".chunks-") for name in resumed["left"])


def test_killed_run_goes_on_from_its_finished_chunks(resumed):
    assert re.search(r"going on from the chunks of an earlier run \([1-9]\)", resumed["log"])


def test_killed_run_leaves_no_process(resumed):
    assert resumed["workers"]
    assert not resumed["orphans"]


def test_finished_run_leaves_no_chunks(finished):
    assert {path.name for path in finished.iterdir()} == set(sample.OUTPUTS)


def test_second_run_reuses_the_first(finished, simulate_arguments, caplog):
    caplog.set_level("INFO")
    began = time.monotonic()
    assert main(simulate_arguments(finished, workers=1)) == 0
    assert time.monotonic() - began < 2
    assert "reused" in caplog.text


def test_files_of_another_command_are_not_touched(finished, simulate_arguments, capsys):
    assert main([*simulate_arguments(finished, workers=1), "--seed", "8"]) == 2
    assert "--force" in capsys.readouterr().err
    assert sample.is_complete(sample.Recipe("ttbar", 7, (3000, 400, 600)), finished)


def test_file_of_unknown_making_is_not_touched(tmp_path, simulate_arguments, capsys):
    (tmp_path / "norm_dict.yaml").write_text("jets: {}\n")
    assert main(simulate_arguments(tmp_path, workers=1)) == 2
    assert "norm_dict.yaml" in capsys.readouterr().err


def test_force_clears_what_another_command_made(tmp_path):
    (tmp_path / "norm_dict.yaml").write_text("jets: {}\n")
    (tmp_path / "mine.txt").write_text("keep")
    assert not sample.is_complete(sample.Recipe("ttbar", 7, (1, 1, 1)), tmp_path, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_second_run_at_the_same_time_is_refused(tmp_path):
    with (
        sample.locked(tmp_path),
        pytest.raises(BlockingIOError, match="another salt simulate"),
        sample.locked(tmp_path),
    ):
        pass


def test_interrupt_stops_at_once_and_without_a_traceback(tmp_path, start_simulation):
    process = start_simulation(tmp_path, workers=1)
    while not list(tmp_path.glob(".chunks-*/lock")):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, log = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in log


def test_folds_have_the_sizes_asked_for():
    shares = np.bincount(sample.fold(np.arange(100_000), (6, 1, 3))) / 100_000
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.3], atol=0.01)


def test_fold_hash_is_that_of_splitmix64():
    # first output of splitmix64 seeded with 0 is 0xE220A8397B1DCDAF; its upper half is kept
    assert columns.mix(np.array([0]))[0] == 0xE220A839


def test_disk_that_is_too_small_is_noticed_first(tmp_path):
    with pytest.raises(OSError, match="GB free"):
        sample.check_space(sample.Recipe("ttbar", 1, (10**12, 1, 1)), tmp_path)


def test_jets_are_distinct(finished, read_file):
    jets = read_file(finished / "ntuple.h5")["jets"]
    assert len(np.unique(jets[["eventNumber", "pt"]])) == len(jets)
    assert len(np.unique(jets["jetFoldHash"])) == len(jets)
