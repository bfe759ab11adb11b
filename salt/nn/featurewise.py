"""Feature-wise transformations: the parameters of a network scale and shift what its layers give.

Shapes: B jets, "..." the tokens of a layout, P parameters, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from salt.layout import Layout
from salt.nn.layers import Dense
from salt.types import PARAMETERS, Schema

LAYERS = ("input", "encoder", "global")
"""Where features can be transformed: before an init net, before each layer of the encoder, after the encoder."""


class FeaturewiseTransformation(nn.Module):
    """Scale and shift each feature by what nets make of the parameters. Perez et al., FiLM, arXiv:1709.07871.

    Parameters
    ----------
    schema : Schema
        The streams and their variables; it must have the stream `parameters`.
    layer : str
        Where it is: input, encoder or global.
    size : int
        D, the number of features there.
    dense_config_scale, dense_config_bias : dict[str, Any] | None
        Arguments of the `Dense` that gives the scale and of the one that gives the shift; None: there is none, but one
        of the two must be. Widths of input and output follow from the rest.
    apply_norm : bool
        Whether the result is normalised over its features, with weights.
    variables : Mapping[str, list[str]] | None
        Those of the schema, which upstream's saved configs repeat; None: not repeated.
    """

    def __init__(
        self,
        schema: Schema,
        layer: str,
        size: int,
        dense_config_scale: dict[str, Any] | None = None,
        dense_config_bias: dict[str, Any] | None = None,
        apply_norm: bool = False,
        variables: Mapping[str, list[str]] | None = None,
    ) -> None:
        super().__init__()
        schema.check_repeated(variables, None, "featurewise_nets")
        parameters = len(schema.variables.get(PARAMETERS, []))
        if not parameters:
            raise ValueError("featurewise_nets need parameters: name them in data.variables.parameters")
        if dense_config_scale is None and dense_config_bias is None:
            raise ValueError(f"featurewise_nets, layer {layer}: give dense_config_scale, dense_config_bias, or both")
        self.layer = layer
        self.size = size
        self.scale_net = self._net("scale", dense_config_scale, parameters)
        self.bias_net = self._net("bias", dense_config_bias, parameters)
        self.norm = nn.LayerNorm(size) if apply_norm else nn.Identity()

    def _net(self, kind: str, config: Mapping[str, Any] | None, parameters: int) -> Dense | None:
        if config is None:
            return None
        given = {"input_size": parameters, "output_size": self.size}
        for key, width in given.items():
            if config.get(key) not in {None, width}:
                raise ValueError(
                    f"featurewise_nets, layer {self.layer}: dense_config_{kind}.{key} is {config[key]}, but there are "
                    f"{width} {'parameters' if key == 'input_size' else 'features'}: leave {key} out"
                )
        return Dense(**{**config, **given})

    def forward(self, x: Tensor, parameters: Tensor, layout: Layout | None) -> Tensor:
        """Features (..., D), and the parameters (B, P) of their jets, to features (..., D).

        Without a layout they are features of the jets themselves.
        """
        if self.scale_net is not None:
            x = x * _spread(self.scale_net(parameters), layout)
        if self.bias_net is not None:
            x = x + _spread(self.bias_net(parameters), layout)
        return self.norm(x)


def _spread(x: Tensor, layout: Layout | None) -> Tensor:
    return x if layout is None else layout.spread(x)
