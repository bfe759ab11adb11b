"""Allotments: the cluster and the trainer agree on nodes, GPUs and ranks, whoever says how many."""

import pytest

from salt.cli.allotment import NO_GPU, Allotment, allotted, without
from salt.cli.configs import COMMAND_LINE, Source

CONFIG = "gnn.yaml"


def given(asked=None, site=None, config=None, options=None):
    sources = [Source(CONFIG, {"trainer": config or {}}), Source(COMMAND_LINE, {"trainer": options or {}})]
    return allotted(asked or {}, site or {}, sources)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"gpus": 2}, Allotment(1, 2, 1)),
        ({"gpus": 2, "nodes": 3}, Allotment(3, 2, 1)),
        ({"tasks": 4}, Allotment(1, 0, 4)),
        ({"gpus": 0}, Allotment(1, 0, 1)),
        ({}, Allotment(1, 0, 1, NO_GPU)),
    ],
)
def test_options_say_how_many(asked, expected):
    assert given(asked) == expected


@pytest.mark.parametrize(
    ("config", "nodes", "gpus", "tasks"),
    [
        ({"devices": 2}, 1, 2, 1),
        ({"devices": 2, "accelerator": "gpu", "num_nodes": 3}, 3, 2, 1),
        ({"devices": [0, 3]}, 1, 2, 1),
        ({"devices": "0,1,"}, 1, 2, 1),
        ({"devices": 2, "accelerator": "cpu"}, 1, 0, 2),
        ({"accelerator": "cuda"}, 1, 1, 1),
        ({"accelerator": "gpu", "devices": "auto"}, 1, 1, 1),
        ({"accelerator": "auto"}, 1, 0, 1),
    ],
)
@pytest.mark.parametrize("who", ["config", "options"])
def test_where_only_the_trainer_is_told_the_job_follows(who, config, nodes, gpus, tasks):
    assert given(**{who: config})[:3] == (nodes, gpus, tasks)


def test_what_the_job_follows_is_said():
    assert given(config={"devices": 2}).reason == "--gpus 2 from trainer.devices = 2 in gnn.yaml"


def test_what_both_say_is_no_contradiction():
    assert given({"gpus": 2, "nodes": 2}, config={"devices": 2, "num_nodes": 2}) == Allotment(2, 2, 1)


@pytest.mark.parametrize(
    ("asked", "config", "message"),
    [
        ({"gpus": 2}, {"devices": 4}, "--gpus 2 contradicts trainer.devices = 4, which gnn.yaml says"),
        ({"tasks": 2}, {"devices": 4}, "--tasks 2 contradicts trainer.devices = 4"),
        ({"nodes": 2}, {"num_nodes": 1}, "--nodes 2 contradicts trainer.num_nodes = 1"),
        ({"gpus": 1}, {"accelerator": "cpu"}, "--gpus 1 contradicts trainer.accelerator = cpu"),
        ({"gpus": 1, "tasks": 2}, {}, "--gpus 1 and --tasks 2: there is one rank for each GPU"),
        ({}, {"devices": "many"}, "trainer.devices is 'many' in gnn.yaml"),
        ({}, {"devices": 0}, "trainer.devices is 0 in gnn.yaml"),
    ],
)
def test_a_contradiction_is_an_error_that_names_both(asked, config, message):
    with pytest.raises(ValueError, match="mend:") as caught:
        given(asked, config=config)
    assert message in str(caught.value)


def test_a_gpu_that_only_a_config_wants_is_not_missed_by_who_asks_for_ranks_on_cpus():
    assert given({"tasks": 2}, config={"accelerator": "gpu"}) == Allotment(1, 0, 2)
    with pytest.raises(ValueError, match=r"a job without GPUs contradicts trainer.accelerator = gpu"):
        given({"tasks": 2}, options={"accelerator": "gpu"})


@pytest.mark.parametrize(
    ("config", "expected"),
    [({}, (2, 4, 1)), ({"devices": 2}, (2, 2, 1)), ({"accelerator": "cpu"}, (2, 0, 1)), ({"num_nodes": 1}, (1, 4, 1))],
)
def test_a_site_counts_where_nobody_else_says_anything(config, expected):
    assert given(site={"gpus": 4, "nodes": 2}, config=config)[:3] == expected


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ("--a 1 --trainer.devices 2 --b 2", "--a 1 --b 2"),
        ("--trainer.devices=2 --trainer.num_nodes=1 RUN", "RUN"),
        ("--trainer.devices --b 2", "--b 2"),
        ("--trainer.devices -1 --trainer.max_epochs 2", "--trainer.max_epochs 2"),
    ],
)
def test_the_options_that_follow_leave_the_command_line(arguments, left):
    assert list(without(arguments.split())) == left.split()
