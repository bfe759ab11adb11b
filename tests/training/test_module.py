import math

import lightning
import pytest
import torch

from salt.cli.files import PACKAGED
from salt.data import SaltDataModule
from salt.models import ClassificationTask, GaussianRegressionTask, GlobalAttentionPooling, SaltModel
from salt.training.losses import LossSums, geometric_mean, global_mean, valued
from salt.training.module import SaltModule
from salt.training.rates import LRSConfig
from salt.types import Schema

SCHEMA = Schema({"jets": ["pt_btagJes", "eta_btagJes"], "tracks": ["d0", "z0SinTheta", "lifetimeSignedD0Significance"]})


@pytest.fixture
def make_module():
    def make(weights=(1.0,), **options):
        torch.manual_seed(1)
        tasks = [
            ClassificationTask(f"t{i}", "jets", "flavour_label", {"input_size": 8, "output_size": 4}, weight=weight)
            for i, weight in enumerate(weights)
        ]
        nets = [{"input_name": "tracks", "dense_config": {"output_size": 8}}]
        model = SaltModel(SCHEMA, nets, torch.nn.ModuleList(tasks), pool_net=GlobalAttentionPooling(8))
        return SaltModule(model, **{"norm_dict": PACKAGED / "norm_dict.yaml"} | options)

    return make


@pytest.fixture
def data():
    sample = str(PACKAGED / "sample.h5")
    return SaltDataModule(SCHEMA.variables, sample, sample, batch_size=300, labels={"jets": ["flavour_label"]}, seed=3)


def trainer(tmp_path, **options):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return lightning.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", devices=1, **dict.fromkeys(quiet, False) | options
    )


# --- the mean of a loss ---------------------------------------------------------------------------------------------


def test_the_mean_is_the_sum_over_the_count():
    total, count = torch.tensor(6.0, requires_grad=True), torch.tensor(4)
    mean = global_mean(total, count)
    mean.backward()
    assert (mean.item(), total.grad.item()) == (1.5, 0.25)


def test_nothing_to_count_gives_no_loss_and_no_gradient():
    total = torch.tensor(0.0, requires_grad=True)
    mean = global_mean(total, torch.tensor(0))
    mean.backward()
    assert (mean.item(), total.grad.item()) == (0.0, 0.0)


def test_the_count_gets_no_gradient():
    weight = torch.tensor(2.0, requires_grad=True)
    global_mean(3 * weight, 5 * weight).backward()
    assert float(weight.grad) == pytest.approx(0.3)


def test_losses_of_an_epoch_are_exact_means_over_uneven_batches():
    sums = LossSums()
    sums.add({"a": (torch.tensor(3.0), torch.tensor(2))})
    sums.add({"a": (torch.tensor(5.0), torch.tensor(6)), "b": (torch.tensor(1.0), torch.tensor(4))})
    means = {task: float(global_mean(*pair)) for task, pair in sums.sums().items()}
    assert means == {"a": 1.0, "b": 0.25}


def test_losses_of_an_epoch_begin_anew_after_it():
    sums = LossSums()
    sums.add({"a": (torch.tensor(3.0), torch.tensor(2))})
    sums.clear()
    assert sums.sums() == {}


def test_losses_of_an_epoch_keep_no_graph():
    sums = LossSums()
    sums.add({"a": (torch.tensor(3.0, requires_grad=True) * 2, torch.tensor(2))})
    assert not sums.sums()["a"][0].requires_grad


# --- several losses -------------------------------------------------------------------------------------------------


def means(*values):
    return {f"t{i}": torch.tensor(value) for i, value in enumerate(values)}


def test_losses_are_added_with_their_weights(make_module):
    assert float(make_module((1.0, 0.5))._total(means(3.0, 4.0))) == 5.0


def test_gls_is_the_geometric_mean(make_module):
    module = make_module((1.0, 1.0, 1.0), loss_mode="GLS")
    assert float(module._total(means(1.0, 4.0, 16.0))) == pytest.approx(4.0)


def test_gls_with_weights_multiplies_the_weighted_losses(make_module):
    module = make_module((1.0, 0.5), loss_mode="GLS")
    assert float(module._total(means(3.0, 6.0))) == pytest.approx(3.0)


def test_gls_leaves_out_a_task_that_has_nothing_to_learn_from(make_module):
    module = make_module((1.0, 1.0, 1.0), loss_mode="GLS")
    nothing = torch.tensor(0.0, requires_grad=True)
    losses = means(2.0, 8.0) | {"t2": global_mean(nothing, torch.tensor(0))}
    total = module._total({task: loss.clone().requires_grad_() for task, loss in losses.items()})
    assert float(total.detach()) == pytest.approx(4.0)
    module._total(losses).backward()
    assert float(nothing.grad) == 0


def test_gls_of_nothing_is_nothing():
    losses = torch.zeros(3, requires_grad=True)
    total = geometric_mean(losses)
    total.backward()
    assert (float(total.detach()), losses.grad.tolist()) == (0.0, [0.0, 0.0, 0.0])


def test_gls_has_the_gradient_of_a_geometric_mean():
    losses = torch.tensor([2.0, 8.0], dtype=torch.float64, requires_grad=True)
    geometric_mean(losses).backward()
    assert losses.grad.tolist() == pytest.approx([1.0, 0.25])


def test_gls_of_two_ranks_has_the_gradient_of_one():
    parts = torch.tensor([[1.0, 9.0], [3.0, 7.0]], dtype=torch.float64, requires_grad=True)  # (rank, task)
    together = {task: parts[:, i].mean().detach() for i, task in enumerate("ab")}
    for part in parts:
        of_rank = {task: part[i] for i, task in enumerate("ab")}
        geometric_mean(torch.stack(list(valued(of_rank, together).values()))).backward()
    whole = torch.tensor([2.0, 8.0], dtype=torch.float64, requires_grad=True)
    geometric_mean(whole).backward()
    assert (parts.grad[0]).tolist() == pytest.approx(whole.grad.tolist())


def test_gls_with_a_loss_that_may_be_negative_is_refused():
    gaussian = GaussianRegressionTask("mass", "jets", "mass", {"input_size": 8})
    nets = [{"input_name": "tracks", "dense_config": {"output_size": 8}}]
    model = SaltModel(SCHEMA, nets, torch.nn.ModuleList([gaussian]), pool_net=GlobalAttentionPooling(8))
    with pytest.raises(ValueError, match="GLS multiplies the losses, but that of 'mass' may be negative"):
        SaltModule(model, loss_mode="GLS")


# --- steps ----------------------------------------------------------------------------------------------------------


def test_training_lowers_the_loss(make_module, data, tmp_path):
    module = make_module(lrs_config=LRSConfig(initial=1e-4, max=1e-2, end=1e-4))
    fitted = trainer(tmp_path, max_epochs=6, num_sanity_val_steps=0)
    before = fitted.validate(module, data, verbose=False)[0]["val/loss"]
    fitted.fit(module, datamodule=data)
    assert float(fitted.callback_metrics["val/loss"]) < 0.9 * before


def test_the_validation_loss_is_that_of_all_jets_whatever_the_batches(make_module, data, tmp_path):
    losses = []
    for batch_size in (300, 2000):
        data.batch_size = batch_size
        losses.append(trainer(tmp_path).validate(make_module(), data, verbose=False)[0]["val/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_loss_of_a_sum_of_tasks_is_the_sum_of_what_is_logged(make_module, data, tmp_path):
    logged = trainer(tmp_path).validate(make_module((1.0, 0.5)), data, verbose=False)[0]
    assert logged["val/loss"] == pytest.approx(logged["val/t0_loss"] + 0.5 * logged["val/t1_loss"], rel=1e-6)


def test_training_without_an_end_is_refused(make_module, data, tmp_path):
    with pytest.raises(ValueError, match=r"needs to know how long the training is"):
        trainer(tmp_path, max_epochs=-1).fit(make_module(), datamodule=data)


def test_the_optimiser_takes_the_configs_weight_decay(make_module, data, tmp_path):
    module = make_module(lrs_config=LRSConfig(weight_decay=0.25))
    fitted = trainer(tmp_path, fast_dev_run=1)
    fitted.fit(module, datamodule=data)
    assert fitted.optimizers[0].param_groups[0]["weight_decay"] == 0.25


def test_inputs_are_scaled_by_the_dictionary(make_module, data):
    data.setup("validate")
    module, batch = make_module(), next(iter(data.val_dataloader()))
    scaled = module.norm(batch.inputs)
    jets = (batch.inputs["jets"] - module.norm.jets_means) / module.norm.jets_stds
    assert torch.equal(scaled["jets"], jets)
    assert math.isclose(float(module.norm.jets_stds[0]), _std("jets", "pt_btagJes"), rel_tol=1e-6)


def _std(dataset, variable):
    import yaml

    return yaml.safe_load((PACKAGED / "norm_dict.yaml").read_text())[dataset][variable]["std"]


def test_a_step_writes_nothing_to_its_batch(make_module, data):
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    before = batch.inputs["jets"].clone(), batch.inputs["tracks"].values.clone()
    module = make_module()
    module.model.losses(module(batch.inputs), batch)
    assert torch.equal(batch.inputs["jets"], before[0])
    assert torch.equal(batch.inputs["tracks"].values, before[1])
