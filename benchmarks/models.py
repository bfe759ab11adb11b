"""The models that the training-step benchmark compares: data that both sides build from, each with its own classes.

A model is what a config says under model.model, a stream what its constituents are like, `jets` the size of a batch.
Both interpreters import this file, so it imports neither side's `salt`.
"""

from __future__ import annotations

from copy import deepcopy
from importlib import import_module
from typing import Any

Config = dict[str, Any]

FLAVOURS = ["bjets", "cjets", "ujets", "taujets"]
JET_VARIABLES = ["pt_btagJes", "eta_btagJes"]

TRACKS = {"variables": 19, "slots": 40, "mean": 11.0}
FLOWS = {"variables": 6, "slots": 40, "mean": 8.0}
ELECTRONS = {"variables": 20, "slots": 5, "mean": 0.3}
"""Of a stream: how many variables (standard normal, so only their number matters), slots in a file, constituents."""


def of(class_path: str, **init_args: Any) -> Config:
    """As a config says it."""
    return {"class_path": class_path, "init_args": init_args}


def tagger(
    streams: Config, layers: int, width: int, heads: int, out: int, hidden: list[int], act: str, **encoder: Any
) -> Config:
    """GN2's parts: init nets, transformer, pooling; flavour of the jet, origins of its tracks, their vertices."""
    dense = {"hidden_layers": hidden, "activation": act}
    on_tracks = {**dense, "context_size": out}
    tasks = [
        of(
            "salt.models.ClassificationTask", name="jets_classification", input_name="jets", label="flavour_label",
            class_names=FLAVOURS, loss=of("torch.nn.CrossEntropyLoss"),
            dense_config={"input_size": out, "output_size": len(FLAVOURS), **dense},
        ),
        of(
            "salt.models.ClassificationTask", name="track_origin", input_name="tracks", label="ftagTruthOriginLabel",
            weight=0.5, loss=of("torch.nn.CrossEntropyLoss"),
            dense_config={"input_size": out, "output_size": 8, **on_tracks},
        ),
        of(
            "salt.models.VertexingTask", name="track_vertexing", input_name="tracks", label="ftagTruthVertexIndex",
            weight=1.5, loss=of("torch.nn.BCEWithLogitsLoss", reduction="none"),
            dense_config={"input_size": 2 * out, "output_size": 1, **on_tracks},
        ),
    ]  # fmt: skip
    net = {"output_size": width, "hidden_layers": [width], "activation": act}
    return of(
        "salt.models.SaltModel",
        init_nets=[{"input_name": stream, "dense_config": net} for stream in streams],
        encoder=of(
            "salt.models.Transformer", num_layers=layers, embed_dim=width, out_dim=out,
            attn_kwargs={"num_heads": heads}, **encoder,
        ),
        pool_net=of("salt.models.GlobalAttentionPooling", input_size=out),
        tasks=of("torch.nn.ModuleList", modules=tasks),
    )  # fmt: skip


OBJECTS = {"slots": 5, "classes": ["b", "c"], "shares": [0.5, 0.2, 0.3]}
"""Of the objects of a jet: slots in a file, classes, and which shares of the jets have none, one and two of them.

No jet has three: upstream matches those wrongly. The shares are exact, for upstream's loss of regression divides by all
slots, ours by the objects that there are: with the same number of objects in each batch, one is a multiple of other.
"""

SCALES = {
    "pt": {"op": "log", "op_scale": 0.2},
    "Lxy": {"op": "log", "x_off": 1},
    "deta": {"op": "linear", "x_off": 1, "op_scale": 10},
    "dphi": {"op": "linear", "x_off": 1, "op_scale": 10},
    "mass": {"op": "log", "op_scale": 0.1},
}
"""How targets of objects are scaled: those of upstream's MaskFormer.yaml."""


def finder(streams: Config, layers: int, width: int, heads: int, hidden: list[int], act: str, **encoder: Any) -> Config:
    """MaskFormer's parts: GN2's without vertexing, and a mask decoder, of which the objects' regression reads."""
    model = tagger(streams, layers, width, heads, width, hidden, act, **encoder)
    arguments = model["init_args"]
    arguments["tasks"]["init_args"]["modules"][2:] = [
        of(
            "salt.models.RegressionTask", name="regression", input_name="objects", targets=list(SCALES), weight=0.5,
            scaler=of("salt.utils.scalers.RegressionTargetScaler", scales=SCALES),
            loss=of("torch.nn.L1Loss", reduction="none"),
            dense_config={
                "input_size": width, "output_size": len(SCALES), "hidden_layers": hidden, "activation": act
            },
        )
    ]  # fmt: skip
    weights = {"object_class_ce": 2.0, "mask_ce": 10.0, "mask_dice": 2.0, "regression": 2.0}
    arguments["mask_decoder"] = of(
        "salt.models.maskformer.MaskDecoder", embed_dim=width, num_layers=3, num_objects=OBJECTS["slots"],
        md_config={"n_heads": heads, "mask_attention": True, "bidirectional_ca": True},
        class_net=of("salt.models.Dense", input_size=width, output_size=len(OBJECTS["classes"]) + 1),
        mask_net=of("salt.models.Dense", input_size=width, output_size=width),
        loss_config={"num_classes": len(OBJECTS["classes"]), "loss_weights": weights},
    )  # fmt: skip
    return model


def entry(jets: int, streams: Config, *sizes: Any, **encoder: Any) -> Config:
    """A line of the table."""
    return {"jets": jets, "streams": streams, "model": tagger(streams, *sizes, **encoder)}


PLAIN = {"norm": "LayerNorm", "dense_kwargs": {"activation": "ReLU", "gated": False}}
GATED = {"activation": "SiLU", "gated": True}
GN3 = {"norm": "RMSNorm", "norm_type": "hybrid", "num_registers": 12, "dense_kwargs": GATED}

MODELS: dict[str, Config] = {
    "small": entry(1000, {"tracks": TRACKS}, 2, 64, 4, 64, [64, 32], "ReLU", **PLAIN),
    "gn2": entry(500, {"tracks": TRACKS}, 4, 256, 8, 128, [128, 64, 32], "ReLU", **PLAIN),
    "gn3": entry(
        200, {"tracks": TRACKS, "flows": FLOWS, "electrons": ELECTRONS}, 4, 256, 8, 128, [128, 64, 32], "SiLU", **GN3
    ),
    "maskformer": {
        "jets": 250,
        "streams": {"tracks": TRACKS},
        "objects": OBJECTS,
        "model": finder({"tracks": TRACKS}, 4, 256, 8, [128, 64, 32], "ReLU", drop_registers=True, **PLAIN),
    },
}
"""Name -> size of a batch, streams, model, and objects where it finds some."""


def variables(spec: Config) -> dict[str, list[str]]:
    """Stream -> names of its variables, as data.variables has them."""
    of_streams = {
        stream: [f"{stream}_{i}" for i in range(facts["variables"])] for stream, facts in spec["streams"].items()
    }
    return {"jets": JET_VARIABLES, **of_streams}


def built(node: Any, **more: Any) -> Any:
    """What a config says, made: classes are those that this interpreter finds.

    Parameters
    ----------
    node : Any
        A class path with its arguments, or a list or mapping with such in it.
    more : Any
        Further arguments of the outermost class.
    """
    if isinstance(node, list):
        return [built(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "class_path" not in node:
        return {key: built(value) for key, value in node.items()}
    module, _, name = node["class_path"].rpartition(".")
    return getattr(import_module(module), name)(**built(deepcopy(node["init_args"])), **more)
