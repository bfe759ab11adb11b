import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from salt.sweeps import coordinates, page
from salt.sweeps.folder import Member
from salt.sweeps.table import short_names

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --virtual-time-budget=2000"
)

PARAMETERS = {
    "model.lrs_config.max": {"low": 1e-4, "high": 1e-2, "log": True},
    "data.batch_size": [500, 1000],
    "model.model.init_args.encoder.init_args.norm": ["LayerNorm", "RMSNorm"],
}
STATES = ["complete", "pruned", "complete", "failed", "running", "complete"]


@pytest.fixture
def found(tmp_path):
    values = [0.5, 0.9, 0.7, None, None, 0.6]
    tried = [(10 ** (-4 + 0.4 * n), (500, 1000)[n % 2], ("LayerNorm", "RMSNorm")[n % 2]) for n in range(6)]
    parameters = [dict(zip(PARAMETERS, each, strict=True)) for each in tried]
    runs = [tmp_path / f"trials/toy_{n:04d}" for n in range(6)]
    return [Member(n, STATES[n], values[n], runs[n], parameters[n], 9.0) for n in range(6)]


@pytest.fixture
def html(plan, found):
    return page.render("toy_sweep", plan(parameters=PARAMETERS), found)


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors(plan, found):
    axis = coordinates.axes(plan(parameters=PARAMETERS), found)[0]
    places = [axis.place(value) for value in (1e-4, 1e-3, 1e-2)]
    assert places == pytest.approx([0.0, 0.5, 1.0])
    assert [text for _, text in axis.ticks] == ["0.0001", "0.001", "0.01"]


def test_an_axis_of_names_has_a_place_for_each(plan, found):
    axis = coordinates.axes(plan(parameters=PARAMETERS), found)[2]
    assert axis.ticks == [(0.25, "LayerNorm"), (0.75, "RMSNorm")]
    assert axis.place("RMSNorm") == 0.75


def test_an_axis_of_listed_numbers_has_ticks_at_these(plan, found):
    axis = coordinates.axes(plan(parameters=PARAMETERS), found)[1]
    assert axis.ticks == [(0.0, "500"), (1.0, "1000")]


def test_a_sweep_without_any_trial_has_a_page(plan):
    assert "0 of 3 trials" in page.render("toy_sweep", plan(parameters=PARAMETERS), [])


def test_one_trial_alone_is_in_the_middle(plan, found):
    axes = coordinates.axes(plan(parameters=PARAMETERS), found[:1])
    assert axes[-1].place(0.5) == pytest.approx(0.5)


def test_the_colours_go_from_the_best_to_the_worst_whichever_way_is_better(plan, found):
    down, up = plan(parameters=PARAMETERS), plan(parameters=PARAMETERS, direction="max")
    assert page.colour(found[0], down, found) == page.colour(found[2], up, found) == page.SCALE[0]
    assert page.colour(found[2], down, found) == page.colour(found[0], up, found) != page.SCALE[0]


def test_every_trial_has_a_line_and_a_row_of_its_state(html):
    lines = re.findall(r'<polyline class="(\w+)" data-trial="(\d)"', html)
    rows = re.findall(r'<tr class="(\w+)[ \w]*" data-trial="(\d)"', html)
    assert sorted(lines) == sorted(rows) == sorted((state, str(n)) for n, state in enumerate(STATES))


def test_the_best_trial_is_marked_and_comes_first(html):
    assert re.findall(r'<tr class="([ \w]+)" data-trial="(\d)"', html)[0] == ("complete best", "0")


def test_what_a_user_wrote_cannot_be_markup(plan, found):
    html = page.render("<b>x", plan(parameters=PARAMETERS, arguments=("--config=<script>alert(1)</script>",)), found)
    assert "<b>x" not in html
    assert "<script>alert" not in html


def test_the_page_needs_nothing_beside_it(html):
    assert "http" not in html
    assert not re.findall(r'src="|<link rel="stylesheet"', html)


def test_short_names_tell_parameters_apart():
    keys = ["model.model.init_args.encoder.init_args.num_layers", "a.b.x", "c.b.x", "seed_everything"]
    assert short_names(keys) == ["encoder.num_layers", "a.b.x", "c.b.x", "seed_everything"]


def browse(file, profile, *options):
    command = [CHROMIUM, *QUIET.split(), f"--user-data-dir={profile}", *options, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.browser
def test_a_browser_shows_the_page_and_highlights_a_trial(html, tmp_path):
    if not shutil.which(CHROMIUM):
        assert os.environ.get("SALT_CI") != "1", f"SALT_CI is 1 and there is no {CHROMIUM}"
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium")
    from matplotlib import image

    file, picture = tmp_path / "index.html", tmp_path / "page.png"
    point = "<script>document.querySelector('tr[data-trial=\"2\"]').dispatchEvent(new Event('pointerenter'))</script>"
    Path(file).write_text(html.replace("</body>", f"{point}</body>"))
    browse(file, tmp_path / "a", f"--screenshot={picture}", "--window-size=1300,1000")
    pixels = image.imread(picture)[..., :3]
    for part in np.array_split(pixels[:900], 6):  # no part of the page is blank
        assert part.std() > 0.02
    shown = browse(file, tmp_path / "b", "--dump-dom")
    assert re.search(r'<svg [^>]*class="chosen"', shown)
    assert re.findall(r'<polyline class="complete on" data-trial="(\d)"', shown) == ["2"]
