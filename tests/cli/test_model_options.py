"""The examples of docs/models.md, as a user writes them."""

import re
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parent.parent.parent / "docs" / "models.md"
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)]


@pytest.mark.parametrize("key", ["model", "optimizer"])
def test_the_examples_of_the_page_on_models_run(salt, overlay, key):
    (example,) = [each for each in EXAMPLES if key in each["model"]]
    answer = salt("fit", "--config", "gnn.yaml", "--config", overlay(**example), "--trainer.fast_dev_run=2")
    assert answer.code == 0, answer.err


def test_the_example_of_fine_tuning_begins_with_the_weights_of_a_run(salt, overlay):
    (example,) = [each for each in EXAMPLES if "init_from" in each["model"]]
    few = (
        "--trainer.max_epochs=1",
        "--data.num_train=200",
        "--data.num_val=100",
        "--trainer.log_every_n_steps=1",
        "--log_suffix=before",
    )
    assert salt("fit", "--config", "gnn.yaml", *few).code == 0
    example["model"]["init_from"]["ckpt"] = "logs/GNN_before"
    answer = salt("fit", "--config", "gnn.yaml", "--config", overlay(**example), "--trainer.fast_dev_run=2")
    assert answer.code == 0, answer.err
    assert "parameters do not learn: init_nets" in answer.err


def test_there_is_no_example_that_no_test_has():
    keys = {key for example in EXAMPLES for key in example["model"]}
    assert keys == {"model", "optimizer", "lrs_config", "init_from"}
