"""Positional encoding: coordinates to waves of many lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LONGEST = 10_000.0
"""About by how much the longest wave is longer than the shortest."""

CYCLIC = frozenset({"phi"})
"""Coordinates that are angles: values that differ by a full turn are encoded alike."""


class PositionalEncoder(nn.Module):
    """Sines and cosines of each of some coordinates, side by side; dimensions that are left over are zero.

    After Vaswani et al., Attention is all you need, arXiv:1706.03762. Each of V coordinates x has 2 h of the `dim`
    dimensions: sin(f_k x) for k = 0 ... h - 1, then cos(f_k x), where f_k = alpha 10000^(-k (h - 2) / (h (h - 1))).
    Those of the variable `phi` are sin(f_k sin x), then sin(f_k cos x). What is encoded is normalised, like all inputs.

    Parameters
    ----------
    variables : Sequence[str]
        Names of the coordinates.
    dim : int
        Dimensions of the encoding, at least 2 for each coordinate.
    alpha : int
        Frequency of the shortest wave.
    """

    def __init__(self, variables: Sequence[str], dim: int, alpha: int = 100) -> None:
        super().__init__()
        self.variables = list(variables)
        self.dim = dim
        self.alpha = alpha
        self.num_waves = dim // (2 * len(self.variables)) if self.variables else 0
        if not self.num_waves:
            raise ValueError(
                f"pos_enc: dim {dim} is too small for {len(self.variables)} variables "
                f"({', '.join(self.variables)}): it takes a sine and a cosine of each, at least one variable"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Coordinates (..., V) to their encodings (..., dim)."""
        waves = self.num_waves
        steps = torch.arange(waves, dtype=x.dtype, device=x.device)
        frequency = self.alpha * LONGEST ** (-steps * (waves - 2) / (waves * max(waves - 1, 1)))
        parts = []
        for name, column in zip(self.variables, x.unbind(-1), strict=True):
            angle = column[..., None]  # (..., 1)
            if name in CYCLIC:
                parts += [(angle.sin() * frequency).sin(), (angle.cos() * frequency).sin()]
            else:
                parts += [(angle * frequency).sin(), (angle * frequency).cos()]
        encoded = torch.cat(parts, -1)  # (..., V 2 h)
        return nn.functional.pad(encoded, (0, self.dim - encoded.shape[-1]))
