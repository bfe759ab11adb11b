from itertools import permutations

import pytest
import torch

from salt.models.matching import match


def best(cost, real):
    """The least that a jet's real objects can cost, tried in every way."""
    queries, objects = range(cost.shape[0]), [m for m in range(cost.shape[1]) if real[m]]
    if len(objects) <= len(queries):
        return min(
            sum(cost[q, m].item() for q, m in zip(of, objects, strict=True))
            for of in permutations(queries, len(objects))
        )
    return min(
        sum(cost[q, m].item() for q, m in zip(queries, of, strict=True)) for of in permutations(objects, len(queries))
    )


@pytest.mark.parametrize(("queries", "objects"), [(5, 5), (5, 3), (3, 5), (1, 4), (4, 1)])
def test_the_assignment_is_the_best_of_all(queries, objects):
    generator = torch.Generator().manual_seed(queries)
    cost = torch.randn(40, queries, objects, generator=generator)
    real = torch.rand(40, objects, generator=generator) < 0.7
    found = match(cost, real)
    for jet in range(40):
        rows = found.jet == jet
        assert len(set(found.query[rows].tolist())) == rows.sum() == min(int(real[jet].sum()), queries)
        assert real[jet, found.object[rows]].all()
        spent = cost[jet, found.query[rows], found.object[rows]].sum().item()
        assert spent == pytest.approx(best(cost[jet], real[jet]), abs=1e-5)


def test_three_objects_in_a_circle_get_their_own_queries():
    """Upstream takes the inverse of the assignment: right for two objects, wrong for three."""
    cost = torch.ones(1, 3, 3)
    cost[0, 1, 0] = cost[0, 2, 1] = cost[0, 0, 2] = 0  # object 0 is found by query 1, ...
    found = match(cost, torch.ones(1, 3, dtype=torch.bool))
    assert found.query_of.tolist() == [[1, 2, 0]]


def test_objects_are_known_by_jet_and_by_row():
    cost = torch.tensor([[[0.0, 5.0], [5.0, 0.0]], [[5.0, 1.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    found = match(cost, torch.tensor([[True, True], [False, True], [False, False]]))
    assert found.jet.tolist() == [0, 0, 1]
    assert found.query.tolist() == [0, 1, 0]
    assert found.object.tolist() == [0, 1, 1]
    assert found.query_of.tolist() == [[0, 1], [0, 0], [0, 0]]
    assert found.has_query.tolist() == [[True, True], [False, True], [False, False]]


def test_a_batch_without_objects_or_without_jets_is_no_exception():
    assert len(match(torch.zeros(2, 3, 3), torch.zeros(2, 3, dtype=torch.bool)).jet) == 0
    assert match(torch.zeros(0, 3, 3), torch.zeros(0, 3, dtype=torch.bool)).query_of.shape == (0, 3)


def test_costs_that_are_not_finite_are_left_to_those_who_watch_the_losses():
    cost = torch.full((2, 3, 3), torch.nan)
    assert len(match(cost, torch.ones(2, 3, dtype=torch.bool)).jet) == 6
