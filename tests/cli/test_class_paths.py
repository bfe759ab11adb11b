import pytest

from salt.cli.class_paths import renamed, renewed, rewritten


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pytorch_lightning.loggers.CometLogger", "salt.loggers.CometLogger"),
        ("lightning.pytorch.loggers.comet.CometLogger", "salt.loggers.CometLogger"),
        ("pytorch_lightning.loggers.CSVLogger", "lightning.pytorch.loggers.CSVLogger"),
        ("CometLogger", "salt.loggers.CometLogger"),
        ("pytorch_lightning.callbacks.ModelSummary", "lightning.pytorch.callbacks.ModelSummary"),
        ("lightning.pytorch.loggers.TensorBoardLogger", "lightning.pytorch.loggers.TensorBoardLogger"),
        ("salt.optim.HybridMuonAdamW", "salt.training.muon.HybridMuonAdamW"),
        ("mine.CometLogger", "mine.CometLogger"),
        ("salt.utils.scalers.RegressionTargetScaler", "salt.tasks.scaling.RegressionTargetScaler"),
        ("pytorch_lightning_extras.Thing", "pytorch_lightning_extras.Thing"),
        ("salt.models.TransformerV2", "salt.models.Transformer"),
        ("salt.models.transformer_v2.TransformerV2", "salt.models.Transformer"),
        ("salt.models.transformer_v2.GLU", "salt.models.GLU"),
        ("salt.models.task.ClassificationTask", "salt.models.ClassificationTask"),
        ("salt.callbacks.predictionwriter.PredictionWriter", "salt.callbacks.PredictionWriter"),
        ("salt.data.datamodules.SaltDataModule", "salt.data.SaltDataModule"),
        ("salt.models.saltmodel.SaltModel", "salt.models.saltmodel.SaltModel"),
    ],
)
def test_class_paths_of_old_versions_and_of_what_ours_take_over(old, new):
    assert renamed(old) == new


def test_they_are_found_wherever_a_config_has_them():
    old = {"trainer": {"logger": "CSVLogger", "callbacks": [{"class_path": "pytorch_lightning.callbacks.Timer"}]}}
    assert rewritten(old) == {
        "trainer": {
            "logger": "CSVLogger",
            "callbacks": [{"class_path": "lightning.pytorch.callbacks.Timer"}],
        }
    }


@pytest.mark.parametrize(
    ("loss", "meant"),
    [
        ("MSELoss", "torch.nn.MSELoss"),
        ("torch.nn.MSELoss", "torch.nn.MSELoss"),
        ("Mine", "Mine"),
        (
            {"class_path": "GaussianNLLLoss", "init_args": {"full": True}},
            {"class_path": "torch.nn.GaussianNLLLoss", "init_args": {"full": True}},
        ),
        (None, None),
    ],
)
def test_a_loss_goes_by_its_name_alone(loss, meant):
    assert rewritten({"modules": [{"init_args": {"loss": loss}}]}) == {"modules": [{"init_args": {"loss": meant}}]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--trainer.logger=CometLogger"], ["--trainer.logger=salt.loggers.CometLogger"]),
        (["--trainer.logger", "CometLogger"], ["--trainer.logger", "salt.loggers.CometLogger"]),
        (
            ['--trainer.logger=[{"class_path": "pytorch_lightning.loggers.CSVLogger"}]'],
            ['--trainer.logger=[{"class_path": "lightning.pytorch.loggers.CSVLogger"}]'],
        ),
        (["--trainer.callbacks+=pytorch_lightning.callbacks.Timer"],
         ["--trainer.callbacks+=lightning.pytorch.callbacks.Timer"]),
        (["--name=CometLogger", "--name", "CSVLogger"], ["--name=CometLogger", "--name", "CSVLogger"]),
    ],
)  # fmt: skip
def test_they_are_found_on_the_command_line(old, new):
    assert renewed(old) == new
