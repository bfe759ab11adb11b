"""Hits that a track leaves in the silicon layers.

Shapes: T tracks. Layout and efficiencies follow the ATLAS inner detector with its innermost layer (IBL), roughly.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from salt.simulate.events import Array

INNERMOST_RADIUS, NEXT_RADIUS = 33.25, 50.5  # mm (CERN-LHCC-2010-013)
OUTER_PIXEL_LAYERS, SCT_LAYERS = 2, 8  # SCT: four double layers
EFFICIENCY, SCT_EFFICIENCY = 0.975, 0.985  # of a layer
OVERLAP = 0.06  # a second hit where modules overlap
FAKE_EFFICIENCY, FAKE_SHARED = 0.75, 0.35  # wrong combinations of hits miss more and share more
SHARED_PER_NEIGHBOUR, SPLIT_PER_NEIGHBOUR = 0.12, 0.10  # chance of a merged cluster for each track nearby
SPLIT_ALONE = 0.01
OUTWARDS = 0.5  # tracks separate on their way: a merged cluster further out is this much less likely
SHARED_SCT = 0.2


@dataclass(frozen=True, slots=True)
class Hits:
    """Numbers of hits, each (T,), named as in the files without their `numberOf`."""

    innermost: Array
    next_to_innermost: Array
    pixel: Array
    sct: Array
    innermost_shared: Array
    innermost_split: Array
    pixel_shared: Array
    pixel_split: Array
    sct_shared: Array

    def select(self, rows: Array) -> Hits:
        """The hits of some tracks."""
        return Hits(*(getattr(self, field.name)[rows] for field in fields(self)))


def layer_hits(reached: Array, efficiency: Array, rng: np.random.Generator) -> Array:
    """Hits in one pixel layer: none, one or, where modules overlap, two."""
    hit = reached & (rng.random(len(reached)) < efficiency)
    return hit.astype(np.int64) + (hit & (rng.random(len(reached)) < OVERLAP))


def draw(radius: Array, neighbours: Array, fake: Array, rng: np.random.Generator) -> Hits:
    """Draw the hits of tracks.

    Parameters
    ----------
    radius : Array
        (T,) where the particle was produced, from the beam [mm].
    neighbours : Array
        (T,) other tracks so near that their clusters may merge.
    fake : Array
        (T,) whether the track is a wrong combination of hits.
    rng : np.random.Generator
        Source of randomness.
    """
    efficiency = np.where(fake, FAKE_EFFICIENCY, EFFICIENCY)
    innermost = layer_hits(radius < INNERMOST_RADIUS, efficiency, rng)
    following = layer_hits(radius < NEXT_RADIUS, efficiency, rng)
    outer = rng.binomial(OUTER_PIXEL_LAYERS, efficiency) + rng.binomial(OUTER_PIXEL_LAYERS, OVERLAP, len(radius))
    sct = rng.binomial(SCT_LAYERS, np.where(fake, FAKE_EFFICIENCY, SCT_EFFICIENCY)) + rng.binomial(
        2, OVERLAP, len(radius)
    )

    split_chance = 1 - (1 - SPLIT_ALONE) * np.exp(-SPLIT_PER_NEIGHBOUR * neighbours)
    shared_chance = np.maximum(1 - np.exp(-SHARED_PER_NEIGHBOUR * neighbours), FAKE_SHARED * fake)
    innermost_split = rng.binomial(innermost, split_chance)
    innermost_shared = rng.binomial(innermost - innermost_split, shared_chance)
    beyond = following + outer
    split = rng.binomial(beyond, OUTWARDS * split_chance)
    return Hits(
        innermost=innermost,
        next_to_innermost=following,
        pixel=innermost + beyond,
        sct=sct,
        innermost_shared=innermost_shared,
        innermost_split=innermost_split,
        pixel_shared=innermost_shared + rng.binomial(beyond - split, OUTWARDS * shared_chance),
        pixel_split=innermost_split + split,
        sct_shared=rng.binomial(sct, SHARED_SCT * shared_chance),
    )
