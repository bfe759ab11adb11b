"""Where the parameters of a network transform its features: what `featurewise_nets` of a model's config say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from salt.data.names import unknown
from salt.nn.encoder import Encoder
from salt.nn.featurewise import LAYERS, FeaturewiseTransformation
from salt.types import Schema


def by_layer(configs: Sequence[dict[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Layer -> the arguments of its `FeaturewiseTransformation`."""
    found: dict[str, dict[str, Any]] = {}
    for config in configs or []:
        layer = config.get("layer", "")
        if layer not in LAYERS:
            raise ValueError(unknown("layer", layer, LAYERS, "featurewise_nets"))
        if layer in found:
            raise ValueError(f"featurewise_nets has layer {layer} twice: give one entry a layer")
        found[layer] = config
    return found


def before_layers(schema: Schema, config: dict[str, Any] | None, encoder: Encoder | None) -> nn.ModuleList:
    """A transformation for each layer of the encoder; none where none is asked for."""
    if config is None:
        return nn.ModuleList()
    if encoder is None or not encoder.num_layers:
        what = "there is no encoder" if encoder is None else f"{type(encoder).__name__} has no such layers"
        raise ValueError(f"featurewise_nets has layer encoder, but {what}: leave the entry out")
    layers = range(encoder.num_layers)
    return nn.ModuleList(FeaturewiseTransformation(schema, size=encoder.input_size, **config) for _ in layers)


def after_encoder(schema: Schema, config: dict[str, Any] | None, size: int) -> FeaturewiseTransformation | None:
    """The transformation of tokens of this width, before they are pooled; None where none is asked for."""
    return None if config is None else FeaturewiseTransformation(schema, size=size, **config)
