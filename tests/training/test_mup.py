"""muP: which weights learn slower and begin smaller, and that activations stay as large where the model is wider."""

import lightning
import pytest
import torch
import yaml

from salt.cli.files import PACKAGED
from salt.layout import Packed
from salt.models import ClassificationTask, GlobalAttentionPooling, SaltModel, Transformer
from salt.ragged import Ragged
from salt.training.module import SaltModule
from salt.training.mup import FILE, Multipliers, MupConfig, grouped, read_shapes, shapes_of, write_shapes
from salt.types import Schema

SCHEMA = Schema({"jets": ["pt_btagJes", "eta_btagJes"], "tracks": ["d0", "z0SinTheta", "lifetimeSignedD0Significance"]})
EMBED_DIM = {
    "apply_to": ["init_nets", "encoder"],
    "parameter_name": ["output_size", "embed_dim"],
    "parameter_base": 64,
    "parameter_delta": 32,
}


def model(width, out_dim=16):
    """As wide as that from the embedding to where the encoder writes to `out_dim`; None: as far as the heads."""
    torch.manual_seed(1)
    out = out_dim or width
    return SaltModel(
        SCHEMA,
        [{"input_name": "tracks", "dense_config": {"output_size": width, "hidden_layers": [16]}}],
        torch.nn.ModuleList([ClassificationTask("c", "jets", "flavour_label", {"input_size": out, "output_size": 4})]),
        encoder=Transformer(2, width, out_dim, attn_kwargs={"num_heads": 4}),
        pool_net=GlobalAttentionPooling(out),
    )


def shapes(out_dim=16):
    return shapes_of(model(64, out_dim), model(32, out_dim))


@pytest.fixture
def folder(tmp_path):
    """With the shapes of a base that is 64 wide."""
    write_shapes(str(tmp_path / FILE), shapes())
    return str(tmp_path)


def module(width, folder, **options):
    return SaltModule(model(width), mup_config={"shape_path": folder, "embed_dim": EMBED_DIM}, **options)


# --- shapes ---------------------------------------------------------------------------------------------------------


def test_shapes_tell_what_grows():
    found = shapes()
    assert found["init_nets.0.net.net.0.weight"] == [None, None]
    assert found["init_nets.0.net.net.2.weight"] == [64, None]
    assert found["encoder.registers"] == [None, 64]
    assert found["encoder.layers.0.attn.fn.in_proj_weight"] == [192, 64]
    assert found["encoder.out_proj.weight"] == [None, 64]
    assert found["tasks.0.net.net.0.weight"] == [None, None]


def test_shapes_are_written_as_upstreams_library_does(folder, tmp_path):
    written = yaml.safe_load((tmp_path / "storeshapes").read_text())
    assert written["encoder.out_proj.weight"] == [None, 64]
    assert read_shapes(str(tmp_path / "storeshapes")) == shapes()


def test_shapes_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)no shapes in .*storeshapes.*mend: make them: setup_mup"):
        module(128, str(tmp_path)).begin()


@pytest.mark.parametrize("layers", [1, 3])
def test_shapes_of_another_model_are_an_error(folder, layers):
    other = model(128)
    other.encoder = Transformer(layers, 128, 16, attn_kwargs={"num_heads": 4})
    with pytest.raises(ValueError, match=r"(?s)storeshapes.*mend: remove"):
        SaltModule(other, mup_config={"shape_path": folder, "embed_dim": EMBED_DIM}).begin()


# --- which, and by how much -----------------------------------------------------------------------------------------


def test_matrices_that_read_a_growing_width_learn_slower():
    wide = model(256)
    factors = Multipliers(wide, shapes(), "").factors()
    layer = [f"encoder.layers.{i}.{name}" for i in (0, 1) for name in (
        "attn.fn.in_proj_weight", "attn.fn.out_proj.weight", "dense.fn.in_proj.weight", "dense.fn.out_proj.weight"
    )]  # fmt: skip
    assert factors == dict.fromkeys([*layer, "encoder.out_proj.weight"], 4.0)


def test_heads_learn_slower_where_the_encoder_writes_its_whole_width():
    factors = Multipliers(model(256, None), shapes(None), "").factors()
    assert factors["pool_net.gate_nn.weight"] == factors["tasks.0.net.net.0.weight"] == 4.0


def test_a_model_as_wide_as_its_base_has_one_group_and_its_own_weights():
    base, same = model(64), model(64)
    multipliers = Multipliers(same, shapes(), "")
    multipliers.rescale()
    assert multipliers.factors() == {}
    assert all(torch.equal(a, b) for a, b in zip(base.parameters(), same.parameters(), strict=True))


def test_what_reads_a_growing_width_and_writes_a_fixed_one_begins_smaller_and_biases_as_of_the_base():
    usual, wide = model(256), model(256)
    Multipliers(wide, shapes(), "").rescale()
    ratio = {
        name: float(weight.norm() / before.norm())
        for (name, weight), before in zip(wide.state_dict().items(), usual.state_dict().values(), strict=True)
        if before.norm() > 0
    }
    assert ratio.pop("encoder.out_proj.weight") == pytest.approx(0.5)
    biases = [name for name in ratio if name.endswith("proj.bias") and "encoder" in name]
    assert len(biases) == 5
    assert [ratio.pop(name) for name in biases] == pytest.approx([2.0] * 5)
    assert list(ratio.values()) == pytest.approx([1.0] * len(ratio))


def test_rates_times_decays_are_the_same_in_all_groups():
    named = [("a", torch.zeros(1)), ("b", torch.zeros(1)), ("c", torch.zeros(1))]
    groups = grouped(named, {"b": 4.0}, 1e-3, 1e-2)
    assert [[name for name, _ in group.named] for group in groups] == [["a", "c"], ["b"]]
    assert [(group.rate, group.weight_decay) for group in groups] == [(1e-3, 1e-2), (1e-3 / 4, 4e-2)]


@pytest.mark.parametrize("optimizer", ["AdamW", "lion"])
def test_a_training_has_these_rates_at_every_step(random_data, make_trainer, folder, optimizer):
    seen = []

    class Rates(lightning.Callback):
        def on_train_batch_start(self, trainer, *_):
            seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    trainer = make_trainer(Rates(), max_epochs=1, limit_val_batches=0)
    trainer.fit(module(256, folder, optimizer=optimizer, norm_dict=PACKAGED / "norm_dict.yaml"), random_data())
    assert len(seen) == 6
    assert all(slow == pytest.approx(rate / 4) for rate, slow in seen)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"shape_path": "x"}, r"(?s)has the keys shape_path.*mend: give shape_path: FOLDER, and a width"),
        ({"embed_dim": EMBED_DIM}, "has the keys embed_dim"),
        ({"shape_path": "x", "w": {"apply_to": ["encoder"]}}, r"(?s)mup_config.w is .*mend: give it apply_to, "),
        ({"shape_path": "x", "w": EMBED_DIM | {"apply_to": ["encoder"]}}, "1 entries in apply_to, and 2"),
        ({"shape_path": "x", "w": EMBED_DIM | {"parameter_delta": 64}}, "are both 64"),
    ],
)
def test_a_config_that_says_too_little_is_refused(config, words):
    with pytest.raises(ValueError, match=words):
        MupConfig.read(config)


def test_optimisers_of_other_rates_are_refused(folder):
    with pytest.raises(ValueError, match=r"no learning rates for SGD .*; it has them for .*AdamW"):
        module(64, folder, optimizer="SGD")


# --- the check of coordinates ---------------------------------------------------------------------------------------


def batch(seed):
    """Inputs of 64 jets of 0 to 5 tracks, and what they are: a function of them."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 6, (64,), generator=generator)
    tracks = torch.randn(int(lengths.sum()), 3, generator=generator)
    jets = torch.randn(64, 2, generator=generator)
    return {"jets": jets, "tracks": Ragged.from_lengths(tracks, lengths)}, (jets[:, 0] > 0).long() + 2 * (
        jets[:, 1] > 0
    ).long()


def sizes(width, is_mup, steps=6):
    """Mean size of what the encoder's layers give, before the training and after some steps of it."""
    net = model(width, 16)
    factors = {}
    if is_mup:
        multipliers = Multipliers(net, shapes(), "")
        multipliers.rescale()
        factors = multipliers.factors()
    groups = grouped(list(net.named_parameters()), factors, 1e-2, 0.0)
    options = [{"params": [weight for _, weight in group.named], "lr": group.rate} for group in groups]
    optimizer, found = torch.optim.AdamW(options, weight_decay=0.0), []

    def watch(module, inputs, output):
        found.append(output.detach().abs().mean())

    watched = net.encoder.layers[-1].register_forward_hook(watch)
    for step in range(steps):
        inputs, labels = batch(step)
        loss = torch.nn.functional.cross_entropy(net(inputs, Packed)["c"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net(batch(0)[0], Packed)
    watched.remove()
    return float(found[0]), float(found[-1])


def test_activations_stay_as_large_in_a_wider_model_and_grow_without():
    grown = {is_mup: {width: sizes(width, is_mup)[1] for width in (64, 512)} for is_mup in (True, False)}
    assert grown[True][512] < 1.25 * grown[True][64]
    assert grown[False][512] > 2 * grown[False][64]
