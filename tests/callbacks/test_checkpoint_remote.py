import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from salt.callbacks import Checkpoint
from salt.training import checkpoints
from salt.training.checkpoint_io import WholeCheckpointIO
from salt.training.curve import continue_curve
from salt.training.run_files import exists, joined, listed, open_run_file, write_whole

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

RUN = "s3://bucket/logs/simple_1"


class Model(LightningModule):
    """Its validation loss is 0.5, 1.5, ..."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/jets_classification_loss", self.current_epoch + 0.5, batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(epochs, checkpoint=None):
    """Train in a run on the server, from a checkpoint of it."""
    logger = CSVLogger(RUN, name="", version="")
    continue_curve(logger, checkpoints.facts(checkpoint).batches if checkpoint else 0)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(
        default_root_dir=RUN,
        devices=1,
        max_epochs=epochs,
        logger=logger,
        callbacks=[Checkpoint()],
        plugins=[WholeCheckpointIO()],
        log_every_n_steps=1,
        **quiet,
    )
    loader = torch.utils.data.DataLoader(torch.ones(4, 1))
    trainer.fit(Model(), loader, loader, ckpt_path=checkpoint)
    return trainer


def names():
    return [entry.name for entry in listed(RUN, "ckpts", ".ckpt")]


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path, monkeypatch, bucket):
    """Nothing is to be written here."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_a_server_is_resumed_and_its_best_checkpoint_found():
    fit(2)
    assert names() == [f"epoch=00{epoch}-val_loss={epoch}.50000.ckpt" for epoch in range(2)]
    newest = checkpoints.newest(RUN)
    assert newest.path == f"{RUN}/ckpts/epoch=001-val_loss=1.50000.ckpt"
    assert fit(3, newest.path).global_step == 12
    assert len(names()) == 3
    assert checkpoints.best(RUN).path == f"{RUN}/ckpts/epoch=000-val_loss=0.50000.ckpt"


def test_its_curve_goes_on():
    fit(1)
    fit(2, checkpoints.last(RUN).path)
    with open_run_file(joined(RUN, "metrics.csv")) as file:
        rows = file.read().splitlines()
    assert [row.split(",")[:2] for row in rows] == [["epoch", "step"], ["0", "3"], ["1", "7"]]


def test_a_damaged_checkpoint_on_a_server_is_skipped(bucket, caplog):
    fit(2)
    newest = checkpoints.newest(RUN)
    with open_run_file(newest.path, "rb") as file:
        half = file.read()[: 1 << 10]
    write_whole(newest.path, lambda file: file.write(half))
    assert checkpoints.newest(RUN).step == 4
    assert f"skipping {newest.path}" in caplog.text


def test_a_checkpoint_is_one_put(bucket, monkeypatch):
    puts = []
    put = type(bucket)._pipe_file

    async def counted(self, path, *arguments, **options):
        puts.append(path)
        return await put(self, path, *arguments, **options)

    monkeypatch.setattr(type(bucket), "_pipe_file", counted)
    monkeypatch.setattr(type(bucket), "_open", lambda *arguments, **options: pytest.fail("not by a stream"))
    WholeCheckpointIO().save_checkpoint({"state_dict": {"a": torch.ones(1)}}, f"{RUN}/ckpts/a.ckpt")
    assert puts == ["bucket/logs/simple_1/ckpts/a.ckpt"]
    assert exists(f"{RUN}/ckpts/a.ckpt")
