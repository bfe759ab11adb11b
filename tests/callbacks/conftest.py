import h5py
import hdf5plugin
import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer

from salt.data import SaltDataModule
from salt.ragged import Ragged

NUM_JETS = 95
SLOTS = 5


class Head(torch.nn.Module):
    """What the writer knows of a task."""

    def __init__(self, name, input_name, padding):
        super().__init__()
        self.name, self.input_name, self.padding = name, input_name, padding

    def upstream_name(self, output, model):
        return output if output == "VertexIndex" else f"{model}_{output}"

    def required_columns(self):
        return []


class Tagger(LightningModule):
    """Answers with numbers that can be read back from the fields of the file."""

    def __init__(self, tasks=None, fail_at=None):
        super().__init__()
        self.name = "GN2"
        self.fail_at = fail_at
        self.model = torch.nn.Module()
        self.model.tasks = torch.nn.ModuleList(
            tasks
            or [
                Head("jets_classification", "jets", 0.0),
                Head("track_origin", "tracks", 0.0),
                Head("track_vertexing", "tracks", -1),
                Head("flow_regression", "flows", float("nan")),
            ]
        )

    def test_step(self, batch, batch_idx):
        if batch_idx == self.fail_at:
            raise RuntimeError("out of memory")
        number = {s: (x.values if isinstance(x, Ragged) else x)[:, 0] for s, x in batch.inputs.items()}
        return {
            "jets_classification": {"pb": number["jets"], "pc": -number["jets"]},
            "track_origin": {"pPrimary": number["tracks"] / 4},
            "track_vertexing": {"VertexIndex": number["tracks"].to(torch.int64)},
            "flow_regression": {"pt": number["flows"] / 2},
        }


@pytest.fixture
def test_file(tmp_path):
    """Field `number` of each record is its place in the dataset; `valid` has holes, and some jets no track."""
    generator = np.random.default_rng(3)
    path = tmp_path / "user_pp_output_ttbar.h5"
    jets = np.zeros(NUM_JETS, [("number", "f4"), ("pt", "f2"), ("flavour_label", "i4")])
    jets["number"], jets["pt"] = np.arange(NUM_JETS), generator.normal(size=NUM_JETS)
    constituents = np.zeros((NUM_JETS, SLOTS), [("number", "f4"), ("d0", "f4"), ("valid", "?")])
    constituents["number"] = np.arange(NUM_JETS * SLOTS).reshape(NUM_JETS, SLOTS)
    constituents["valid"] = generator.random((NUM_JETS, SLOTS)) < 0.5
    constituents["valid"][::10] = False
    with h5py.File(path, "w") as file:
        for name in ("jets", "tracks", "flows_loose"):
            file.create_dataset(name, data=jets if name == "jets" else constituents, **hdf5plugin.LZ4())
        file["jets"].attrs["flavour_label"] = ["bjets", "cjets"]
    return path


@pytest.fixture
def test_with(tmp_path, test_file):
    """Test a tagger with a checkpoint, and give the folder of the checkpoint."""

    def run(*callbacks, tagger=None, checkpoint=True, **options):
        tagger = tagger or Tagger()
        folder = tmp_path / "run" / "ckpts"
        folder.mkdir(parents=True, exist_ok=True)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        trainer = Trainer(
            default_root_dir=tmp_path,
            enable_checkpointing=False,
            devices=1,
            callbacks=list(callbacks),
            **quiet,
            **options,
        )
        path = folder / "epoch=003-val_loss=0.12345.ckpt"
        if not path.exists():
            trainer.strategy.connect(tagger)
            trainer.save_checkpoint(path)
        data = SaltDataModule(
            {"jets": ["number"], "tracks": ["number"], "flows": ["number"]},
            test_file=str(test_file),
            input_map={"flows": "flows_loose"},
            batch_size=20,
        )
        trainer.test(tagger, datamodule=data, ckpt_path=path if checkpoint else None, verbose=False)
        return folder

    return run


@pytest.fixture
def tagger():
    return Tagger


@pytest.fixture
def head():
    return Head
