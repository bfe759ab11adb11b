"""Configs of the end of 2022."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

GNN = Path(__file__).parents[1] / "configs" / "first.yaml"


@pytest.mark.parametrize(
    "attention", ["GATv2Attention", pytest.param("ScaledDotProductAttention", marks=pytest.mark.slow)]
)
def test_a_config_of_that_time_trains_and_is_tested(salt, overlay, attention):
    config = yaml.safe_load(GNN.read_text())
    if attention != "GATv2Attention":
        gnn = config["model"]["model"]["init_args"]["gnn"]["init_args"]
        gnn["attention"] = {"class_path": f"salt.models.{attention}"}
    answer = salt("fit", "--config", overlay(**config))
    assert answer.code == 0, answer.err
    (run,) = Path("logs").iterdir()
    answer = salt("test", "--config", run / "config.yaml")
    assert answer.code == 0, answer.err
    (file,) = run.glob("ckpts/*test*.h5")
    with h5py.File(file) as out:
        jets = [name for name in out["jets"].dtype.names if name.startswith("gn1p_p")]
        assert set(jets) == {"gn1p_pb", "gn1p_pc", "gn1p_pu", "gn1p_ptau"}
        np.testing.assert_allclose(sum(out["jets"][name] for name in jets), 1, rtol=1e-5)
        assert "gn1p_pFromB" in out["tracks"].dtype.names


def test_the_arguments_of_another_time_are_unknown(salt, overlay):
    config = yaml.safe_load(GNN.read_text())
    config["model"]["model"]["init_args"]["gnn"]["init_args"]["embed_dim"] = 8
    answer = salt("fit", "--config", overlay(**config))
    assert answer.code == 2
    assert "embed_dim" in answer.error
