"""Fine-tuning: what is loaded, what is not, what stays as it is, and what is said of it."""

import logging

import pytest
import torch

from salt.training.init_from import InitFrom


@pytest.fixture
def trained(random_module, random_data, make_trainer, tmp_path):
    """A checkpoint of a short training, its weights, and its trainer."""
    path = str(tmp_path / "first.ckpt")
    trainer = make_trainer(max_epochs=1, limit_train_batches=2)
    trainer.fit(random_module(ema_decay=None), random_data())
    trainer.save_checkpoint(path)
    return path


def weights_in(path):
    return torch.load(path, weights_only=True)["state_dict"]


def begun(module):
    module.begin()
    return module.state_dict()


def equal(state, other, beginning):
    names = [name for name in state if name.startswith(beginning)]
    assert names
    return all(torch.equal(state[name], other[name]) for name in names)


def test_all_weights_of_a_checkpoint_are_loaded(random_module, trained):
    assert equal(begun(random_module(init_from=InitFrom(trained))), weights_in(trained), "")


def test_means_and_widths_of_the_inputs_belong_to_the_weights(random_module, trained):
    module = random_module(norm_dict=None, init_from=InitFrom(trained))
    assert equal(begun(module), weights_in(trained), "norm.")


def test_means_and_widths_of_the_inputs_may_be_the_new_ones(random_module, trained):
    module = random_module(norm_dict=None, init_from=InitFrom(trained, exclude=["norm.*"]))
    assert begun(module)["norm.tracks_means"].tolist() == [0.0, 0.0, 0.0]


def test_only_what_is_included_and_not_excluded_is_loaded(random_module, trained):
    new = random_module().state_dict()
    state = begun(random_module(init_from=InitFrom(trained, ["encoder.*", "tasks.*"], ["*.bias"])))
    there = weights_in(trained)
    assert torch.equal(state["model.tasks.0.net.net.0.weight"], there["model.tasks.0.net.net.0.weight"])
    assert torch.equal(state["model.tasks.0.net.net.0.bias"], new["model.tasks.0.net.net.0.bias"])
    assert equal(state, new, "model.init_nets.")


def test_the_class_weights_of_a_loss_are_those_of_the_config(random_module, trained):
    module = random_module(init_from=InitFrom(trained))
    module.model.tasks[0].register_buffer("class_weights", torch.ones(4))
    content = torch.load(trained, weights_only=True)
    content["state_dict"]["model.tasks.0.class_weights"] = torch.zeros(4)
    torch.save(content, trained)
    assert begun(module)["model.tasks.0.class_weights"].tolist() == [1.0] * 4


def test_what_was_validated_is_loaded_of_a_run_with_an_average(random_module, random_data, make_trainer, tmp_path):
    path = str(tmp_path / "averaged.ckpt")
    trainer = make_trainer(max_epochs=1, limit_train_batches=2)
    trainer.fit(random_module(ema_decay=0.5), random_data())
    trainer.save_checkpoint(path)
    assert equal(begun(random_module(ema_decay=None, init_from=InitFrom(path))), weights_in(path), "model.")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"include": ["encodr.*"]}, r"include: the pattern 'encodr.\*' matches no parameter; nearest: encoder\."),
        ({"exclude": ["taks.*"]}, r"exclude: the pattern 'taks.\*'"),
        ({"freeze": ["encoder.layer.*"]}, r"freeze: the pattern 'encoder.layer.\*'.*nearest: encoder"),
        ({"freeze": ["model.encoder.*"]}, "freeze: the pattern"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(random_module, trained, options, words):
    with pytest.raises(ValueError, match=words):
        begun(random_module(init_from=InitFrom(trained, **options)))


def changed(path, name, shape):
    content = torch.load(path, weights_only=True)
    content["state_dict"][name] = torch.zeros(shape)
    torch.save(content, path)


def test_weights_of_another_shape_are_named_with_the_pattern_that_leaves_them_out(random_module, trained):
    changed(trained, "model.tasks.0.net.net.2.weight", (3, 8))
    with pytest.raises(ValueError, match=r"(?s)1 weights .*tasks.0.net.net.2.weight: \(3, 8\) there, \(4, 16\) here"):
        begun(random_module(init_from=InitFrom(trained)))
    with pytest.raises(ValueError, match=r"mend: .*model.init_from.exclude: \[tasks.0.net.net.2.\*\]"):
        begun(random_module(init_from=InitFrom(trained)))
    begun(random_module(init_from=InitFrom(trained, exclude=["tasks.0.net.net.2.*"])))


def test_other_variables_are_named_by_their_means(random_module, trained):
    changed(trained, "norm.tracks_means", (4,))
    with pytest.raises(ValueError, match=r"exclude: \[norm.tracks_means\]"):
        begun(random_module(init_from=InitFrom(trained)))


def test_what_became_of_the_weights_is_said(random_module, trained, caplog):
    changed(trained, "model.old.weight", (3, 8))
    options = {"exclude": ["tasks.*"], "freeze": ["encoder.*", "tasks.0.net.net.0.*"]}
    with caplog.at_level(logging.INFO, "salt"):
        begun(random_module(init_from=InitFrom(trained, **options)))
    said = "\n".join(caplog.messages)
    for words in (
        "loaded                init_nets.0.* (4), encoder.*",
        "left out              tasks.0.* (4)",
        "not in the model      old.* (1)",
        "not those of data.norm_dict",
        "tasks.0.* (2) keep random weights, which do not learn",
        "parameters do not learn: tasks.0.* (2), encoder.*",
    ):
        assert words in said, said


def test_a_checkpoint_without_a_weight_of_the_model_is_named(random_module, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"model.conv.weight": torch.ones(1)}}, path)
    with pytest.raises(ValueError, match=r"other.ckpt \(model.init_from.ckpt\) has 1 weights, and none of them"):
        begun(random_module(init_from=InitFrom(str(path))))


def test_no_checkpoint_is_an_error(random_module, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint or run .*nowhere \(model.init_from.ckpt\)"):
        begun(random_module(init_from=InitFrom(str(tmp_path / "nowhere"))))


# --- frozen ---------------------------------------------------------------------------------------------------------


def test_what_is_frozen_does_not_change_and_has_no_place_in_the_optimiser(
    random_module, random_data, make_trainer, trained
):
    module = random_module(ema_decay=0.5, init_from=InitFrom(trained, freeze=["encoder.*", "init_nets.*"]))
    trainer = make_trainer(max_epochs=1, limit_train_batches=3)
    trainer.fit(module, random_data())
    state, there = module.state_dict(), weights_in(trained)
    assert equal(state, there, "model.encoder.")
    assert equal(state, there, "model.init_nets.")
    assert not equal(state, there, "model.tasks.")
    (group,) = trainer.optimizers[0].param_groups
    assert len(group["params"]) == sum(weight.requires_grad for weight in module.parameters()) < 15


def test_a_model_that_is_frozen_whole_is_refused(random_module, random_data, make_trainer, trained):
    with pytest.raises(ValueError, match="leaves nothing to train"):
        make_trainer().fit(random_module(init_from=InitFrom(trained, freeze=["*"])), random_data())


def test_a_run_that_is_resumed_keeps_its_weights_frozen_and_needs_the_checkpoint_no_more(
    random_module, random_data, make_trainer, trained, tmp_path
):
    options = {"init_from": InitFrom(trained, freeze=["encoder.*"])}
    there, first = weights_in(trained), make_trainer(max_epochs=1, limit_train_batches=3)
    first.fit(random_module(**options), random_data())
    first.save_checkpoint(tmp_path / "second.ckpt")
    (tmp_path / "first.ckpt").unlink()

    module = random_module(**options)
    make_trainer(max_epochs=2, limit_train_batches=3).fit(module, random_data(), ckpt_path=tmp_path / "second.ckpt")
    second = weights_in(tmp_path / "second.ckpt")
    assert equal(module.state_dict(), there, "model.encoder.")
    assert not equal(module.state_dict(), second, "model.tasks.")
    assert not any(weight.requires_grad for weight in module.model.encoder.parameters())
