"""``salt report RUN`` from end to end."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from salt.report.command import main, publish
from salt.report.evaluation import LIGHT, B, C

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars"
)


@pytest.fixture(scope="module")
def report(toy_run, tmp_path_factory):
    """The report of the toy run, and what the command said."""
    out = tmp_path_factory.mktemp("report") / "out"
    arguments = [str(toy_run), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "salt.report.command", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture
def undrawn(monkeypatch):
    """No figures, for tests that are about something else: drawing takes seconds."""
    monkeypatch.setattr("salt.report.plots.draw", lambda run, comparison: [])


class Tags(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def refused(capsys, *arguments):
    """Message of a command that is refused."""
    assert main([str(argument) for argument in arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("salt report: ")
    assert told.err.count("\n") == 1
    return told.err


def test_the_command_says_the_table_and_where_the_page_is(report):
    out, said = report
    assert f"Page: {out / 'index.html'}" in said
    assert re.search(r"70 %\s+light\s+\d", said)
    assert "AUC of b against light: toy 0.9" in said


def test_the_page_needs_nothing_beside_it(report):
    text = (report[0] / "index.html").read_text()
    images = [attrs for tag, attrs in Tags(text).found if tag == "img"]
    assert len(images) >= 9
    for image in images:
        assert image["src"].startswith("data:image/png;base64,")
        assert len(image["alt"]) > 10
    for tag, attrs in Tags(text).found:
        assert tag not in {"script", "iframe", "object", "embed"}
        for name in ("src", "href", "srcset", "data"):
            assert attrs.get(name, "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?://", text)


def test_every_figure_lies_beside_the_page(report):
    out = report[0]
    numbers = json.loads((out / "figures.json").read_text())
    assert sorted(file.name for file in out.iterdir()) == numbers["files"]
    wanted = {"roc_light", "roc_c", "discriminant_tagger", "discriminant_likelihood", "losses", "learning_rate"}
    assert {f"{name}.png" for name in wanted | {"track_origins", "pt_light"}} <= set(numbers["files"])
    for file in out.glob("*.png"):
        assert file.read_bytes().startswith(b"\x89PNG")


def test_the_numbers_are_those_that_one_computes_from_the_file(report, toy_run):
    numbers = json.loads((report[0] / "figures.json").read_text())
    with h5py.File(next((toy_run / "ckpts").glob("*.h5"))) as handle:
        jets = handle["jets"][()]
    b, c, light = (jets[f"toy_{name}"].astype(float) for name in ("pb", "pc", "pu"))
    scores, flavour = np.log(b / (0.05 * c + 0.95 * light)), jets["flavour_label"]
    signal = scores[flavour == B]
    for name, code in (("light", LIGHT), ("c", C)):
        background = np.sort(scores[flavour == code])
        wins = np.searchsorted(background, signal).sum() / len(signal) / len(background)
        assert numbers["tagger"]["auc"][name] == pytest.approx(wins, abs=1e-6)
        for point in ("60", "70", "77", "85"):
            cut = np.sort(signal)[::-1][int(np.ceil(len(signal) * int(point) / 100 - 1e-6)) - 1]
            passed = (background >= cut).mean()
            found = numbers["tagger"]["rejections"][point][name]
            assert found["value"] == pytest.approx(1 / passed, rel=1e-6)
            assert found["error"] == pytest.approx(np.sqrt((1 - passed) / passed / len(background)) / passed, rel=1e-6)
            likelihood = numbers["likelihood"]["rejections"][point][name]["value"]
            assert found["ratio"] == pytest.approx(found["value"] / likelihood)
            assert found["ratio_low"] < found["ratio"] < found["ratio_high"]
    assert numbers["num_jets"]["b"] == len(signal)
    assert numbers["num_training_jets"] == 8000
    assert numbers["schema"] == 1


@pytest.mark.usefixtures("undrawn")
def test_two_reports_of_a_run_have_the_same_numbers(report, toy_run, tmp_path):
    assert main([str(toy_run), "--out", str(tmp_path)]) == 0
    first, second = (json.loads((out / "figures.json").read_text()) for out in (report[0], tmp_path))
    assert first | {"files": []} == second | {"files": []}


@pytest.mark.usefixtures("undrawn")
def test_the_page_goes_into_the_run_and_nothing_else_is_left(own_run):
    assert main([str(own_run)]) == 0
    assert (own_run / "report" / "index.html").is_file()
    assert {entry.name for entry in own_run.iterdir()} == {
        "ckpts", "config.yaml", "metadata.yaml", "metrics.csv", "report",
    }  # fmt: skip


def test_the_tagger_can_be_reported_alone(own_run, capsys):
    (own_run.parent / "pp_output_train.h5").unlink()
    (own_run / "metrics.csv").unlink()
    (own_run / "metadata.yaml").unlink()
    assert main([str(own_run), "--no-likelihood", "--jets", "1000", "--fc", "0.1"]) == 0
    numbers = json.loads((own_run / "report" / "figures.json").read_text())
    assert "likelihood" not in numbers
    assert "ratio" not in numbers["tagger"]["rejections"]["70"]["light"]
    assert sum(numbers["num_jets"].values()) == 1000
    assert numbers["charm_fraction"] == 0.1
    assert "losses.png" not in numbers["files"]
    text = (own_run / "report" / "index.html").read_text()
    assert "Likelihood" not in text
    assert "Likelihood" not in capsys.readouterr().out


@pytest.mark.usefixtures("undrawn")
def test_a_tagger_without_track_tasks_and_momenta_is_reported(own_run, edit):
    file = next((own_run / "ckpts").glob("*.h5"))

    def narrow(jets):
        names = ["toy_pb", "toy_pc", "toy_pu", "HadronConeExclTruthLabelID"]
        return np.array(jets[names].tolist(), [(name, jets.dtype[name]) for name in names])

    edit(file, "tracks", lambda tracks: None)
    edit(file, "jets", narrow)
    assert main([str(own_run)]) == 0
    numbers = json.loads((own_run / "report" / "figures.json").read_text())
    assert {"origins", "vertexing"}.isdisjoint(numbers)
    assert numbers["likelihood"]["auc"]["light"] > 0.7
    assert numbers["tagger"]["pt_bins_at_70"] == {}


def test_a_perfect_tagger_is_given_limits_and_no_crash(own_run, edit):
    def perfect(jets):
        for name, code in (("toy_pb", B), ("toy_pc", C), ("toy_pu", LIGHT)):
            jets[name] = jets["flavour_label"] == code
        return jets

    edit(next((own_run / "ckpts").glob("*.h5")), "jets", perfect)
    assert main([str(own_run)]) == 0
    found = json.loads((own_run / "report" / "figures.json").read_text())["tagger"]["rejections"]["70"]["light"]
    assert found["is_lower_limit"]
    assert found["error"] is None
    assert "95 % limit: none passed" in (own_run / "report" / "index.html").read_text()


def test_what_is_wrong_is_said_in_one_line(own_run, capsys):
    assert "nearest runs" in refused(capsys, own_run.with_name("toy"))
    assert "no file" in refused(capsys, own_run, "--train-file", own_run / "none.h5")
    assert "there is epoch=003" in refused(capsys, own_run, "--eval", own_run / "ckpts" / "none.h5")
    next((own_run / "ckpts").glob("*.h5")).unlink()
    assert f"run `salt test {own_run}` first" in refused(capsys, own_run)
    assert not (own_run / "report").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_place_that_cannot_be_written_is_named(own_run, capsys):
    (own_run / "notes").touch()
    assert f"{own_run / 'notes'}" in refused(capsys, own_run, "--out", own_run / "notes")
    assert (own_run / "notes").is_file()


@pytest.mark.usefixtures("undrawn")
def test_a_lost_training_file_is_asked_for(own_run, capsys):
    moved = (own_run.parent / "pp_output_train.h5").rename(own_run.parent / "elsewhere.h5")
    assert "--train-file FILE" in refused(capsys, own_run)
    assert main([str(own_run), "--train-file", str(moved)]) == 0


@pytest.mark.usefixtures("undrawn")
def test_a_lost_test_file_is_asked_for_where_tracks_are_missing(own_run, edit, capsys):
    edit(next((own_run / "ckpts").glob("*.h5")), "tracks", lambda tracks: None)
    moved = (own_run.parent / "pp_output_test.h5").rename(own_run.parent / "elsewhere.h5")
    assert "--test-file FILE" in refused(capsys, own_run)
    assert main([str(own_run), "--test-file", str(moved)]) == 0


@pytest.mark.parametrize("arguments", [["--fc", "1.5"], ["--jets", "0"], ["--jets", "many"], []])
def test_wrong_arguments_are_answered_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*(["run"] if arguments else []), *arguments])
    assert stopped.value.code == 2
    assert "usage: salt report" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_text_of_the_config_cannot_enter_the_page_as_markup(own_run):
    config = yaml.safe_load((own_run / "config.yaml").read_text())
    config["data"]["batch_size"] = "<script>alert(1)</script>"
    (own_run / "config.yaml").write_text(yaml.safe_dump(config))
    assert main([str(own_run), "--no-likelihood"]) == 0
    text = (own_run / "report" / "index.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_publishing_replaces_its_own_files_and_keeps_those_of_others(tmp_path):
    out = tmp_path / "out"
    publish({"old.png": b"1", "figures.json": b'{"files": ["old.png", "../keep.txt"]}', "index.html": b"1"}, out)
    (out / "notes.txt").write_text("mine")
    (tmp_path / "keep.txt").write_text("mine")
    publish({"new.png": b"2", "figures.json": b'{"files": ["new.png"]}', "index.html": b"2"}, out)
    assert {file.name for file in out.iterdir()} == {"new.png", "figures.json", "index.html", "notes.txt"}
    assert (out / "index.html").read_bytes() == b"2"
    assert {entry.name for entry in tmp_path.iterdir()} == {"out", "keep.txt"}


def test_a_failure_while_publishing_leaves_the_old_report_whole(tmp_path):
    out = tmp_path / "out"
    publish({"index.html": b"1"}, out)
    with pytest.raises(TypeError):
        publish({"index.html": b"2", "figures.json": None}, out)
    assert (out / "index.html").read_bytes() == b"1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_the_command_is_cheap_to_import_and_never_brings_torch(toy_run):
    program = (
        "import sys; from salt.report.command import main\n"
        "assert not {'matplotlib', 'scipy', 'h5py', 'torch'} & set(sys.modules)\n"
        f"main([{str(toy_run)!r}, '--eval', 'none.h5'])\n"
        "import salt.report.page\n"
        "assert 'torch' not in sys.modules\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('salt.')}\n"
        "assert rooms == {'report'}, rooms\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def browse(page, profile, *options):
    """Standard output of a browser that opens the page and stops."""
    assert shutil.which(CHROMIUM)
    command = [CHROMIUM, *QUIET.split(), f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.browser
def test_a_browser_shows_the_page(report, tmp_path):
    if not Path(CHROMIUM).exists():
        assert os.environ.get("SALT_CI") != "1", f"SALT_CI is 1 and there is no {CHROMIUM}"
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    from matplotlib import image

    page, picture = report[0] / "index.html", tmp_path / "page.png"
    browse(page, tmp_path / "a", f"--screenshot={picture}", "--window-size=1200,5000")
    pixels = image.imread(picture)[..., :3]
    assert pixels.shape == (5000, 1200, 3)
    for part in np.array_split(pixels, 8):  # no part of the page is blank
        assert part.std() > 0.02
    shown = browse(page, tmp_path / "b", "--dump-dom")
    numbers = json.loads((report[0] / "figures.json").read_text())["tagger"]["rejections"]
    cells = re.findall(r'<th scope="row">(\d+) %</th><td>([\d,.]+)', shown)
    assert [cell[0] for cell in cells] == 2 * ["60", "70", "77", "85"]
    for number, (point, text) in enumerate(cells):
        value = numbers[point]["light" if number < 4 else "c"]["value"]
        assert float(text.replace(",", "")) == pytest.approx(value, rel=0.02)
