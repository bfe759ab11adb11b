"""Every YAML file that the package ships: it parses, builds, and trains."""

from pathlib import Path

import pytest

from salt.cli.files import NO_MODELS, PACKAGED

OVERLAYS = {"gn2_size.yaml": "gnn.yaml"}
"""Configs that go on top of another."""

MODELS = sorted(path.name for path in PACKAGED.glob("*.yaml") if path.name not in NO_MODELS)


def test_the_documented_configs_are_there():
    assert {"base.yaml", "gnn.yaml", "simple.yaml", "gn2_size.yaml"} <= {path.name for path in PACKAGED.iterdir()}


@pytest.mark.parametrize("name", MODELS)
def test_a_packaged_config_trains(salt, name):
    files = [OVERLAYS[name], name] if name in OVERLAYS else [name]
    configs = [argument for file in files for argument in ("--config", f"configs/{file}")]
    answer = salt("fit", *configs, "--trainer.fast_dev_run=2", "--data.batch_size=50")
    assert answer.code == 0, answer.err
    assert not Path("logs").exists()
