"""What the tagger says about single tracks, against the truth: their origins and their vertices.

Shapes: n jets, L track slots, O = 8 origins, T tracks.
"""

from dataclasses import dataclass, field

import numpy as np

from salt.report.evaluation import FLAVOURS, Tracks

ORIGINS = ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
"""Classes of ftagTruthOriginLabel, in the order of its codes (ATLAS)."""

ORIGIN_LABEL = "ftagTruthOriginLabel"
VERTEX_LABEL = "ftagTruthVertexIndex"
VERTEX_PREDICTION = "VertexIndex"
PRIMARY_VERTEX = 0
"""Code of ftagTruthVertexIndex for the hard collision; displaced vertices follow, negative codes have no vertex."""


def origin_columns(model_name: str) -> list[str]:
    """Columns of the predicted origin probabilities."""
    return [f"{model_name}_p{origin}" for origin in ORIGINS]


def vertex_column(model_name: str, columns: set[str]) -> str:
    """Column of the predicted vertex index, with the model's prefix where the file has it."""
    prefixed = f"{model_name}_{VERTEX_PREDICTION}"
    return prefixed if prefixed in columns else VERTEX_PREDICTION


def origin_confusion(tracks: Tracks, model_name: str) -> np.ndarray:
    """Tracks of each true origin (rows) that are called each origin (columns), (O, O)."""
    truth = tracks.columns[ORIGIN_LABEL][tracks.predicted].astype(np.int64)
    scores = [tracks.columns[column][tracks.predicted] for column in origin_columns(model_name)]
    called = np.argmax(np.stack(scores, axis=-1), axis=-1)  # (T,)
    known = (truth >= 0) & (truth < len(ORIGINS))
    size = len(ORIGINS)
    return np.bincount(size * truth[known] + called[known], minlength=size**2).reshape(size, size)


@dataclass(frozen=True, slots=True)
class PairCounts:
    """Pairs of tracks of one jet flavour, with regard to displaced vertices.

    Parameters
    ----------
    true
        Pairs that share a displaced vertex in truth.
    grouped
        Pairs that the tagger puts together, but for those of two primary tracks.
    correct
        Pairs that are both.
    """

    true: int = 0
    grouped: int = 0
    correct: int = 0

    @property
    def efficiency(self) -> float:
        """Share of the true pairs that the tagger puts together."""
        return self.correct / self.true if self.true else float("nan")

    @property
    def purity(self) -> float:
        """Share of the pairs put together that truly share a vertex."""
        return self.correct / self.grouped if self.grouped else float("nan")

    def __add__(self, other: "PairCounts") -> "PairCounts":
        return PairCounts(self.true + other.true, self.grouped + other.grouped, self.correct + other.correct)


def count_pairs(tracks: Tracks, prediction: str) -> PairCounts:
    """Count pairs from the sizes of the groups: a group of k tracks has k (k - 1) / 2."""
    jet = np.nonzero(tracks.predicted)[0].astype(np.int64)  # (T,)
    truth = tracks.columns[VERTEX_LABEL][tracks.predicted].astype(np.int64)
    called = tracks.columns[prediction][tracks.predicted].astype(np.int64)
    primary, displaced = truth == PRIMARY_VERTEX, truth > PRIMARY_VERTEX
    return PairCounts(
        true=_pairs(np.stack([jet, truth])[:, displaced]),
        grouped=_pairs(np.stack([jet, called])) - _pairs(np.stack([jet, called])[:, primary]),
        correct=_pairs(np.stack([jet, truth, called])[:, displaced]),
    )


def _pairs(keys: np.ndarray) -> int:
    """Pairs of tracks with equal keys; keys is (K, T)."""
    if keys.shape[1] == 0:
        return 0
    dense = np.zeros(keys.shape[1], dtype=np.int64)
    for key in keys:
        width = int(key.max() - key.min()) + 1
        dense = dense * width + (key - key.min())
    sizes = np.unique(dense, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


@dataclass(slots=True)
class TrackTally:
    """Running counts over blocks of jets.

    Parameters
    ----------
    model_name
        Prefix of the prediction columns.
    available
        Names of all track columns that can be read; what is missing is not counted.
    """

    model_name: str
    available: set[str]
    confusion: np.ndarray | None = field(default=None, init=False)
    pairs: dict[str, PairCounts] = field(default_factory=dict, init=False)

    @property
    def counts_origins(self) -> bool:
        """Whether origins are predicted and known."""
        return {ORIGIN_LABEL, *origin_columns(self.model_name)} <= self.available

    @property
    def counts_vertices(self) -> bool:
        """Whether vertices are predicted and known."""
        return {VERTEX_LABEL, vertex_column(self.model_name, self.available)} <= self.available

    def wanted(self) -> set[str]:
        """Columns that ``add`` needs."""
        origins = {ORIGIN_LABEL, *origin_columns(self.model_name)} if self.counts_origins else set()
        vertices = {VERTEX_LABEL, vertex_column(self.model_name, self.available)} if self.counts_vertices else set()
        return origins | vertices

    def add(self, flavour: np.ndarray, tracks: Tracks) -> None:
        """Count a block of jets of flavours (n,)."""
        if self.counts_origins:
            counted = origin_confusion(tracks, self.model_name)
            self.confusion = counted if self.confusion is None else self.confusion + counted
        if self.counts_vertices:
            column = vertex_column(self.model_name, self.available)
            for name, code in FLAVOURS.items():
                ours = flavour == code
                columns = {key: tracks.columns[key][ours] for key in (VERTEX_LABEL, column)}
                chosen = Tracks(columns, tracks.real[ours], tracks.predicted[ours])
                self.pairs[name] = self.pairs.get(name, PairCounts()) + count_pairs(chosen, column)
