"""Options of `data` as a user writes them, through `salt fit`; the examples of docs/data.md among them."""

import re
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parent.parent.parent / "docs" / "data.md"
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)]


def fields_of_the_sample(data):
    """The examples name fields of ATLAS files; the sample has most of them."""
    if "selections" in data:
        data["selections"] = {"tracks": ["d0 < 3.5", "numberOfPixelSharedHits < 1.1"]}
    return {"data": data}


@pytest.fixture
def trial(salt, overlay):
    """A fit that tries out a few steps."""

    def run(*options, **content):
        files = ("--config", overlay(**content)) if content else ()
        return salt("fit", "--config", "gnn.yaml", *files, "--trainer.fast_dev_run=2", "--data.batch_size=50", *options)

    return run


@pytest.mark.parametrize("example", range(len(EXAMPLES)))
def test_the_examples_of_the_page_on_data_run(trial, example):
    assert EXAMPLES
    answer = trial(**fields_of_the_sample(EXAMPLES[example]["data"]))
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("mode", ["auto", "exact", "window", "batch", "none"])
def test_every_shuffle_trains(trial, mode):
    assert trial(f"--data.shuffle={mode}").code == 0


@pytest.mark.parametrize("weak", ["true", "false"])
def test_the_documents_word_for_shuffling_is_read(trial, weak):
    assert trial(f"--data.batched_read={weak}").code == 0


def test_two_workers_train(trial):
    assert trial("--data.num_workers=2").code == 0


def test_too_many_workers_are_warned_of(trial):
    answer = trial("--data.num_workers=0")
    assert "data.num_workers is 0: one thread gathers batches ahead" in answer.err


def test_sampling_is_told_as_a_table(trial):
    answer = trial(
        data={
            "sampling": {"method": "countup", "label": "flavour_label", "variables": {"pt": {"bins": [2e4, 5e4, 1e7]}}}
        }
    )
    assert re.search(r"jets chosen of data.train_file", answer.err)
    assert "share" in answer.err


def test_objects_are_read_with_the_null_class_of_yaml(trial):
    classes = {name: {"raw": raw, "mapped": i} for i, (name, raw) in enumerate({"b": 5, "c": 4, "tau": 15}.items())}
    objects = {
        "object": {
            "name": "truth_hadrons",
            "id_label": "barcode",
            "class_label": "flavour",
            "object_classes": {**classes, None: {"raw": -1, "mapped": 3}},
        },
        "constituent": {"name": "tracks", "id_label": "ftagTruthParentBarcode"},
    }
    answer = trial(data={"mf_config": objects})
    assert answer.code == 0, answer.err
