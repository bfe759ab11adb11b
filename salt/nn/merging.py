"""Several embedded streams in one, for an encoder that treats its streams apart; and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from salt.layout import Merged
from salt.nn.encoder import Tokens


class StreamMerge:
    """Streams of a batch, some of them merged: first those that stay alone, then the merged ones.

    Parameters
    ----------
    streams : Sequence[Tokens]
        Embedded streams of the same jets.
    merge_dict : Mapping[str, Sequence[str]]
        Name of a merged stream -> the streams that it is made of, in the order of their tokens.
    """

    def __init__(self, streams: Sequence[Tokens], merge_dict: Mapping[str, Sequence[str]]) -> None:
        self._before = {tokens.name: tokens for tokens in streams}
        self._merge_dict = merge_dict
        self._merged: dict[str, Merged] = {}
        taken = {name for names in merge_dict.values() for name in names}
        self.streams = [tokens for tokens in streams if tokens.name not in taken]
        for name, of in merge_dict.items():
            parts = [self._before[stream] for stream in of]
            layouts = [part.layout for part in parts]
            merged = type(layouts[0]).merge(layouts)
            self._merged[name] = merged
            x = merged.join([part.x for part in parts])  # before its edges: see Merged.join_edges
            edges = (
                merged.join_edges([part.edges for part in parts])
                if any(part.edges is not None for part in parts)
                else None
            )
            self.streams.append(Tokens(name, x, merged.layout, edges))

    def parted(self, streams: Sequence[Tokens]) -> list[Tokens]:
        """Streams that have come from `self.streams`, with the parts of each merged one in its place."""
        found = []
        for tokens in streams:
            merged = self._merged.get(tokens.name)
            if merged is None:
                found.append(tokens)
                continue
            for place, name in enumerate(self._merge_dict[tokens.name]):
                found.append(self._before[name]._replace(x=merged.part(tokens.x, place)))
        return found
