"""What the parser of a verb knows besides what LightningCLI tells it: our options, and links between data and model."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from jsonargparse.typing import register_type
from lightning.pytorch.cli import LightningArgumentParser

from salt.callbacks.physics import PhysicsMetrics
from salt.cli.written import whole_numbers_first
from salt.data.objects import MaskformerConfig
from salt.training.module import SaltModule
from salt.types import EdgeFeatures, features_of_pairs

SHORT = {"-n": "name", "-ls": "log_suffix", "-f": "force", "-t": "tag", "-oc": "overwrite_config"}
"""Options with a short form."""

EPILOGS = {
    "fit": "salt fit --resume RUN goes on with a run in its own directory, from its newest checkpoint; "
    "--ckpt_path last|best means a checkpoint of the run whose config.yaml is given.",
    "validate": "salt validate RUN [FILE] takes the best checkpoint of a run; --ckpt_path last takes the newest.",
    "test": "salt test RUN [FILE] tests the best checkpoint of a run; --ckpt_path last takes the newest. "
    "salt test SWEEP [FILE] [--members all|best:K] tests the members of a sweep, and writes what they say together.",
    "predict": "salt predict RUN FILE writes the same file as salt test, of jets of which no truth is known.",
}
"""What --help says of options that the parser does not see."""

# Class weights are lists in YAML and tensors in torch; 1.67 is not to become 1.6699999570846558.
register_type(torch.Tensor, serializer=lambda x: [float(str(value)) for value in x.numpy()], deserializer=torch.tensor)

# Defaults of Lightning's callbacks may be members of an Enum: Timer's interval is.
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))


def complete(parser: LightningArgumentParser) -> None:
    """Add our own arguments, and the links: what data and model must know of each other."""
    parser.add_argument("-n", "--name", type=str, default="salt", help="Name of the model and of the run.")
    parser.add_argument(
        "-ls", "--log_suffix", type=str | None, default=None, help="End of the run directory's name, not the time."
    )
    parser.add_lightning_class_args(PhysicsMetrics, "metrics")
    flags = {
        ("-f", "--force"): "Go on where --tag cannot be had.",
        ("-t", "--tag"): "Tag the commit that is worked on as salt/<run>.",
        ("-oc", "--overwrite_config"): "Take the directory of a run: its config is kept as config-1.yaml.",
        ("--compile",): "Compile the model (torch.compile): worth its minutes on GPUs.",
    }
    for names, summary in flags.items():
        parser.add_argument(*names, type=bool, default=False, nargs="?", const=True, help=summary)
    whole_numbers_first(parser)
    parser.link_arguments("name", "model.name")
    parser.link_arguments("data.norm_dict", "model.norm_dict")
    parser.link_arguments(
        ("data.variables", "data.global_object", "data.input_map", "data.edge_constructors", "data.mf_config"),
        "model.model.init_args.schema",
        compute_fn=_schema,
    )
    parser.link_arguments("model", "data.labels", compute_fn=_required_labels, apply_on="instantiate")
    parser.link_arguments("model", "data.columns", compute_fn=_required_columns, apply_on="instantiate")


def keys_given(options: Sequence[str]) -> frozenset[str]:
    """Names of the options given on the command line."""
    names = (option.partition("=")[0] for option in options if option.startswith("-") and option != "--")
    return frozenset(SHORT.get(name, name.removeprefix("--").removesuffix("+")) for name in names)


def _schema(
    variables: dict[str, list[str]],
    global_object: str,
    input_map: dict[str, str] | None,
    edge_constructors: list[EdgeFeatures] | None,
    mf_config: Namespace | None,
) -> dict[str, Any]:
    """Arguments of the Schema: the parser builds dataclasses itself."""
    objects = None
    if mf_config is not None:  # of a dataclass the parser makes a class_path and its init_args, or these alone
        objects = MaskformerConfig.of(mf_config.get("init_args", mf_config).as_dict()).schema
    schema = {"variables": variables, "global_object": global_object, "input_map": input_map or {}}
    return {**schema, "edges": features_of_pairs(edge_constructors), "objects": objects}


def _required_labels(model: SaltModule) -> dict[str, list[str]]:
    return model.required_labels()


def _required_columns(model: SaltModule) -> dict[str, list[str]]:
    return model.required_columns()
