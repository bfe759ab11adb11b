"""From variables to vectors: the net that embeds each stream.

Shapes: B jets, "..." the tokens of a layout, or the jets; F variables, G variables of the global object, P parameters,
D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.featurewise import FeaturewiseTransformation
from salt.nn.layers import Dense
from salt.nn.positions import PositionalEncoder
from salt.types import PARAMETERS, Schema


class InitNet(nn.Module):
    """Embed one stream, with the parameters of the network and the variables of the jet in front.

    Parameters
    ----------
    schema : Schema
        The streams and their variables.
    input_name : str
        The stream to embed: constituents, or the global object itself.
    dense_config : dict[str, Any]
        Arguments of `Dense`; its `input_size` follows from the schema.
    attach_global : bool
        Whether the global object's variables are inputs too.
    pos_enc : PositionalEncoder | dict[str, Any] | None
        What encodes some of the stream's variables, to be added to the embedding; or the arguments of one, with or
        without its class path. None: nothing is added.
    mup : bool
        Initial values of a maximal update parametrisation, where `dense_config` does not say.
    featurewise : FeaturewiseTransformation | dict[str, Any] | None
        What scales and shifts the inputs by the parameters, which are no inputs then; or the arguments of one. None:
        the inputs are taken as they are. The model fills it in from its `featurewise_nets`.
    variables : Mapping[str, list[str]] | None
        Those of the schema, which upstream's saved configs repeat; None: not repeated.
    global_object : str | None
        That of the schema, which upstream's saved configs repeat; None: not repeated.
    """

    def __init__(
        self,
        schema: Schema,
        input_name: str,
        dense_config: dict[str, Any],
        attach_global: bool = True,
        pos_enc: PositionalEncoder | dict[str, Any] | None = None,
        mup: bool = False,
        featurewise: FeaturewiseTransformation | dict[str, Any] | None = None,
        variables: Mapping[str, list[str]] | None = None,
        global_object: str | None = None,
    ) -> None:
        super().__init__()
        schema.check_repeated(variables, global_object, f"init net of {input_name!r}")
        self.input_name = input_name
        if input_name not in schema.variables:
            there = ", ".join(schema.variables)
            raise ValueError(f"init net of {input_name!r}: data.variables has no such stream; there are {there}")
        own = schema.variables[input_name]
        jets = schema.variables.get(schema.global_object, []) if attach_global else []
        parameters = schema.variables.get(PARAMETERS, []) if featurewise is None else []
        self.attach_global = bool(jets)
        self.attach_parameters = bool(parameters)
        given, width = dense_config.get("input_size"), len(parameters) + len(jets) + len(own)
        if given not in {None, width}:
            more = f", {len(parameters)} of {PARAMETERS!r}" if parameters else ""
            raise ValueError(
                f"init net of {input_name!r}: dense_config.input_size is {given}, but data.variables gives {len(own)} "
                f"of {input_name!r} and {len(jets)} of {schema.global_object!r}{more}: leave input_size out"
            )
        if isinstance(featurewise, dict):
            featurewise = FeaturewiseTransformation(schema, size=width, **featurewise)
        self.featurewise = featurewise
        self.net = _dense(len(own), width - len(own), {"mup": mup, **dense_config})
        self.pos_enc = _positions(pos_enc)
        self._places = self._found(own)

    def _found(self, own: list[str]) -> list[int]:
        """Columns of the variables whose positions are encoded."""
        if self.pos_enc is None:
            return []
        missing = [name for name in self.pos_enc.variables if name not in own]
        if missing:
            raise ValueError(
                f"init net of {self.input_name!r}: pos_enc encodes {missing[0]!r}, which is no variable of the stream; "
                f"there are {', '.join(own)}"
            )
        if self.pos_enc.dim != self.net.output_size:
            raise ValueError(
                f"init net of {self.input_name!r}: pos_enc.dim is {self.pos_enc.dim}, but it is added to vectors of "
                f"width {self.net.output_size} (dense_config.output_size): let the two agree"
            )
        return [own.index(name) for name in self.pos_enc.variables]

    def forward(self, x: Tensor, jets: Tensor | None, parameters: Tensor | None, layout: Layout | None) -> Tensor:
        """Variables (..., F), those of their jets (B, G) and the parameters (B, P), to vectors (..., D).

        Without a layout x is that of the jets themselves.
        """
        attached = [(parameters, self.attach_parameters), (jets, self.attach_global)]
        parts = [part for part, wanted in attached if wanted and part is not None]
        context = torch.cat(parts, -1) if parts else None
        if self.featurewise is None:
            embedded = self.net(x, context, layout)
        else:
            assert parameters is not None
            embedded = self.net(self.featurewise(in_front(context, x, layout), parameters, layout))
        return embedded if self.pos_enc is None else embedded + self.pos_enc(x[..., self._places])


def in_front(context: Tensor | None, x: Tensor, layout: Layout | None) -> Tensor:
    """What is known of tokens (..., F) with what is known of their jets (B, C) in front: (..., C + F)."""
    if context is None:
        return x
    before = layout.spread(context) if layout is not None else context
    return torch.cat([before.expand(*x.shape[:-1], -1), x], -1)


def _dense(own: int, context: int, config: Mapping[str, Any]) -> Dense:
    """The net; where the config does not say its widths, they follow from that of all of its inputs."""
    width = own + context
    sizes = {"input_size": own, "context_size": context}
    if config.get("output_size") is None:
        sizes["output_size"] = width
    hidden = config.get("hidden_layers")
    if hidden is None:
        hidden = [width * config.get("hidden_dim_scale", 2)]
    return Dense(**{**config, **sizes, "hidden_layers": hidden})


def _positions(given: PositionalEncoder | Mapping[str, Any] | None) -> PositionalEncoder | None:
    """The encoder that is given, or of which the arguments are."""
    if not isinstance(given, Mapping):
        return given
    path = given.get("class_path", PositionalEncoder.__name__)
    if path.rpartition(".")[2] != PositionalEncoder.__name__:
        raise ValueError(f"pos_enc of an init net: class_path is {path}; there is salt.models.PositionalEncoder")
    return PositionalEncoder(**(given.get("init_args", {}) if "class_path" in given else given))
