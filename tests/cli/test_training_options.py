"""Options of a training as a user writes them; the examples of docs/training.md among them."""

import re
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parent.parent.parent / "docs" / "training.md"
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)]


@pytest.fixture
def trial(salt, overlay):
    """A fit that tries out a few steps."""

    def run(*options, **content):
        return salt("fit", "--config", "gnn.yaml", "--config", overlay(**content), "--trainer.fast_dev_run=2", *options)

    return run


@pytest.mark.parametrize("example", range(len(EXAMPLES)))
def test_the_examples_of_the_page_on_training_run(trial, example):
    assert len(EXAMPLES) > 3
    answer = trial(**EXAMPLES[example])
    assert answer.code == 0, answer.err


def test_a_callback_whose_default_is_a_member_of_an_enum_is_read(trial):
    callback = {"class_path": "lightning.pytorch.callbacks.Timer", "init_args": {"duration": "00:01:00:00"}}
    assert trial(trainer={"callbacks": [callback]}).code == 0


@pytest.mark.parametrize("switch", ["enable_progress_bar", "enable_model_summary"])
def test_what_is_switched_off_needs_no_other_callbacks(trial, switch):
    answer = trial(f"--trainer.{switch}=false")
    assert answer.code == 0, answer.err
