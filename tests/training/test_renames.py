import pytest

from salt.training.renames import RENAMES, renamed


@pytest.mark.parametrize(
    ("upstreams", "ours"),
    [
        ("model._orig_mod.encoder.registers", "model.encoder.registers"),
        ("_orig_mod.model.encoder.registers", "model.encoder.registers"),
        ("model.tasks.12.loss.weight", "model.tasks.12.loss_function.weight"),
        ("model._orig_mod.tasks.0.loss.weight", "model.tasks.0.loss_function.weight"),
        ("model.encoder.featurewise.1.bias_net.net.0.bias", "model.featurewise_encoder.1.bias_net.net.0.bias"),
        ("model._orig_mod.mask_decoder.inital_q", "model.mask_decoder.queries"),
        ("model.tasks.0.net.net.0.weight", "model.tasks.0.net.net.0.weight"),
        ("norm.tracks_means", "norm.tracks_means"),
    ],
)
def test_a_weight_of_upstreams_has_our_name(upstreams, ours):
    assert renamed({upstreams: 1}) == {ours: 1}


@pytest.mark.parametrize(
    "name",
    [
        "model.encoder.register_mask",
        "model._orig_mod.encoder.register_mask",
        "model.encoder.layers.3.edge_prenorm.weight",
        "model.mask_decoder.layers.0.mask_net.net.0.weight",
        "model.mask_decoder.mask_loss.empty_weight",
    ],
)
def test_what_is_not_needed_is_left_out(name):
    assert renamed({name: 1, "model.encoder.registers": 2}) == {"model.encoder.registers": 2}


def test_names_of_ours_stay(random_module):
    names = list(random_module().state_dict())
    assert list(renamed(dict.fromkeys(names))) == names


def test_two_weights_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"model\.a and model\._orig_mod\.a of the checkpoint are both model\.a here"):
        renamed({"model.a": 1, "model._orig_mod.a": 2})


def test_the_mapping_that_is_given_is_not_written_to():
    weights = {"model._orig_mod.a": 1}
    renamed(weights)
    assert weights == {"model._orig_mod.a": 1}


def test_every_line_of_the_table_is_tried_here():
    tried = [
        "_orig_mod.a",
        "model.tasks.1.loss.weight",
        "model.encoder.featurewise.0.a",
        "model.mask_decoder.inital_q",
        "model.mask_decoder.layers.0.mask_net.a",
        "model.mask_decoder.mask_loss.empty_weight",
        "model.encoder.layers.0.edge_prenorm.weight",
        "model.encoder.register_mask",
    ]
    assert len(tried) == len(RENAMES)
    assert all(renamed({name: 1}) != {name: 1} for name in tried)
