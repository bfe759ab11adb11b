import pytest
import yaml
from jsonargparse import Namespace

from salt.cli.files import PACKAGED
from salt.cli.widths import misfits

MODEL = "model.model.init_args"
TASKS = f"{MODEL}.tasks.init_args.modules"


@pytest.fixture
def gnn():
    content = yaml.safe_load((PACKAGED / "gnn.yaml").read_text())
    content["data"] |= {"global_object": "jets", "input_map": None}
    return content


def found(content):
    """Key, width and expected width of each misfit."""
    return [(misfit.key, misfit.width, misfit.expected) for misfit in misfits(parsed(content))]


def parsed(value):
    """As the parser has it: mappings are namespaces, but for those that a class takes as a mapping."""
    if isinstance(value, list):
        return [parsed(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = ("init_nets", "dense_config", "variables")
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
