import numpy as np
import pytest
import torch

from salt.layout import Packed
from salt.metrics.vertexing import Vertexing, clusters
from salt.models import VertexingTask
from salt.ragged import Segments
from salt.report.evaluation import Tracks
from salt.report.truth import count_pairs


@pytest.fixture
def jets():
    """Logits of pairs, true vertices and the layout of 200 jets, some of them with one track or none."""
    generator = torch.Generator().manual_seed(4)
    segments = Segments.from_lengths(torch.randint(0, 12, (200,), generator=generator))
    raw = torch.randn(segments.num_pairs, 1, generator=generator) - 1.2
    return raw, torch.randint(-2, 4, (segments.num_tokens,), generator=generator), Packed(segments)


def counted(raw, truth, layout):
    monitor = Vertexing("vertex")
    monitor.add(raw, {"vertex": truth}, layout, None)
    return monitor


def test_a_hand_counted_jet():
    # 3 tracks of vertex 1, one primary; the tagger joins the first two, and the third with the primary one
    raw = torch.full((12, 1), -3.0)
    pairs = Segments(torch.tensor([0, 4])).pairs
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        raw[(pairs.first == i) & (pairs.second == j)] = 3.0
    monitor = counted(raw, torch.tensor([1, 1, 1, 0]), Packed(Segments(torch.tensor([0, 4]))))
    assert monitor.figures() == {"efficiency": 1 / 3, "purity": 1 / 2}


def test_clusters_are_those_of_the_task(jets):
    raw, _, layout = jets
    task = VertexingTask("v", "tracks", "vertex", {"input_size": 4, "output_size": 1})
    index = task.outputs(raw, {}, layout)["VertexIndex"]
    expected = (index + layout.segments.offsets[layout.segments.owner]).numpy()  # first track of each one's cluster
    found = clusters(raw.flatten().numpy(), layout.segments.offsets.numpy())
    assert len(np.unique(np.stack([found, expected]), axis=1).T) == len(np.unique(found)) == len(np.unique(expected))


def test_efficiency_and_purity_are_those_of_the_report(jets):
    raw, truth, layout = jets
    task = VertexingTask("v", "tracks", "vertex", {"input_size": 4, "output_size": 1})
    lengths = layout.segments.lengths.numpy()
    real = np.arange(lengths.max()) < lengths[:, None]
    columns = {name: np.zeros(real.shape, np.int64) for name in ("ftagTruthVertexIndex", "VertexIndex")}
    columns["ftagTruthVertexIndex"][real] = truth.numpy()
    columns["VertexIndex"][real] = task.outputs(raw, {}, layout)["VertexIndex"].numpy()
    pairs = count_pairs(Tracks(columns, real, real), "VertexIndex")
    assert counted(raw, truth, layout).counts["pairs"].tolist() == [pairs.true, pairs.grouped, pairs.correct]
    assert counted(raw, truth, layout).figures() == {"efficiency": pairs.efficiency, "purity": pairs.purity}


def test_figures_add_up_over_batches(jets):
    raw, truth, layout = jets
    offsets, half = layout.segments.offsets, 100
    cut, pairs = int(offsets[half]), int(layout.segments.pairs.first.lt(int(offsets[half])).sum())
    monitor = counted(raw[:pairs], truth[:cut], Packed(Segments(offsets[: half + 1])))
    monitor.add(raw[pairs:], {"vertex": truth[cut:]}, Packed(Segments(offsets[half:] - cut)), None)
    assert torch.equal(monitor.counts["pairs"], counted(raw, truth, layout).counts["pairs"])


@pytest.mark.parametrize("lengths", [[], [0, 0], [1, 1], [1, 0]])
def test_jets_without_pairs_have_no_figures(lengths):
    segments = Segments.from_lengths(torch.tensor(lengths, dtype=torch.int64))
    monitor = counted(torch.empty(0, 1), torch.ones(sum(lengths), dtype=torch.int64), Packed(segments))
    assert monitor.figures() == {"efficiency": None, "purity": None}


def test_only_primary_tracks_have_no_figures():
    layout = Packed(Segments(torch.tensor([0, 3])))
    assert counted(torch.ones(6, 1), torch.zeros(3, dtype=torch.int64), layout).figures()["efficiency"] is None
