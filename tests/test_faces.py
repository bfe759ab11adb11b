"""Names that code written for upstream imports: each is there, and is the class that is meant."""

import subprocess
import sys
from importlib import import_module

import pytest

MODELS = "NodeQueryGAP InitNet InputNorm EdgeConstructor FeaturewiseTransformation PositionalEncoder Pooling"
LAYERS = "Attention DecoderLayer DropPath EdgeAttention EncoderLayer GLU LayerScale NormResidual Transformer"
MEANT = {f"salt.models.{name}": name for name in f"{MODELS} RegressionTaskBase".split()} | {
    **{f"salt.models.transformer_v2.{name}": name for name in LAYERS.split()},
    "salt.models.transformer_v2.TransformerV2": "Transformer",
    "salt.models.TaskBase": "Task",
    "salt.models.TransformerV2": "Transformer",
    "salt.data.SaltDataModule": "SaltDataModule",
    "salt.data.SaltDataset": "SaltDataset",
    "salt.optim.HybridMuonAdamW": "HybridMuonAdamW",
}
"""Where a class is imported from -> its name in the file where it is."""


@pytest.mark.parametrize("path", MEANT)
def test_upstreams_names_can_be_imported(path):
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name)
    assert found.__name__ == MEANT[path]
    assert found.__module__ not in {"salt.models", "salt.models.transformer_v2", "salt.data", "salt.optim"}


def test_a_transformer_is_the_same_class_by_all_its_names():
    faces = [import_module(name) for name in ("salt.models", "salt.models.transformer_v2")]
    assert len({getattr(face, name) for face in faces for name in ("Transformer", "TransformerV2")}) == 1


@pytest.mark.parametrize("name", ["salt", "salt.data"])
def test_these_faces_do_not_wait_for_torch(name):
    code = f"import sys, {name}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_that_a_face_has_not_are_errors():
    with pytest.raises(AttributeError, match=r"module 'salt.data' has no attribute 'Nonsense'"):
        _ = import_module("salt.data").Nonsense
