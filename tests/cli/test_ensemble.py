"""`salt test SWEEP`: members are copies of one run, which was tested once, with scores of their own."""

import os
import shutil

import h5py
import numpy as np
import pytest
import yaml

from salt.sweeps.folder import Member, write_members, write_plan

SCORES = ["GNN_pb", "GNN_pc", "GNN_pu", "GNN_ptau"]


@pytest.fixture(scope="module")
def tested_run(finished_run, tmp_path_factory):
    """A run whose best checkpoint was tested, not to be written to."""
    from tests.conftest import run_salt

    run = tmp_path_factory.mktemp("tested") / finished_run[0].name
    shutil.copytree(finished_run[0], run)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(finished_run[0]), str(run)))
    assert run_salt("test", run).code == 0
    return run


@pytest.fixture
def sweep(tested_run, tmp_path):
    """Make a sweep whose members are copies of the tested run; a change of each one's evaluation file and config."""

    def make(method="replicas", number=3, states=None, evaluation=None, config=None):
        folder = tmp_path / "GNN_sweep"
        found = []
        for place in range(number):
            run = folder / "trials" / f"GNN_{place:04d}"
            shutil.copytree(tested_run, run)
            content = yaml.safe_load((run / "config.yaml").read_text())
            for keys, value in (config(place) if config else {}).items():
                *parents, last = keys.split(".")
                below = content
                for parent in parents:
                    below = below[parent]
                below[last] = value
            (run / "config.yaml").write_text(yaml.safe_dump(content))
            if evaluation:
                with h5py.File(next((run / "ckpts").glob("*.h5")), "r+") as file:
                    evaluation(place, file)
            state = states[place] if states else "complete"
            found.append(Member(place, state, 0.5 - 0.1 * place, run, {}, 1.0))
        write_plan(folder, {"method": method, "objective": "val/loss", "direction": "min", "parameters": {}})
        write_members(folder, found)
        return folder

    return make


def other_scores(place, file):
    jets = file["jets"][:]
    for name in SCORES:
        jets[name] = np.roll(jets[name], place)
    file["jets"][:] = jets


def jets_of(file, name="jets"):
    with h5py.File(file) as content:
        return content[name][:]


def evaluations(folder):
    return sorted(folder.glob("trials/*/ckpts/*__test_sample.h5"))


def test_the_ensemble_of_replicas_has_their_mean_scores(salt, sweep):
    folder = sweep(evaluation=other_scores)
    answer = salt("test", folder)
    assert answer.code == 0, answer.err
    ours = jets_of(folder / "ensemble__test_sample.h5")
    members = [jets_of(file) for file in evaluations(folder)]
    assert ours.dtype == members[0].dtype
    for name in ours.dtype.names:
        expected = np.mean([jets[name] for jets in members], axis=0, dtype="f8").astype("f4")
        assert ours[name].tobytes() == (expected if name in SCORES else members[1][name]).tobytes(), name
    assert "scores of the ensemble of 3 members for 2000 jets are in" in answer.err
    with h5py.File(folder / "ensemble__test_sample.h5") as file:
        assert [folder / name for name in file.attrs["members"]] == evaluations(folder)
        assert (file.attrs["ensemble"], file.attrs["model"]) == ("mean", "GNN")


def test_an_ensemble_of_equal_members_is_each_of_them(salt, sweep):
    folder = sweep()
    assert salt("test", folder).code == 0
    for name in ("jets", "tracks"):
        ours, member = (jets_of(file, name) for file in (folder / "ensemble__test_sample.h5", evaluations(folder)[0]))
        assert ours.tobytes() == member.tobytes()


def test_members_that_are_tested_already_are_not_tested_again_and_this_is_said(salt, sweep):
    folder = sweep()
    before = [file.stat().st_mtime_ns for file in evaluations(folder)]
    answer = salt("test", folder)
    assert answer.err.count("is tested already: ") == 3
    assert [file.stat().st_mtime_ns for file in evaluations(folder)] == before


def test_members_that_did_not_finish_are_left_out(salt, sweep):
    folder = sweep(number=4, states=["complete", "failed", "running", "complete"], evaluation=other_scores)
    answer = salt("test", folder)
    assert answer.code == 0, answer.err
    assert "2 of 4 trials of" in answer.err
    first, _, _, last = (jets_of(file)["GNN_pb"].astype("f8") for file in evaluations(folder))
    assert jets_of(folder / "ensemble__test_sample.h5")["GNN_pb"] == pytest.approx((first + last) / 2)


def test_without_a_finished_member_there_is_no_ensemble(salt, sweep):
    answer = salt("test", sweep(number=2, states=["failed", "running"]))
    assert answer.code == 2
    assert "has finished (trial 0 failed, trial 1 running)" in answer.error
    assert "salt sweep --study" in answer.error


def test_the_trials_of_a_search_are_no_ensemble_but_the_best_of_them_may_be(salt, sweep):
    folder = sweep("tpe", evaluation=other_scores)
    answer = salt("test", folder)
    assert answer.code == 2
    assert f"test the best trial: salt test {folder / 'trials' / 'GNN_0002'}" in answer.error
    assert salt("test", folder, "--members", "best:2").code == 0
    _, second, best = (jets_of(file)["GNN_pb"].astype("f8") for file in evaluations(folder))
    assert jets_of(folder / "ensemble__test_sample.h5")["GNN_pb"] == pytest.approx((second + best) / 2)


@pytest.mark.parametrize("which", ["best", "best:0", "worst:2", "all:3", ""])
def test_members_that_cannot_be_chosen_so_are_refused(salt, sweep, which):
    answer = salt("test", sweep(), f"--members={which}")
    assert answer.code == 2
    assert "there is all, best:5 for a sweep by replicas" in answer.error


def test_a_member_that_is_gone_is_named(salt, sweep):
    folder = sweep()
    shutil.rmtree(folder / "trials" / "GNN_0001")
    answer = salt("test", folder)
    assert answer.code == 2
    assert f"member 1 of {folder} is gone: there is no {folder / 'trials' / 'GNN_0001' / 'config.yaml'}" in answer.error


def test_members_with_models_of_other_names_are_refused(salt, sweep):
    answer = salt("test", sweep(config=lambda place: {"name": f"GNN{place // 2}"}))
    assert answer.code == 2
    assert "must have the same name, and they have GNN0 in" in answer.error


def test_one_checkpoint_for_a_sweep_is_refused(salt, sweep):
    answer = salt("test", sweep(), "--ckpt_path", "x.ckpt")
    assert answer.code == 2
    assert "test one member: salt test RUN --ckpt_path FILE" in answer.error


def test_a_test_file_that_is_not_there_is_named_before_anything_is_tested(salt, sweep, dataset):
    answer = salt("test", sweep(), dataset().with_name("simple.h5"))
    assert answer.code == 2
    assert "no file" in answer.error
    assert "sample.h5" in answer.error


def folded(place):
    return {"data.fold": {"variable": "eventNumber", "k": 2, "use": place}}


@pytest.fixture
def folded_sweep(sweep):
    """A sweep of two folds of equal members, whose evaluation files are of one fold each."""

    def own_part(place, file):
        chosen = file["jets"]["eventNumber"] % 2 == place
        for name in ("jets", "tracks"):
            rows, attributes = file[name][chosen], dict(file[name].attrs)
            if name == "jets":
                rows["GNN_pb"] = place
            del file[name]
            file[name] = rows
            file[name].attrs.update(attributes)

    return lambda **options: sweep("folds", 2, evaluation=own_part, config=folded, **options)


def test_each_jet_is_scored_by_the_member_that_left_it_out(salt, folded_sweep, tested_run):
    folder = folded_sweep()
    answer = salt("test", folder)
    assert answer.code == 0, answer.err
    ours = jets_of(folder / "ensemble__test_sample.h5")
    whole = jets_of(next((tested_run / "ckpts").glob("*.h5")))
    assert np.array_equal(ours["GNN_pb"], ours["eventNumber"] % 2)
    assert np.array_equal(ours["pt_btagJes"], whole["pt_btagJes"])
    assert np.array_equal(ours["GNN_pu"], whole["GNN_pu"])


def test_a_fold_without_a_finished_member_is_left_out_and_said(salt, folded_sweep):
    folder = folded_sweep(states=["failed", "complete"])
    answer = salt("test", folder)
    assert answer.code == 0, answer.err
    assert "1 of 2 folds have no finished member: their jets are left out" in answer.err
    assert set(jets_of(folder / "ensemble__test_sample.h5")["eventNumber"] % 2) == {1}


def test_a_variable_of_the_folds_that_the_file_lacks_is_named_before_anything_is_tested(salt, folded_sweep, dataset):
    def without(name, records):
        return records[[field for field in records.dtype.names if field != "eventNumber"]] if name == "jets" else None

    answer = salt("test", folded_sweep(), dataset(without))
    assert answer.code == 2
    assert "unknown field 'eventNumber'" in answer.error
    assert "data.fold.variable" in answer.error


def test_members_that_leave_out_the_same_fold_are_refused(salt, sweep):
    answer = salt("test", sweep("folds", 2, config=lambda place: folded(0)))
    assert answer.code == 2
    assert "do not each leave out a fold of their own" in answer.error


@pytest.mark.slow
def test_members_are_tested_that_are_not_yet_and_again_where_something_has_changed(salt, sweep, dataset):
    folder = sweep(number=2)
    first, second = evaluations(folder)
    checkpoint = next(first.parent.glob(f"{first.name.partition('__test_')[0]}.ckpt"))
    os.utime(checkpoint)  # trained on since
    with h5py.File(second, "r+") as file:
        file.attrs["tested"] = "another file"
    answer = salt("test", folder)
    assert answer.code == 0, answer.err
    assert "testing member 0" in answer.err
    assert "testing member 1" in answer.err
    assert jets_of(first).tobytes() == jets_of(second).tobytes()
    other = dataset(lambda name, records: records[:300])
    answer = salt("test", folder, other, "--trainer.accelerator=cpu")
    assert answer.code == 0, answer.err
    assert len(jets_of(folder / "ensemble__test_sample.h5")) == 300


@pytest.mark.slow
def test_a_member_whose_test_fails_ends_the_test_of_the_sweep(salt, sweep):
    folder = sweep(number=1)
    evaluations(folder)[0].unlink()
    answer = salt("test", folder, "--data.batch_size=none")
    assert answer.code == 2
    assert "member 0" in answer.error
    assert "its test ended with exit code 2" in answer.error
    assert not list(folder.glob("*.h5"))
