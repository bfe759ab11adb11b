from copy import deepcopy

import pytest
import yaml

from salt.cli import saved
from salt.cli.configs import read

VARIABLES = {"jets": ["pt"], "tracks": ["d0"]}
WITH_PAIRS = {**VARIABLES, "_edge_features_tracks": ["dR"]}
PAIRS = [{"input_name": "tracks", "edge_features": ["dR"]}]

SAVED = {
    "seed_everything": 42,
    "trainer": {
        "accelerator": "cpu",
        "max_time": None,
        "callbacks": [
            {
                "class_path": "salt.callbacks.PredictionWriter",
                "init_args": {"write_tracks": True, "object_classes": None},
            }
        ],
    },
    "model": {
        "model": {
            "class_path": "salt.models.SaltModel",
            "init_args": {
                "init_nets": [
                    {
                        "input_name": "tracks",
                        "dense_config": {"output_size": 4, "final_activation": None},
                        "variables": VARIABLES,
                        "global_object": "jets",
                    }
                ],
                "featurewise_nets": [{"layer": "input", "variables": VARIABLES}],
                "edge_init_nets": [
                    {
                        "input_name": "_edge_features_tracks",
                        "dense_config": {"output_size": 2},
                        "variables": WITH_PAIRS,
                        "global_object": "jets",
                        "attach_global": False,
                    }
                ],
                "mask_decoder": None,
                "encoder": {"class_path": "salt.models.Transformer", "init_args": {"out_dim": None, "drop_path": 0.0}},
            },
        },
        "lrs_config": {"max": 1e-3},
        "norm_config": {"norm_dict": "n.yaml", "variables": WITH_PAIRS, "global_object": "jets", "input_map": None},
        "mup_config": None,
        "edge_constructors": [{**PAIRS[0], "variables": WITH_PAIRS}],
    },
    "data": {
        "variables": WITH_PAIRS,
        "class_dict": None,
        "edge_constructors": [{**PAIRS[0], "variables": WITH_PAIRS}],
        "labels": {"jets": ["flavour_label"]},
    },
    "name": "GN2",
    "optimizer": None,
    "lr_scheduler": None,
}
"""In small what upstream's program saves."""

WRITTEN = {
    "seed_everything": 42,
    "trainer": {
        "accelerator": "cpu",
        "max_time": None,
        "callbacks": [{"class_path": "salt.callbacks.PredictionWriter", "init_args": {"write_tracks": True}}],
    },
    "model": {
        "model": {
            "class_path": "salt.models.SaltModel",
            "init_args": {
                "init_nets": [{"input_name": "tracks", "dense_config": {"output_size": 4}}],
                "featurewise_nets": [{"layer": "input"}],
                "edge_init_nets": [{"input_name": "tracks", "dense_config": {"output_size": 2}}],
                "encoder": {"class_path": "salt.models.Transformer", "init_args": {"drop_path": 0.0}},
            },
        },
        "lrs_config": {"max": 1e-3},
    },
    "data": {"variables": VARIABLES, "class_dict": None, "edge_constructors": PAIRS},
    "name": "GN2",
}
"""What was written for it."""


def test_what_upstream_has_added_to_a_config_is_taken_out():
    assert saved.rewritten(SAVED, "config.yaml") == WRITTEN


def test_the_config_that_is_given_is_not_written_to():
    given = deepcopy(SAVED)
    saved.rewritten(given, "config.yaml")
    assert given == SAVED


@pytest.mark.parametrize(
    "content", [WRITTEN, {"model": None}, {}, {"model": {"norm_dict": "n.yaml", "mup_config": None}}]
)
def test_a_config_that_somebody_wrote_stays_as_it_is(content):
    assert saved.rewritten(content, "a.yaml") is content


def test_lightnings_optimizer_stays_where_it_is_given_for_the_parser_to_refuse():
    content = {"model": {"norm_config": {}}, "optimizer": {"class_path": "torch.optim.SGD"}}
    assert saved.rewritten(content, "a.yaml")["optimizer"] == {"class_path": "torch.optim.SGD"}


def test_a_file_of_a_run_of_upstreams_is_read_so(tmp_path, caplog):
    caplog.set_level("INFO", "salt")
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(SAVED))
    assert read(file).content == WRITTEN
    assert caplog.messages == [f"{file} was saved by upstream's salt: reading it as what was written for it"]
