"""Every optimiser with what else a trainer does to gradients and weights."""

import lightning
import pytest
import torch

from salt.training.rates import LRSConfig

NAMES = ("AdamW", "lion", "HybridMuonAdamW", "SGD")
RATES = LRSConfig(initial=1e-4, max=1e-2, end=1e-4)


class Norms(lightning.Callback):
    """How long the gradient is when the optimiser steps."""

    def __init__(self):
        self.norms = []

    def on_before_zero_grad(self, trainer, module, optimizer):
        gradients = [weight.grad.flatten() for weight in module.parameters() if weight.grad is not None]
        if gradients:
            self.norms.append(float(torch.cat(gradients).norm()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped(random_module, random_data, make_trainer, name, precision):
    watch, module = Norms(), random_module(optimizer=name)
    module.model.encoder = None
    options = {"gradient_clip_val": 1e-3, "precision": precision, "limit_train_batches": 3, "max_epochs": 1}
    make_trainer(watch, **options).fit(module, random_data())
    assert max(watch.norms) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_several_batches_make_one_step(random_module, random_data, make_trainer, name):
    module = random_module(optimizer=name, ema_decay=None)
    trainer = make_trainer(accumulate_grad_batches=3, max_epochs=1)
    before = [weight.detach().clone() for weight in module.parameters()]
    trainer.fit(module, random_data())
    assert trainer.global_step == 2
    assert any(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_averaged(random_module, random_data, make_trainer, name, tmp_path):
    module = random_module(optimizer=name, ema_decay=0.9)
    trainer = make_trainer(max_epochs=1, limit_train_batches=3)
    trainer.fit(module, random_data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    averaged, raw = content["state_dict"], content["salt"]["raw_state_dict"]
    assert content["salt"]["ema"]["updates"] == 3
    assert any(not torch.equal(averaged[key], raw[key]) for key in averaged)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "wsd", "constant"])
@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_becomes_what_it_would_have_become(
    random_module, random_data, make_trainer, name, schedule, tmp_path
):
    rates = LRSConfig(initial=1e-4, max=1e-2, end=1e-4, schedule=schedule, warmup_steps=4)
    options = {"optimizer": name, "lrs_config": rates}
    whole = random_module(**options)
    make_trainer(max_epochs=2).fit(whole, random_data())

    class Save(lightning.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 8:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")

    make_trainer(Save(), max_epochs=2).fit(random_module(**options), random_data())
    resumed = random_module(**options)
    make_trainer(max_epochs=2).fit(resumed, random_data(), ckpt_path=tmp_path / "middle.ckpt")
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
