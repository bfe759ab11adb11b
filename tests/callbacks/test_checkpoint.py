import re

import pytest
import torch
from lightning import LightningModule, Trainer

from salt.callbacks import Checkpoint


class Model(LightningModule):
    """Its validation loss is 0.5, 1.5, ..."""

    def __init__(self, metric="val/jets_classification_loss"):
        super().__init__()
        self.metric = metric
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).sum()

    def validation_step(self, batch, batch_idx):
        self.log(self.metric, self.current_epoch + 0.5, batch_size=1)
        self.log("val/loss", 1.0, batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def fit(tmp_path):
    def run(checkpoint, model=None, folder="run", ckpt_path=None, **options):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        trainer = Trainer(default_root_dir=tmp_path / folder, devices=1, callbacks=[checkpoint], **quiet, **options)
        loader = torch.utils.data.DataLoader(torch.ones(4, 1))
        trainer.fit(model or Model(), loader, loader, ckpt_path=ckpt_path, weights_only=True)
        return sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.ckpt"))

    return run


def test_every_epoch_is_kept_under_its_loss(fit):
    names = [f"run/ckpts/epoch=00{epoch}-val_loss={epoch}.50000.ckpt" for epoch in range(3)]
    assert fit(Checkpoint(), max_epochs=3) == names


def test_the_loss_and_its_name_can_be_chosen(fit):
    assert fit(Checkpoint("val/loss", "loss"), max_epochs=1) == ["run/ckpts/epoch=000-loss=1.00000.ckpt"]


def test_a_metric_that_is_not_logged_is_answered_with_the_nearest(fit):
    message = "unknown metric 'val/jet_loss' in what is logged .*nearest: val/jets_classification_loss|val/loss"
    with pytest.raises(ValueError, match=message):
        fit(Checkpoint("val/jet_loss"), max_epochs=1)


def test_no_file_is_called_zero_where_nothing_is_validated(fit, caplog):
    names = fit(Checkpoint(), max_epochs=1, limit_val_batches=0)
    assert len(names) == 1
    assert re.fullmatch(r"run/ckpts/epoch=000-step=\d+\.ckpt", names[0])
    assert "nothing was validated" in caplog.text


def test_a_wrong_name_is_told_before_the_first_epoch(fit):
    model = Model("val/other")
    with pytest.raises(ValueError, match="unknown metric"):
        fit(Checkpoint(), model, max_epochs=1)
    assert model.weight.item() == 0


def test_a_resumed_run_goes_on_in_its_own_folder(fit, tmp_path):
    (first,) = fit(Checkpoint(), max_epochs=1)
    names = fit(Checkpoint(), folder="again", ckpt_path=tmp_path / first, max_epochs=2)
    assert names == ["again/ckpts/epoch=001-val_loss=1.50000.ckpt", first]


def test_a_trial_run_writes_nothing(fit):
    assert fit(Checkpoint(), fast_dev_run=1) == []


def test_nothing_unfinished_is_left(fit, tmp_path):
    fit(Checkpoint(), max_epochs=2)
    assert all(path.suffix == ".ckpt" for path in (tmp_path / "run" / "ckpts").iterdir())
