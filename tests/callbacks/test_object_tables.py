from collections import Counter

import h5py
import numpy as np
import torch

from salt.callbacks.object_tables import ObjectTables
from salt.data.evaluation import EvaluationFile
from salt.data.objects import MaskformerConfig
from salt.data.reader import Reader
from salt.data.recipes import Options, make_recipe
from salt.data.sources import open_sample
from salt.models.maskformer import OBJECT_CLASS, OBJECT_MASKS
from salt.models.object_finder import MASK_INDEX, MASK_LOGITS
from salt.ragged import Segments
from salt.types import Schema
from tests.conftest import SAMPLE

CLASSES = {"b": {"raw": 5, "mapped": 0}, "c": {"raw": 4, "mapped": 1}, None: {"raw": -1, "mapped": 2}}
OBJECT = {"name": "truth_hadrons", "id_label": "barcode", "class_label": "flavour", "object_classes": CLASSES}
CONFIG = MaskformerConfig.of(
    {"object": OBJECT, "constituent": {"name": "tracks", "id_label": "ftagTruthParentBarcode"}}
)


def test_each_dataset_is_read_once_a_batch(tmp_path, monkeypatch):
    reads, read = Counter(), h5py.Dataset.read_direct

    def counted(dataset, *arguments):
        reads[dataset.name] += 1
        read(dataset, *arguments)

    monkeypatch.setattr(h5py.Dataset, "read_direct", counted)
    with h5py.File(SAMPLE) as file:
        valid, barcodes = file["tracks"]["valid"], file["truth_hadrons"]["barcode"]
    with open_sample(str(SAMPLE), "data.test_file") as sample:
        recipe = make_recipe(Schema({"jets": ["pt_btagJes"], "tracks": ["d0"]}), {}, Options(mf_config=CONFIG))
        output = EvaluationFile(tmp_path / "out.h5", Reader(sample, recipe))
        objects = ObjectTables(CONFIG, output, [], None)
        for index in (np.array([3, 1, 2]), np.array([4, 6, 5])):
            segments = Segments.from_lengths(torch.from_numpy(valid[index].sum(1)))
            logits = torch.zeros(segments.num_tokens, 5)
            outputs = {
                OBJECT_CLASS: {"pb": torch.zeros(3, 5)},
                OBJECT_MASKS: {MASK_INDEX: torch.arange(segments.num_tokens), MASK_LOGITS: logits},
            }
            output.write("jets", ["pt_btagJes"], {}, index)
            output.write("tracks", ["d0"], objects.columns(outputs, "MF"), index, segments)
            objects.write(outputs, "MF", index, segments)
        output.finish()
    assert reads == {"/jets": 2, "/tracks": 2, "/truth_hadrons": 2}
    with h5py.File(output.path) as file:
        assert np.array_equal(file["truth_hadrons"]["barcode"], barcodes[1:7])
        assert file["object_masks"]["truth_mask"].any()
