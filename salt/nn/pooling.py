"""Pooling: the tokens of a jet to one vector.

Shapes: B jets, "..." the tokens of a layout, M queries, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
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
    def forward(self, tokens: Tokens, queries: Tensor | None = None) -> Tensor:
        """Tokens (..., D) to jets (B, output_size).

        Parameters
        ----------
        tokens : Tokens
            The constituents of each jet.
        queries : Tensor | None
            (B, M, D), what a mask decoder knows of the objects of each jet; None: there is no decoder.
        """


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

    def forward(self, tokens: Tokens, queries: Tensor | None = None) -> Tensor:
        """Tokens (..., D) to jets (B, D); the queries are not looked at."""
        return tokens.layout.pool(self.gate_nn(tokens.x), tokens.x)


class NodeQueryGAP(Pooling):
    """Means of a jet's tokens and of its object queries side by side, each weighted by the softmax of a learned score.

    Among the queries there is a vector of zeros, as upstream has it: no object need have any weight.

    Parameters
    ----------
    input_size : int
        Width D of tokens and of queries.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__(input_size, 2 * input_size)
        self.gate_nn_1 = nn.Linear(input_size, 1)
        self.gate_nn_2 = nn.Linear(input_size, 1)

    def forward(self, tokens: Tokens, queries: Tensor | None = None) -> Tensor:
        """Tokens (..., D) and queries (B, M, D) to jets (B, 2 D)."""
        if queries is None:
            raise ValueError(
                "pool_net is a NodeQueryGAP, which pools object queries, but the model has no mask_decoder: give one, "
                "or take salt.models.GlobalAttentionPooling"
            )
        nodes = tokens.layout.pool(self.gate_nn_1(tokens.x), tokens.x)
        queries = torch.cat([queries, queries.new_zeros(len(queries), 1, queries.shape[2])], 1)
        weight = self.gate_nn_2(queries).softmax(1)
        return torch.cat([nodes, (weight * queries).sum(1)], -1)
