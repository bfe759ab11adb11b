"""What an encoder is: it takes the tokens of several streams and gives them back, each knowing of the others.

Shapes: B jets, "..." the tokens of a layout, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from salt.layout import Layout


class Tokens(NamedTuple):
    """The tokens of a stream, or of several together.

    Parameters
    ----------
    name : str
        The stream; of several together it is empty.
    x : Tensor
        (..., D)
    layout : Layout
        Where each jet's are.
    edges : Tensor | None
        (square, E), what is known of their pairs; None: nothing.
    """

    name: str
    x: Tensor
    layout: Layout
    edges: Tensor | None = None


class Encoded(NamedTuple):
    """What leaves an encoder.

    Parameters
    ----------
    streams : list[Tokens]
        The tokens of each stream that came in, encoded.
    together : Tokens
        What the pooling sees: those of all streams, and registers.
    """

    streams: list[Tokens]
    together: Tokens


Between = Callable[[Tensor, Layout], Tensor]
"""What changes all tokens (..., D) of an encoder, registers too: called before each of its layers, in turn."""


class Encoder(nn.Module, ABC):
    """Takes embedded streams and encodes them, together.

    Parameters
    ----------
    input_size : int
        Width of the tokens that it takes.
    output_size : int
        Width of the tokens that it gives.
    edge_embed_dim : int
        Width of the edges between tokens that it takes; 0: it looks at none.
    """

    num_layers: int = 0
    """How often `forward` calls what it is given as `between`."""

    def __init__(self, input_size: int, output_size: int, edge_embed_dim: int = 0) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = output_size
        self.edge_embed_dim = edge_embed_dim

    @abstractmethod
    def forward(self, streams: Sequence[Tokens], between: Between | None = None) -> Encoded:
        """Embedded streams (..., input_size), of the same jets, to encoded ones (..., output_size)."""


def unencoded(streams: Sequence[Tokens]) -> Encoded:
    """Streams as they were embedded: what a model without an encoder pools."""
    layouts = [stream.layout for stream in streams]
    merged = type(layouts[0]).merge(layouts)
    return Encoded(list(streams), Tokens("", merged.join([stream.x for stream in streams]), merged.layout))
