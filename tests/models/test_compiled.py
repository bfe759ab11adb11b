"""A compiled model: the same parameters, the same numbers, and compiled once for batches of any size."""

import pytest
import torch
from torch._dynamo.utils import counters

from salt.layout import Packed
from tests.models.test_oracle import run

BATCHES = [[2, 0, 3, 5, 1], [4, 1, 0, 9, 4, 2], [3, 3, 7, 1, 2, 0, 0], [6, 2, 8, 2, 2, 2, 2, 1]]


@pytest.fixture
def compiled(make_model):
    """A model and the same one compiled, by a backend that runs what was traced as it is."""
    torch._dynamo.reset()
    counters.clear()
    models = make_model(), make_model()
    models[1].compile(backend="eager")  # in place, as --compile does
    yield models
    torch._dynamo.reset()


@pytest.mark.slow  # dynamo traces for as long as a hundred other tests
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo's own
def test_a_compiled_model_has_the_same_parameters_and_gives_the_same(compiled, make_batch):
    plain, model = compiled
    names, graphs = list(model.state_dict()), []
    for lengths in BATCHES:
        for ours, others in zip(
            run(model, make_batch(lengths), Packed), run(plain, make_batch(lengths), Packed), strict=True
        ):
            assert ours.keys() == others.keys()
            for name, value in others.items():
                torch.testing.assert_close(ours[name], value, rtol=1e-12, atol=1e-12)
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] > 0
    assert graphs[-1] == graphs[-2], "a batch of another size was compiled anew"
    assert list(model.state_dict()) == names == list(plain.state_dict())
