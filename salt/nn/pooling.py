"""Pooling: the tokens of a jet to one vector."""

from __future__ import annotations

from torch import Tensor, nn

from salt.layout import Layout


class GlobalAttentionPooling(nn.Module):
    """Mean of a jet's tokens, weighted by the softmax of a learned score. A jet without tokens gives zeros.

    Parameters
    ----------
    input_size : int
        Width D of the tokens.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.gate_nn = nn.Linear(input_size, 1)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Tokens (..., D) to jets (B, D)."""
        return layout.pool(self.gate_nn(x), x)
