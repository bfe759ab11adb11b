from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace

from salt.cli.files import PACKAGED
from salt.cli.widths import Widths, completed, misfits
from salt.models import Pooling, Transformer

MODEL = "model.model.init_args"
TASKS = f"{MODEL}.tasks.init_args.modules"


@pytest.fixture
def gnn():
    content = completed(packaged(), {})
    content["data"] |= {"global_object": "jets", "input_map": None}
    return content


def packaged():
    return yaml.safe_load((PACKAGED / "gnn.yaml").read_text())


def found(content):
    """Key, width and expected width of each misfit."""
    return [(misfit.key, misfit.width, misfit.expected) for misfit in misfits(parsed(content))]


def parsed(value):
    """As the parser has it: mappings are namespaces, but for those that a class takes as a mapping."""
    if isinstance(value, list):
        return [parsed(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = ("init_nets", "edge_init_nets", "dense_config", "variables")
    return Namespace(**{key: each if key in kept else parsed(each) for key, each in value.items()})


def arguments(content):
    return content["model"]["model"]["init_args"]


def task(content, number):
    return arguments(content)["tasks"]["init_args"]["modules"][number]["init_args"]


def test_the_packaged_config_fits(gnn):
    assert found(gnn) == []


def test_the_encoder_takes_what_the_init_nets_give(gnn):
    arguments(gnn)["encoder"]["init_args"]["embed_dim"] = 32
    assert found(gnn) == [(f"{MODEL}.encoder.init_args.embed_dim", 32, 64)]


def test_init_nets_give_the_same_width(gnn):
    nets = arguments(gnn)["init_nets"]
    nets.append({"input_name": "flows", "dense_config": {"output_size": 48}})
    assert found(gnn) == [(f"{MODEL}.init_nets[1].dense_config.output_size", 48, 64)]


def test_the_pooling_takes_what_leaves_the_encoder(gnn):
    arguments(gnn)["encoder"]["init_args"]["out_dim"] = 32
    keys = [key for key, *_ in found(gnn)]
    assert f"{MODEL}.pool_net.init_args.input_size" in keys
    assert f"{TASKS}[0].init_args.dense_config.input_size" in keys


def test_without_out_dim_the_encoder_gives_its_own_width(gnn):
    arguments(gnn)["encoder"]["init_args"]["out_dim"] = None
    assert found(gnn) == []


def test_vertexing_reads_two_tokens(gnn):
    task(gnn, 2)["dense_config"] = {**task(gnn, 2)["dense_config"], "input_size": 64}
    assert found(gnn) == [(f"{TASKS}[2].init_args.dense_config.input_size", 64, 128)]


def test_the_context_is_a_jet(gnn):
    task(gnn, 1)["dense_config"] = {**task(gnn, 1)["dense_config"], "context_size": 32}
    assert found(gnn) == [(f"{TASKS}[1].init_args.dense_config.context_size", 32, 64)]


def test_a_class_that_is_not_ours_is_left_to_its_author(gnn):
    arguments(gnn)["encoder"] = {"class_path": "mine.Encoder", "init_args": {"width": 3}}
    arguments(gnn)["pool_net"]["init_args"]["input_size"] = 3
    assert found(gnn) == []


class Both(Pooling):
    """Gives twice the width that it takes."""

    def __init__(self, input_size: int, depth: int = 1) -> None:
        super().__init__(input_size, 2 * input_size)

    def forward(self, tokens):
        raise NotImplementedError


BOTH = f"{__name__}.Both"


def test_what_a_class_of_somebody_elses_gives_is_asked_of_it(gnn):
    arguments(gnn)["pool_net"] = {"class_path": BOTH, "init_args": {"input_size": 64}}
    keys = {key: expected for key, _, expected in found(gnn)}
    assert keys == {
        f"{TASKS}[0].init_args.dense_config.input_size": 128,
        f"{TASKS}[1].init_args.dense_config.context_size": 128,
        f"{TASKS}[2].init_args.dense_config.context_size": 128,
    }


def test_a_misfit_names_the_keys_on_both_sides(gnn):
    arguments(gnn)["pool_net"]["init_args"]["input_size"] = 32
    (misfit,) = misfits(parsed(gnn))
    assert misfit.key == f"{MODEL}.pool_net.init_args.input_size"
    assert misfit.because == f"{MODEL}.encoder.init_args.out_dim is 64"


def test_variables_that_join_what_is_pooled_are_counted(gnn):
    gnn["data"]["variables"]["global"] = ["mass", "energy"]
    misfit, *_ = misfits(parsed(gnn))
    assert (misfit.width, misfit.expected) == (64, 66)
    assert misfit.because.endswith("out_dim is 64 and data.variables.global adds 2")


def test_widths_that_are_not_given_follow(caplog):
    caplog.set_level("DEBUG", "salt")
    given = packaged()
    content = completed(given, {})
    assert given == packaged()
    assert arguments(content)["init_nets"][0]["dense_config"]["output_size"] == 64
    assert arguments(content)["pool_net"]["init_args"] == {"input_size": 64}
    tasks = [task(content, number)["dense_config"] for number in range(3)]
    assert [(dense["input_size"], dense.get("context_size")) for dense in tasks] == [(64, None), (64, 64), (128, 64)]
    assert (
        f"filled {TASKS}[2].init_args.dense_config.input_size = 128: "
        f"{MODEL}.encoder.init_args.out_dim is 64 and 2 tokens are read at once"
    ) in caplog.messages
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert said.startswith("filled in the widths that follow from others: init_nets[0].dense_config.output_size 64, ")
    assert said.endswith("tasks[2].dense_config.input_size 128, tasks[2].dense_config.context_size 64")


def test_a_width_of_the_command_line_is_followed_with_and_without_the_word_init_args():
    for options in ({"init_args": {"encoder": {"init_args": {"embed_dim": 128}}}}, {"encoder": {"embed_dim": 128}}):
        content = completed(packaged(), {"model": {"model": options}})
        assert arguments(content)["init_nets"][0]["dense_config"]["output_size"] == 128
        assert arguments(content)["encoder"]["init_args"]["embed_dim"] == 64  # the option goes over it


def test_the_encoder_follows_from_the_init_nets_too():
    content = packaged()
    arguments(content)["init_nets"][0]["dense_config"]["output_size"] = 32
    encoder = arguments(content)["encoder"]["init_args"]
    del encoder["embed_dim"], encoder["out_dim"]
    assert arguments(completed(content, {}))["encoder"]["init_args"]["embed_dim"] == 32
    assert arguments(completed(content, {}))["pool_net"]["init_args"]["input_size"] == 32


@pytest.fixture
def edges():
    content = packaged()
    arguments(content)["edge_init_nets"] = [{"input_name": "tracks", "dense_config": {"hidden_layers": [8]}}]
    return content


def test_the_encoder_takes_edges_as_wide_as_they_are_embedded(edges):
    arguments(edges)["edge_init_nets"][0]["dense_config"]["output_size"] = 12
    assert arguments(completed(edges, {}))["encoder"]["init_args"]["edge_embed_dim"] == 12


def test_edges_are_embedded_as_wide_as_the_encoder_takes_them(edges):
    new = completed(edges, {"model": {"model": {"encoder": {"edge_embed_dim": 20}}}})
    assert arguments(new)["edge_init_nets"][0]["dense_config"] == {"hidden_layers": [8], "output_size": 20}


def test_edges_of_two_widths_are_told_with_both_keys(edges):
    arguments(edges)["edge_init_nets"][0]["dense_config"]["output_size"] = 12
    arguments(edges)["encoder"]["init_args"]["edge_embed_dim"] = 20
    edges = completed(edges, {})
    (misfit,) = misfits(parsed(edges))
    assert (misfit.key, misfit.width) == (f"{MODEL}.encoder.init_args.edge_embed_dim", 20)
    assert misfit.because == f"{MODEL}.edge_init_nets[0].dense_config.output_size is 12"


def test_without_edges_the_encoder_takes_none():
    assert "edge_embed_dim" not in arguments(completed(packaged(), {}))["encoder"]["init_args"]


def test_a_training_takes_a_width_from_the_command_line_and_the_others_follow(salt):
    answer = salt(
        "fit", "--config", "gnn.yaml", "--data.num_train=200", "--data.num_val=100", "--data.batch_size=100",
        "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", "-ls", "run",
        f"--{MODEL}.encoder.init_args.embed_dim=32",
        f"--{MODEL}.encoder.init_args.out_dim=24",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    run = Path("logs/GNN_run")
    (checkpoint,) = run.glob("ckpts/*.ckpt")
    shapes = {name: tuple(weight.shape) for name, weight in torch.load(checkpoint)["state_dict"].items()}
    assert shapes["model.init_nets.0.net.net.2.weight"][0] == 32
    assert shapes["model.encoder.registers"][-1] == 32
    assert shapes["model.pool_net.gate_nn.weight"] == (1, 24)
    assert shapes["model.tasks.2.net.net.0.weight"][1] == 3 * 24  # two tracks, and their jet
    model = arguments(yaml.safe_load((run / "config.yaml").read_text()))  # what is saved is what was built
    assert model["init_nets"][0]["dense_config"]["output_size"] == 32


def test_without_an_encoder_tokens_are_as_wide_as_they_were_embedded():
    content = packaged()
    del arguments(content)["encoder"]
    arguments(content)["init_nets"][0]["dense_config"]["output_size"] = 24
    arguments(content)["pool_net"] = "GlobalAttentionPooling"
    new = completed(content, {})
    assert arguments(new)["pool_net"] == {"class_path": "GlobalAttentionPooling", "init_args": {"input_size": 24}}
    assert task(new, 0)["dense_config"]["input_size"] == 24


def test_a_context_is_taken_where_it_is_asked_for_only():
    content = packaged()
    task(content, 1)["dense_config"]["context_size"] = None
    del task(content, 2)["dense_config"]["context_size"]
    new = completed(content, {})
    assert task(new, 1)["dense_config"]["context_size"] == 64
    assert "context_size" not in task(new, 2)["dense_config"]


def test_asking_classes_draws_no_random_numbers(gnn):
    before = torch.get_rng_state()
    assert Widths(gnn).found
    assert torch.equal(torch.get_rng_state(), before)
    Transformer(1, 4)
    assert not torch.equal(torch.get_rng_state(), before)


def test_a_model_of_another_class_is_left_alone():
    content = {"model": {"model": {"class_path": "mine.Model", "init_args": {"init_nets": []}}}, "data": {}}
    assert completed(content, {}) is content
