import re
from collections import OrderedDict

import pytest
import torch

from salt.training.weights import check_fit, read_weights


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.ckpt"


def weights(**shapes):
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


def test_weights_of_a_checkpoint_of_upstreams_come_under_our_names(path):
    saved = OrderedDict({"model._orig_mod.tasks.0.loss.weight": torch.arange(3.0)})
    torch.save({"state_dict": saved, "hyper_parameters": {"model": torch.nn.Linear(2, 2)}}, path)
    (name, weight) = next(iter(read_weights(path).items()))
    assert name == "model.tasks.0.loss_function.weight"
    assert weight.tolist() == [0, 1, 2]


@pytest.mark.parametrize("state_dict", [[], {"a": 1}, {1: torch.ones(1)}, torch.nn.Linear(1, 1), None])
def test_a_state_dict_that_is_none_is_refused(path, state_dict):
    torch.save({"state_dict": state_dict}, path)
    with pytest.raises(ValueError, match="state_dict is not a mapping of names to tensors"):
        read_weights(path)


def test_a_checkpoint_that_is_not_there_is_named(path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        read_weights(path)


def test_weights_that_fit_are_taken():
    check_fit(weights(a=(2, 3), b=()), weights(b=(), a=(2, 3)), "a.ckpt")


def test_what_does_not_fit_is_one_error_that_names_the_nearest():
    there = weights(model__encoder__registers=(1, 4), model__pool=(4, 1), model__odd=())
    here = weights(model__encoder__register=(1, 4), model__pool=(8, 1))
    with pytest.raises(ValueError, match=r"the weights of a\.ckpt are not those of this config's model") as error:
        check_fit(there, here, "a.ckpt")
    lines = str(error.value).splitlines()
    assert lines[1:4] == [
        "  1 not in the checkpoint: model.encoder.register (nearest there: model.encoder.registers)",
        "  2 not in the model: model.encoder.registers (nearest there: model.encoder.register); "
        "model.odd (nearest there: model.encoder.register)",
        "  1 of another shape: model.pool (4, 1) in the checkpoint, (8, 1) in the model",
    ]
    assert "model.init_from" in lines[4]


def test_of_many_that_do_not_fit_the_first_are_shown():
    with pytest.raises(ValueError, match=r"9 not in the checkpoint: a0 \(nothing like it there\); .*; and 4 more"):
        check_fit({}, weights(**{f"a{i}": () for i in range(9)}), "a.ckpt")
