"""Normalisation of inputs: shift and scale of each variable.

Shapes: B jets, T constituents, F variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from salt.ragged import Ragged
from salt.types import PARAMETERS, Inputs, Schema

NormDict = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Dataset -> variable -> {mean, std, ...}."""

IQR_OF_NORMAL = 1.3489795003921634
"""Interquartile range of a normal distribution of width 1: between -0.674 and 0.674."""


@dataclass
class NormOptions:
    """How inputs are normalised.

    Parameters
    ----------
    robust : bool
        By `median` and `iqr` (interquartile range) of `data.norm_dict`, which a few wild values do not move; not by
        its `mean` and `std`.
    clip : float | None
        Values beyond so many widths are set to them, like 10; None: nothing is clipped.
    already : bool
        The inputs come normalised. Filled in: files of umami's layout hold such.
    """

    robust: bool = False
    clip: float | None = None
    already: bool = False

    def __post_init__(self) -> None:
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"model.norm.clip is {self.clip}; it is a number of widths, above 0, or null")


class InputNorm(nn.Module):
    """Shift and scale every input variable: (x - mean) / std, in a copy.

    Variables of the stream `global` have the values of the global object's dataset; those of the stream `parameters`
    are left as they are, for they are chosen and not measured.

    Parameters
    ----------
    schema : Schema
        The streams and their variables.
    norm_dict : NormDict | None
        Dataset name -> variable -> {mean, std}; None: mean 0 and std 1, to be loaded from a checkpoint.
    options : NormOptions | None
        How it is done; None: as is the default.
    """

    def __init__(self, schema: Schema, norm_dict: NormDict | None = None, options: NormOptions | None = None) -> None:
        super().__init__()
        self.options = options or NormOptions()
        self.streams = [stream for stream in schema.variables if stream != PARAMETERS]
        for stream in self.streams:
            names = schema.variables[stream]
            means, stds = torch.zeros(len(names)), torch.ones(len(names))
            if norm_dict is not None:
                of = norm_dict.get(schema.dataset(stream), {})
                both = [_shift_and_width(of, name, self.options.robust) for name in names]
                means, stds = torch.tensor(both).view(-1, 2).unbind(1)
            self.register_buffer(f"{stream}_means", means)
            self.register_buffer(f"{stream}_stds", stds)
        if self.options.already:  # others have no such entry: their checkpoints are those of before
            self.register_buffer(_ALREADY, torch.tensor(True))

    def forward(self, inputs: Inputs) -> dict[str, Tensor | Ragged]:
        """Inputs of each stream, (B, F) or (T, F), normalised in at least their own precision; then in the model's."""
        return {stream: self._normalised(stream, x) for stream, x in inputs.items()}

    def _normalised(self, stream: str, x: Tensor | Ragged) -> Tensor | Ragged:
        if isinstance(x, Ragged):
            return x.normalised(self._scaled(stream, x.values))
        return self._scaled(stream, x)

    def _scaled(self, stream: str, x: Tensor) -> Tensor:
        if stream not in self.streams:
            return x.to(self.get_buffer(f"{self.streams[0]}_means").dtype)
        means = self.get_buffer(f"{stream}_means")
        x = ((x - means) / self.get_buffer(f"{stream}_stds")).to(means.dtype)
        clip = self.options.clip
        return x if clip is None else x.clamp(-clip, clip)

    def taken(self, state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        """The weights of a checkpoint as they fit here; raises where its inputs are of another kind.

        Checkpoints from before the flag, of inputs that came normalised, change nothing of them. Those of parameterised
        networks had entries for parameters, which nothing read.

        Parameters
        ----------
        state : Mapping[str, Tensor]
            Name -> weight, of the whole checkpoint.
        prefix : str
            What the names of this module's begin with.
        """
        unread = {f"{prefix}{PARAMETERS}_means", f"{prefix}{PARAMETERS}_stds"}
        state = {name: weight for name, weight in state.items() if name not in unread}
        flag, here = prefix + _ALREADY, self.options.already
        if here and self._is_identity(state, prefix):
            state.setdefault(flag, torch.tensor(True))
        if (flag in state) != here:
            kinds = ["normalised already (umami's layout)", "not normalised"]
            there, own = reversed(kinds) if here else kinds
            raise ValueError(
                f"the checkpoint was trained with inputs that are {there}, but the inputs here are {own}: its model is "
                "right for the former only"
            )
        return state

    def _is_identity(self, state: Mapping[str, Tensor], prefix: str) -> bool:
        """Whether a checkpoint leaves all inputs as they are."""
        means = [state.get(f"{prefix}{stream}_means") for stream in self.streams]
        stds = [state.get(f"{prefix}{stream}_stds") for stream in self.streams]
        return all(x is None or not x.any() for x in means) and all(x is None or bool((x == 1).all()) for x in stds)


_ALREADY = "already_normalised"


def _shift_and_width(of: Mapping[str, Mapping[str, float]], name: str, robust: bool) -> tuple[float, float]:
    """What is taken from the values of a variable, and what they are divided by then."""
    if name not in of:
        there = ", ".join(of) or "nothing"
        raise ValueError(f"data.norm_dict has no entry for {name}; of its dataset there are {there}")
    entry = of[name]
    if not robust:
        return float(entry["mean"]), float(entry["std"])
    if not {"median", "iqr"} <= entry.keys() or not float(entry["iqr"]) > 0:
        raise ValueError(
            f"model.norm.robust is true, but data.norm_dict has {dict(entry)} for {name}: it takes a median and an iqr "
            "(interquartile range) above 0; add them, or set model.norm.robust to false"
        )
    return float(entry["median"]), float(entry["iqr"]) / IQR_OF_NORMAL
