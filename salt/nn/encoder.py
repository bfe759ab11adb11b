"""What an encoder is: it takes the tokens of several streams and gives them back, each knowing of the others.

Shapes: B jets, "..." the tokens of a layout, D width, R registers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from salt.layout import Layout, Merged


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
    x, merged = joined(streams)
    return Encoded(list(streams), Tokens("", x, merged.layout))


def joined(streams: Sequence[Tokens], registers: Tensor | None = None) -> tuple[Tensor, Merged]:
    """Tokens (..., D) of several streams, and registers (R, D), the same for every jet, together; and how they lie."""
    layouts = [stream.layout for stream in streams]
    merged = type(layouts[0]).merge(layouts, 0 if registers is None else registers.shape[0])
    return merged.join([stream.x for stream in streams], registers), merged


def parted(streams: Sequence[Tokens], merged: Merged, x: Tensor) -> list[Tokens]:
    """The streams that were joined, with their part of what has become of all tokens (..., D)."""
    return [stream._replace(x=merged.part(x, place)) for place, stream in enumerate(streams)]


def through(layers: Iterable[nn.Module], x: Tensor, layout: Layout, between: Between | None) -> Tensor:
    """Tokens (..., D) through layers in turn, before each of them through what is between."""
    for layer in layers:
        x = layer(between(x, layout) if between is not None else x, layout)
    return x
