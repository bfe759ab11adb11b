"""Several embedded streams in one, for an encoder that treats its streams apart; and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from salt.layout import Merged
from salt.nn.encoder import Tokens, joined, parted


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
        before = {tokens.name: tokens for tokens in streams}
        self._merged: dict[str, tuple[list[Tokens], Merged]] = {}
        taken = {name for names in merge_dict.values() for name in names}
        self.streams = [tokens for tokens in streams if tokens.name not in taken]
        for name, of in merge_dict.items():
            parts = [before[stream] for stream in of]
            x, merged = joined(parts)
            self._merged[name] = parts, merged
            known = [part.edges for part in parts]
            edges = merged.join_edges(known) if any(part is not None for part in known) else None
            self.streams.append(Tokens(name, x, merged.layout, edges))

    def parted(self, streams: Sequence[Tokens]) -> list[Tokens]:
        """Streams that have come from `self.streams`, with the parts of each merged one in its place."""
        found: list[Tokens] = []
        for tokens in streams:
            found += parted(*self._merged[tokens.name], tokens.x) if tokens.name in self._merged else [tokens]
        return found
