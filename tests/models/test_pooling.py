"""Pooling of tokens and of object queries."""

import pytest
import torch
from torch import nn

from salt.layout import One, Packed
from salt.models import ClassificationTask, NodeQueryGAP, SaltModel
from salt.nn.encoder import Tokens
from salt.ragged import Ragged
from tests.models.padded import Padded

LENGTHS = [0, 1, 1, 4, 12]


@pytest.fixture
def pooled():
    """Pool random tokens and queries in a house: values, then gradients."""

    def run(house, lengths=LENGTHS, only=None):
        torch.manual_seed(1)
        pool = NodeQueryGAP(4).double()
        queries = torch.randn(len(lengths), 3, 4, dtype=torch.float64)
        stream = Ragged.from_lengths(torch.randn(sum(lengths), 4, dtype=torch.float64), torch.tensor(lengths))
        if only is not None:
            values = stream.values[stream.offsets[only] : stream.offsets[only + 1]]
            stream, queries = Ragged.from_lengths(values, torch.tensor([len(values)])), queries[only : only + 1]
        out = pool(Tokens("", *house.of(stream)), queries)
        out.square().sum().backward()
        return [out, *(p.grad for p in pool.parameters())]

    return run


@pytest.mark.parametrize("lengths", [LENGTHS, [0], [0, 0], [7]], ids=str)
def test_packed_queries_and_nodes_equal_padded_ones(pooled, lengths):
    torch.testing.assert_close(pooled(Packed, lengths), pooled(Padded, lengths), rtol=1e-12, atol=1e-12)


def test_one_jet_at_a_time_equals_packed(pooled):
    packed = pooled(Packed)[0]
    for jet in range(len(LENGTHS)):
        torch.testing.assert_close(pooled(One, only=jet)[0][0], packed[jet], rtol=1e-12, atol=1e-12)


def test_equal_queries_share_the_weight_with_a_vector_of_zeros():
    pool = NodeQueryGAP(2)
    nn.init.zeros_(pool.gate_nn_2.weight)
    nodes = Tokens("", torch.zeros(0, 2), One())
    torch.testing.assert_close(pool(nodes, torch.full((1, 3, 2), 8.0)), torch.tensor([[0.0, 0.0, 6.0, 6.0]]))


def test_a_model_without_queries_is_told_so(schema, make_batch):
    net = {"input_name": "tracks", "dense_config": {"output_size": 6}}
    task = ClassificationTask("jet", "jets", "flavour", {"input_size": 12, "output_size": 3})
    model = SaltModel(schema, [net], nn.ModuleList([task]), pool_net=NodeQueryGAP(6)).double()
    with pytest.raises(ValueError, match="has no mask_decoder"):
        model(make_batch([2]).inputs)
