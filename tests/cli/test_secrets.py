import os
import sys

import pytest

from salt.cli.configs import Source
from salt.cli.secrets import handed_on, options_without_keys, without_keys

KEY = "Kx0123456789"


@pytest.fixture(autouse=True)
def inside(monkeypatch):
    """Where a run reads its keys; all is as it was afterwards."""
    for name in [name for name in os.environ if name.startswith(("PL_", "COMET_"))]:
        monkeypatch.delenv(name)
    with handed_on():
        yield


@pytest.mark.parametrize(
    ("options", "rest"),
    [
        ([f"--trainer.logger.init_args.api_key={KEY}", "-n", "x"], ["-n", "x"]),
        (["--trainer.logger.init_args.api_key", KEY, "-n", "x"], ["-n", "x"]),
        ([f"--trainer.logger.api_key={KEY}"], []),
        (
            [f'--trainer.logger={{"class_path": "C", "init_args": {{"api_key": "{KEY}", "project": "p"}}}}'],
            ['--trainer.logger={"class_path": "C", "init_args": {"api_key": null, "project": "p"}}'],
        ),
        ([f"--trainer.logger={{class_path: C, init_args: {{api_key: {KEY}}}}}"],
         ["--trainer.logger={class_path: C, init_args: {api_key: null}}"]),
    ],
)  # fmt: skip
def test_a_key_leaves_the_options_and_the_arguments_of_the_process(monkeypatch, options, rest):
    monkeypatch.setattr(sys, "argv", ["salt", "fit", *options])
    assert options_without_keys(options) == rest
    assert sys.argv == ["salt", "fit", *rest]
    assert os.environ["COMET_API_KEY"] == KEY


def test_options_without_a_key_stay_as_they_are(monkeypatch):
    options = ["--trainer.logger=false", "--name", "api_key", "--data.batch_size=3"]
    monkeypatch.setattr(sys, "argv", ["salt", *options])
    assert options_without_keys(options) == options
    assert "COMET_API_KEY" not in os.environ


def test_a_key_leaves_a_config_which_itself_stays_as_it_is():
    content = {"trainer": {"logger": [{"class_path": "C", "init_args": {"api_key": KEY, "project": "p"}}]}}
    source = without_keys(Source("c.yaml", content))
    assert source.content == {"trainer": {"logger": [{"class_path": "C", "init_args": {"project": "p"}}]}}
    assert content["trainer"]["logger"][0]["init_args"]["api_key"] == KEY
    assert os.environ["COMET_API_KEY"] == KEY


def test_ours_count_more_than_comets(monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", "theirs")
    monkeypatch.setenv("PL_TRAINER__LOGGER__API_KEY", "ours")
    with handed_on():
        assert os.environ["COMET_API_KEY"] == "ours"
    assert os.environ["COMET_API_KEY"] == "theirs"
