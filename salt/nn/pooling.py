"""Pooling: the tokens of a jet to one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from salt.nn.encoder import Tokens


class Pooling(nn.Module, ABC):
    """Makes one vector of the tokens of each jet.

    Parameters
    ----------
    input_size : int
        Width D of the tokens.
    output_size : int
        Width of the vector.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = output_size

    @abstractmethod
    def forward(self, tokens: Tokens) -> Tensor:
        """Tokens (..., D) to jets (B, output_size)."""


class GlobalAttentionPooling(Pooling):
    """Mean of a jet's tokens, weighted by the softmax of a learned score. A jet without tokens gives zeros.

    Parameters
    ----------
    input_size : int
        Width D of the tokens.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__(input_size, input_size)
        self.gate_nn = nn.Linear(input_size, 1)

    def forward(self, tokens: Tokens) -> Tensor:
        """Tokens (..., D) to jets (B, D)."""
        return tokens.layout.pool(self.gate_nn(tokens.x), tokens.x)
