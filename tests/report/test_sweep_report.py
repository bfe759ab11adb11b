"""``salt report SWEEP``: an ensemble with two bands, of statistics and of training."""

import json
import re
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import yaml

from salt.report.command import main
from salt.report.evaluation import LIGHT, B, C
from salt.report.metrics import Rejections, rejection_gains, rejection_ratios
from salt.report.spread import mean
from salt.report.spread_table import mean_cell
from tests.report.conftest import make_jets, make_run, write_file

SCORES = ("toy_pb", "toy_pc", "toy_pu")


def found(*values, error=1.0):
    values = np.array(values, dtype=float)
    return Rejections(values, np.full(len(values), error), np.isnan(values))


def test_the_spread_is_the_standard_deviation_over_the_members():
    together = mean([found(10, 5, error=1.0), found(20, 5, error=2.0), found(30, 8, error=6.0)])
    assert together.value == pytest.approx([20, 6])
    assert together.training == pytest.approx([10, np.sqrt(3)])  # squares of -1, -1, 2 add up to 6, over 2
    assert together.statistical == pytest.approx([3, 3])


@pytest.mark.parametrize("number", [2, 3, 7])
def test_equal_members_have_no_spread_at_all(number):
    together = mean([found(0.1, 1 / 3, 1e9 / 7)] * number)
    assert np.array_equal(together.value, [0.1, 1 / 3, 1e9 / 7])
    assert np.array_equal(together.training, [0, 0, 0])


def test_one_member_alone_has_no_known_spread():
    together = mean([found(10)])
    assert np.isnan(together.training[0])
    assert mean_cell(together, 0).text == "10.0 ± ? ± 1.0"


def test_where_no_jet_passed_a_member_there_is_no_mean():
    together = mean([found(10, np.nan), found(20, 40)])
    assert together.value[0] == 15
    assert mean_cell(together, 1).text == "unknown"


def test_means_are_written_to_the_digits_of_the_smaller_error():
    both = [found(90, error=1.3), found(100, error=1.3)]
    assert mean_cell(mean(both), 0).text == "95.0 ± 7.1 ± 1.3"


def test_the_gain_is_over_the_mean_of_the_rejections():
    signal = np.arange(1.0, 101.0)
    background = [np.full(100, -1.0) for _ in range(3)]
    for scores, passing in zip(background, (5, 10, 20), strict=True):
        scores[:passing] = 200
    points, generator = np.array([0.5]), np.random.default_rng(0)
    gains = rejection_gains([signal] * 3, background, points, generator, 400)
    assert gains.value == pytest.approx(20 / ((10 + 5) / 2))
    assert gains.low < gains.value < gains.high


def test_the_gain_over_one_member_is_the_ratio_to_it():
    generator = np.random.default_rng(3)
    signal, background = ([generator.normal(shift, 1, 500) for _ in range(2)] for shift in (1.5, 0))
    points = np.array([0.6, 0.8])
    gain = rejection_gains(signal, background, points, np.random.default_rng(5), 50)
    ratio = rejection_ratios(tuple(signal), tuple(background), points, np.random.default_rng(5), 50)
    for name in ("value", "median", "low", "high"):
        assert getattr(gain, name) == pytest.approx(getattr(ratio, name))


def test_the_gain_of_an_ensemble_of_equal_members_is_one():
    generator = np.random.default_rng(3)
    signal, background = generator.normal(1.5, 1, 500), generator.normal(0, 1, 500)
    gain = rejection_gains([signal] * 4, [background] * 4, np.array([0.7]), generator, 50)
    assert [gain.value, gain.low, gain.high] == [pytest.approx(1)] * 3


def make_sweep(directory, noises, method="mean", num_jets=4000):
    """A tested sweep: members whose b logits are off by these noises; of folds each has the jets of its own."""
    generator = np.random.default_rng(11)
    example = make_run(directory, num_jets=num_jets, num_training_jets=1500)
    with h5py.File(next((example / "ckpts").glob("*.h5"))) as file:
        jets, tracks = file["jets"][:], file["tracks"][:]
    sweep = directory / "toy_sweep"
    members, names = [], []
    for number, noise in enumerate(noises):
        run = sweep / "trials" / f"toy_{number:04d}"
        shutil.copytree(example, run, ignore=shutil.ignore_patterns("*.h5"))
        off = jets.copy()
        scores = np.log(np.stack([jets[name] for name in SCORES]).astype("f8"))
        scores[0] += generator.normal(0, 1, len(jets)) * noise
        for name, values in zip(SCORES, np.exp(scores) / np.exp(scores).sum(axis=0), strict=True):
            off[name] = values
        members.append(off)
        own = np.arange(len(jets)) % len(noises) == number if method != "mean" else slice(None)
        name = f"trials/{run.name}/ckpts/epoch=003__test_pp_output_test.h5"
        write_file(sweep / name, off[own], tracks[own])
        names.append(name)
    together = members[0].copy()
    for name in SCORES:
        stacked = np.stack([member[name] for member in members])
        together[name] = stacked.mean(axis=0, dtype="f8")
        if method != "mean":
            together[name] = np.choose(np.arange(len(jets)) % len(noises), stacked)
    write_file(sweep / "ensemble__test_pp_output_test.h5", together, tracks)
    with h5py.File(sweep / "ensemble__test_pp_output_test.h5", "r+") as file:
        file.attrs["ensemble"], file.attrs["members"] = method, names
    (sweep / "sweep.yaml").write_text(yaml.safe_dump({"format": 1, "method": "replicas"}))
    shutil.rmtree(example)
    return sweep


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The report of three replicas: its folder, and the sweep."""
    sweep = make_sweep(tmp_path_factory.mktemp("replicas"), (0.6, 0.8, 1.0))
    assert main([str(sweep)]) == 0
    return SimpleNamespace(sweep=sweep, out=sweep / "report")


@pytest.fixture
def undrawn(monkeypatch):
    """No figures, for tests that are about something else: drawing takes seconds."""
    monkeypatch.setattr("salt.report.plots.draw", lambda run, comparison: [])
    monkeypatch.setattr("salt.report.member_plots.draw", lambda comparison, spread: [])


def rejections_by_hand(file, background, efficiency):
    with h5py.File(file) as handle:
        jets = handle["jets"][()]
    b, c, light = (jets[name].astype(float) for name in SCORES)
    scores, flavour = np.log(b / (0.05 * c + 0.95 * light)), jets["flavour_label"]
    signal = np.sort(scores[flavour == B])[::-1]
    cut = signal[int(np.ceil(len(signal) * efficiency - 1e-6)) - 1]
    passed = (scores[flavour == background] >= cut).mean()
    return 1 / passed, np.sqrt((1 - passed) / passed / (flavour == background).sum()) / passed


def test_the_numbers_of_a_sweep_are_those_that_one_computes_from_the_files(reported):
    numbers = json.loads((reported.out / "figures.json").read_text())
    files = sorted(reported.sweep.glob("trials/*/ckpts/*.h5"))
    for name, code in (("light", LIGHT), ("c", C)):
        for point in ("60", "70", "77", "85"):
            ours = rejections_by_hand(reported.sweep / "ensemble__test_pp_output_test.h5", code, int(point) / 100)
            values, errors = zip(*(rejections_by_hand(file, code, int(point) / 100) for file in files), strict=True)
            assert numbers["tagger"]["rejections"][point][name]["value"] == pytest.approx(ours[0], rel=1e-6)
            mean_member = numbers["ensemble"]["mean_member"]["rejections"][point][name]
            assert mean_member["value"] == pytest.approx(np.mean(values), rel=1e-6)
            assert mean_member["training"] == pytest.approx(np.std(values, ddof=1), rel=1e-6)
            assert mean_member["statistical"] == pytest.approx(np.mean(errors), rel=1e-6)
            gain = numbers["ensemble"]["gain"][point][name]
            assert gain["value"] == pytest.approx(ours[0] / np.mean(values), rel=1e-6)
            assert gain["low"] < gain["value"] < gain["high"]
            found = [member["rejections"][point][name] for member in numbers["ensemble"]["members"]]
            assert found == pytest.approx(values, rel=1e-6)
    assert numbers["ensemble"]["gain"]["70"]["light"]["low"] > 1  # noise that is independent averages out
    assert numbers["ensemble"]["num_members"] == 3
    assert len(numbers["ensemble"]["mean_member"]["curves"]["c"]["training"]) == len(numbers["curve_b_efficiency"])
    assert numbers["model"] == "toy ensemble"


def test_the_page_of_a_sweep_shows_its_members(reported):
    text = (reported.out / "index.html").read_text()
    assert "A jet tagger was trained 3 times on 1,500 jets, and the means" in " ".join(text.split())
    assert re.search(r'<th scope="row">Mean of 3 members</th><td>[\d.,]+ ± [\d.]+ ± [\d.]+</td>', text)
    assert re.search(r'<th scope="row">Gain of the ensemble</th><td>[\d.]+ <small>', text)
    assert "toy_0000, toy_0001, toy_0002" in text
    assert '<th scope="row">Seed</th>' not in text
    numbers = json.loads((reported.out / "figures.json").read_text())
    assert {"members_light.png", "members_c.png", "members_losses.png", "roc_light.png"} <= set(numbers["files"])
    assert "losses.png" not in numbers["files"]


@pytest.mark.usefixtures("undrawn")
def test_the_terminal_tells_ensemble_mean_and_gain(reported, tmp_path, capsys):
    assert main([str(reported.sweep), "--out", str(tmp_path), "--no-likelihood"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"light\s+Ensemble\s+\d", said)
    assert re.search(r"light\s+Mean of 3 members\s+[\d.]+ ± [\d.]+ ± [\d.]+", said)
    assert re.search(r"light\s+Gain of the ensemble\s+[\d.]+ \([\d.]+ to [\d.]+\)", said)
    assert "differ in their training alone" in said


@pytest.mark.usefixtures("undrawn")
def test_an_ensemble_of_equal_members_is_reported_without_spread_and_gain(tmp_path):
    sweep = make_sweep(tmp_path, (0.0, 0.0))
    assert main([str(sweep), "--no-likelihood", "--jets", "3500"]) == 0
    numbers = json.loads((sweep / "report" / "figures.json").read_text())
    assert sum(numbers["num_jets"].values()) == 3500
    for point, both in numbers["ensemble"]["mean_member"]["rejections"].items():
        for name, found in both.items():
            assert found["training"] == 0
            assert found["value"] == numbers["tagger"]["rejections"][point][name]["value"]
            gain = numbers["ensemble"]["gain"][point][name]
            assert [gain["value"], gain["low"], gain["high"]] == [pytest.approx(1)] * 3
    assert numbers["ensemble"]["mean_member"]["auc"]["c"]["training"] == 0


@pytest.mark.usefixtures("undrawn")
def test_folds_have_a_spread_of_another_meaning_and_no_gain(tmp_path, capsys):
    sweep = make_sweep(tmp_path, (0.2, 0.4), method="out-of-fold")
    assert main([str(sweep), "--no-likelihood"]) == 0
    numbers = json.loads((sweep / "report" / "figures.json").read_text())["ensemble"]
    assert numbers["method"] == "out-of-fold"
    assert numbers["gain"] == {point: {} for point in ("60", "70", "77", "85")}
    assert "holds the statistical error of one fold's jets" in numbers["spread"]
    files = sorted(sweep.glob("trials/*/ckpts/*.h5"))
    values = [rejections_by_hand(file, LIGHT, 0.7)[0] for file in files]
    assert numbers["mean_member"]["rejections"]["70"]["light"]["value"] == pytest.approx(np.mean(values), rel=1e-6)
    assert "was tested by the training that had not seen it" in (sweep / "report" / "index.html").read_text()
    assert re.search(r"light\s+Out of fold\s+\d", capsys.readouterr().out)


@pytest.mark.usefixtures("undrawn")
def test_a_likelihood_is_not_tested_on_the_jets_that_it_learns_from(tmp_path, caplog):
    sweep = make_sweep(tmp_path, (0.2, 0.4), method="out-of-fold", num_jets=1500)
    shutil.copy(tmp_path / "pp_output_test.h5", tmp_path / "pp_output_train.h5")
    assert main([str(sweep)]) == 0
    assert "from which the likelihood would learn: it is left out" in caplog.text
    assert "likelihood" not in json.loads((sweep / "report" / "figures.json").read_text())
    write_file(tmp_path / "other.h5", *make_jets(1500, np.random.default_rng(99)))
    assert main([str(sweep), "--train-file", str(tmp_path / "other.h5")]) == 0
    assert "likelihood" in json.loads((sweep / "report" / "figures.json").read_text())


@pytest.mark.usefixtures("undrawn")
def test_what_is_wrong_with_a_sweep_is_said_in_one_line(tmp_path, capsys, edit):
    sweep = make_sweep(tmp_path, (0.2, 0.4), num_jets=1200)

    def refused(*arguments):
        assert main([str(sweep), *map(str, arguments)]) == 2
        told = capsys.readouterr().err
        assert told.startswith("salt report: ")
        assert told.count("\n") == 1
        return told

    first, second = sorted(sweep.glob("trials/*/ckpts/*.h5"))
    assert "is not the evaluation file of an ensemble" in refused("--eval", first)
    edit(second, "jets", lambda jets: np.roll(jets, 1))
    assert f"{second} has other jets than" in refused("--no-likelihood")
    second.unlink()
    assert f"a member whose {second} is gone: run `salt test {sweep}` again" in refused()
    (sweep / "ensemble__test_pp_output_test.h5").unlink()
    assert f"run `salt test {sweep}` first" in refused()
