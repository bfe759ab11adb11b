"""Normalisation of inputs: shift and scale of each variable."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from salt.ragged import Ragged
from salt.types import PARAMETERS, Inputs, Schema


class InputNorm(nn.Module):
    """Shift and scale every input variable: (x - mean) / std, in a copy.

    Variables of the stream `global` have the values of the global object's dataset; those of the stream `parameters`
    are left as they are, for they are chosen and not measured.

    Parameters
    ----------
    schema : Schema
        The streams and their variables.
    norm_dict : Mapping[str, Mapping[str, Mapping[str, float]]] | None
        Dataset name -> variable -> {mean, std}; None: mean 0 and std 1, to be loaded from a checkpoint.
    """

    def __init__(
        self, schema: Schema, norm_dict: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None
    ) -> None:
        super().__init__()
        self.streams = [stream for stream in schema.variables if stream != PARAMETERS]
        for stream in self.streams:
            names = schema.variables[stream]
            means, stds = torch.zeros(len(names)), torch.ones(len(names))
            if norm_dict is not None:
                of = norm_dict[schema.dataset(stream)]
                means = torch.tensor([float(of[name]["mean"]) for name in names])
                stds = torch.tensor([float(of[name]["std"]) for name in names])
            self.register_buffer(f"{stream}_means", means)
            self.register_buffer(f"{stream}_stds", stds)

    def forward(self, inputs: Inputs) -> dict[str, Tensor | Ragged]:
        """Inputs of each stream, normalised."""
        return {stream: self._scale(stream, x) if stream in self.streams else x for stream, x in inputs.items()}

    def _scale(self, stream: str, x: Tensor | Ragged) -> Tensor | Ragged:
        means, stds = self.get_buffer(f"{stream}_means"), self.get_buffer(f"{stream}_stds")
        if isinstance(x, Ragged):
            return x.normalised((x.values - means) / stds)
        return (x - means) / stds
