import pytest
import torch

from salt.metrics.options import MetricOptions
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel
from salt.ragged import Ragged
from salt.training.metrics import Figures, direction
from salt.types import Batch, Schema

NAMES = ["bjets", "cjets", "ujets"]


def model(variables=("eta", "pt")):
    torch.manual_seed(1)
    schema = Schema({"jets": list(variables), "tracks": ["d0"]})
    task = ClassificationTask("jets", "jets", "label", {"input_size": 4, "output_size": 3}, class_names=NAMES)
    nets = [{"input_name": "tracks", "dense_config": {"output_size": 4}}]
    return SaltModel(schema, nets, torch.nn.ModuleList([task]), pool_net=GlobalAttentionPooling(4))


def batch(pt, label):
    tracks = Ragged.from_lengths(torch.zeros(len(pt), 1), torch.ones(len(pt), dtype=torch.int64))
    jets = torch.stack([torch.zeros(len(pt)), torch.tensor(pt)], 1)
    labels = {"jets": {"label": torch.tensor(label)}, "tracks": {}}
    return Batch({"jets": jets, "tracks": tracks}, labels, torch.arange(len(pt)))


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("val/loss", "min"),
        ("train/loss_epoch", "min"),
        ("val/accuracy_of_jets_loss", "min"),
        ("val/jets_classification_auc_bjets_vs_ujets", "max"),
        ("val/jets_classification_auc_bjets_vs_ujets_pt_20_60", "max"),
        ("val/jets_classification_rejection_ujets_at_70", "max"),
        ("val/jets_classification_rejection_ujets_at_77.5_for_cjets_pt_20_60", "max"),
        ("val/jets_classification_accuracy", "max"),
        ("val/jets_classification_calibration_error", "min"),
        ("val/track_origin_auc", "max"),
        ("val/track_vertexing_efficiency", "max"),
        ("val/track_vertexing_purity", "max"),
        ("val/pt_regression_resolution", "min"),
        ("lr-AdamW", "min"),
    ],
)
def test_each_metric_has_a_better_side(name, better):
    assert direction(name) == better


def test_a_bias_has_none():
    with pytest.raises(ValueError, match="best near 0"):
        direction("val/pt_regression_bias")


def test_every_figure_of_a_tagger_knows_its_better_side():
    figures = Figures(model(), MetricOptions(pt_bins=(20, 60), working_points=(0.7, 0.775)))
    smaller = {name for name in figures.values() if direction(name) == "min"}
    assert smaller == {"val/jets_calibration_error"}


def test_jets_are_put_into_the_bin_of_their_momentum_in_gev():
    figures = Figures(model(), MetricOptions(pt_bins=(20, 60, 250)))
    pt = [5e3, 19.9e3, 20e3, 59.9e3, 60e3, 249e3, 250e3, 9e6]
    figures.add({"jets": torch.zeros(8, 3)}, batch(pt, [0] * 8))
    figures.reduce()
    assert figures.monitors["jets"].counts["scores"].sum((1, 2, 3)).tolist() == [2 * 2, 2 * 2, 2 * 2, 2 * 2]


def test_the_variable_of_the_momentum_can_be_named():
    Figures(model(["energy"]), MetricOptions(pt_bins=(20, 60)), "energy")


def test_bins_without_a_momentum_are_refused():
    with pytest.raises(ValueError, match=r"data.variables.jets has no pt_btagJes or pt, only eta, mass"):
        Figures(model(["eta", "mass"]), MetricOptions(pt_bins=(20, 60)))


def test_classes_that_no_task_has_are_refused():
    with pytest.raises(ValueError, match=r"metrics.discriminants.hbb: no task tells hbb, top apart"):
        Figures(model(), MetricOptions(discriminants={"hbb": {"top": 1.0}}))


def test_a_second_validation_begins_anew():
    figures = Figures(model(), MetricOptions())
    jets = batch([3e4] * 30, [0, 1, 2] * 10)
    raw = torch.randn(30, 3)
    figures.add({"jets": raw}, jets)
    first = figures.values()
    figures.begin(torch.device("cpu"))
    figures.add({"jets": raw}, jets)
    assert figures.values() == first
    assert first["val/jets_accuracy"] is not None


def _of_rank(rank, world, path):
    """A share of the batches on each rank."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=world)
    figures = Figures(model(), MetricOptions(pt_bins=(20, 60)))
    raw, labels, pt = made()
    for number, rows in enumerate(torch.arange(len(labels)).split(70)):
        if number % world == rank:
            figures.add({"jets": raw[rows]}, batch(pt[rows].tolist(), labels[rows].tolist()))
    figures.reduce()
    torch.save({k: v for k, v in figures.values().items() if v is not None}, f"{path}.{rank}")
    dist.destroy_process_group()


def made():
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(0, 3, (2000,), generator=generator)
    raw = torch.randn(2000, 3, generator=generator) + torch.nn.functional.one_hot(labels, 3)
    return raw, labels, 1e4 + 8e4 * torch.rand(2000, generator=generator)


def test_two_ranks_give_exactly_the_figures_of_one(tmp_path):
    figures = Figures(model(), MetricOptions(pt_bins=(20, 60)))
    raw, labels, pt = made()
    figures.add({"jets": raw}, batch(pt.tolist(), labels.tolist()))
    alone = figures.values()
    torch.multiprocessing.spawn(_of_rank, (2, str(tmp_path / "meet")), nprocs=2)
    found = [torch.load(tmp_path / f"meet.{rank}", weights_only=True) for rank in range(2)]
    assert found == [alone, alone]
    assert None not in alone.values()
