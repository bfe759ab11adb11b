"""Training files like those of UPP, quickly: 40 slots a jet, of which about 11 hold a track, and some jets have none.

    .venv/bin/python benchmarks/training_files.py FOLDER --kind lz4 --jets 200000

Floats are random in all bits of their mantissa, so that no filter gains on them what it would not on real ones; numbers
of hits are u1 and repeat, as real ones do. Labels are i4, -2 where no track is; all else is 0 there. Chunks are those
that UPP's writer makes: 100 jets of tracks (232 kB of a narrow file), LZ4 without a shuffle filter.

Shapes: N jets of a file, n jets of a block, r their tracks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import yaml
from models import MODELS, TRACKS
from step import make_batch

MAX_TRACKS = int(TRACKS["slots"])

Draw = Callable[[np.random.Generator, int], np.ndarray]
"""Values of a field for so many jets or tracks."""


def normal(width: float) -> Draw:
    return lambda random, count: random.standard_normal(count, np.float32) * np.float32(width)


def falling(start: float, width: float) -> Draw:
    return lambda random, count: start + random.standard_exponential(count, np.float32) * np.float32(width)


def hits(most: int, share: float) -> Draw:
    return lambda random, count: random.binomial(most, share, count)


def numbers(low: int, high: int) -> Draw:
    return lambda random, count: random.integers(low, high, count)


@dataclass(frozen=True)
class Field:
    """One column of a dataset; those without `draw` are labels, which `make_batch` gives."""

    name: str
    dtype: str
    draw: Draw | None = None


def fields(dtype: str, names: str, draw: Draw) -> list[Field]:
    return [Field(name, dtype, draw) for name in names.split()]


# GN2.yaml's inputs, in its order, then the labels.
TRACK_INPUTS = [
    Field("d0", "f4", normal(0.1)),
    Field("z0SinTheta", "f4", normal(0.4)),
    Field("dphi", "f4", normal(0.15)),
    Field("deta", "f4", normal(0.15)),
    Field("qOverP", "f4", normal(2e-4)),
    Field("IP3D_signed_d0_significance", "f4", normal(3)),
    Field("IP3D_signed_z0_significance", "f4", normal(3)),
    Field("phiUncertainty", "f4", falling(1e-4, 5e-4)),
    Field("thetaUncertainty", "f4", falling(1e-4, 3e-4)),
    Field("qOverPUncertainty", "f4", falling(1e-7, 2e-6)),
    Field("numberOfPixelHits", "u1", hits(7, 0.7)),
    Field("numberOfSCTHits", "u1", hits(10, 0.8)),
    Field("numberOfInnermostPixelLayerHits", "u1", hits(1, 0.9)),
    Field("numberOfNextToInnermostPixelLayerHits", "u1", hits(1, 0.95)),
    Field("numberOfInnermostPixelLayerSharedHits", "u1", hits(1, 0.05)),
    Field("numberOfInnermostPixelLayerSplitHits", "u1", hits(1, 0.05)),
    Field("numberOfPixelSharedHits", "u1", hits(3, 0.05)),
    Field("numberOfPixelSplitHits", "u1", hits(3, 0.05)),
    Field("numberOfSCTSharedHits", "u1", hits(4, 0.05)),
]
TRACK_LABELS = [Field("ftagTruthOriginLabel", "i4"), Field("ftagTruthVertexIndex", "i4"), Field("valid", "?")]
JET_INPUTS = [Field("pt_btagJes", "f4", falling(2e4, 6e4)), Field("eta_btagJes", "f4", normal(1.2))]
JET_LABELS = [Field("flavour_label", "i4")]

# What dumpers write besides: 53 fields of tracks and 37 of jets together.
MORE_OF_TRACKS = [
    *fields("f4", "pt eta phi theta d0RelativeToBeamspot z0RelativeToBeamspot z0SinThetaUncertainty", normal(1)),
    *fields("f4", "d0RelativeToBeamspotUncertainty z0RelativeToBeamspotUncertainty", falling(0.01, 0.05)),
    *fields("f4", "lifetimeSignedD0 lifetimeSignedZ0SinTheta lifetimeSignedD0Significance", normal(2)),
    *fields("f4", "lifetimeSignedZ0SinThetaSignificance chiSquared ptfrac dr mass radiusOfFirstHit", falling(0, 1)),
    *fields("u1", "numberOfPixelHoles numberOfSCTHoles numberOfTRTHits numberOfTRTOutliers", hits(3, 0.1)),
    *fields("u1", "numberOfInnermostPixelLayerOutliers expectInnermostPixelLayerHit numberDoF", hits(2, 0.5)),
    *fields("i1", "leptonID ftagTruthTypeLabel ftagTruthSourceLabel", numbers(-2, 12)),
    *fields("i4", "truthMatchProbabilityBin ftagTruthParentBarcode barcode", numbers(-1, 200_000)),
]
MORE_OF_JETS = [
    *fields("f4", "pt eta phi mass energy absEta_btagJes JVT HadronConeExclTruthLabelPt", falling(1, 5)),
    *fields("f4", "HadronConeExclTruthLabelLxy ptFromTruthJet deltaRToTruthJet dRminToB dRminToC", falling(0, 3)),
    *fields("f4", "GN2v01_pb GN2v01_pc GN2v01_pu GN2v01_ptau DL1dv01_pb DL1dv01_pc DL1dv01_pu", falling(0, 0.3)),
    *fields("f4", "averageInteractionsPerCrossing actualInteractionsPerCrossing primaryVertexZ", falling(10, 20)),
    *fields("i4", "n_tracks HadronConeExclTruthLabelID HadronGhostTruthLabelID PartonTruthLabelID", numbers(0, 16)),
    *fields(
        "i4", "n_truth_promptLepton GhostBHadronsFinalCount GhostCHadronsFinalCount nPrimaryVertices", hits(2, 0.2)
    ),
    *fields("i8", "eventNumber", numbers(0, 10**9)),
    *fields("u4", "jetFoldHash mcChannelNumber", numbers(0, 2**32)),
]
FLAVOURS = ["bjets", "cjets", "ujets", "taujets"]
VARIABLES = {"jets": [field.name for field in JET_INPUTS], "tracks": [field.name for field in TRACK_INPUTS]}
LABELS = {"jets": ["flavour_label"], "tracks": ["ftagTruthOriginLabel", "ftagTruthVertexIndex"]}
NO_LABEL = -2
"""Label of a slot without a track: upstream's loader hands it over as it is, and refuses -1 as malformed."""
JETS_CHUNK = 1000
BLOCK_JETS = 20_000
"""Jets made at a time: a multiple of all chunks."""


@dataclass(frozen=True)
class Kind:
    """What a file is like.

    Parameters
    ----------
    compression : str
        lz4, gzip (level 4, h5py's own choice), lzf or none.
    floats : str
        Type of the tracks' floats: f4, or f2 as UPP's `precision: half` makes them. Jets keep f4: their pT, in MeV,
        is beyond float16.
    wide : bool
        53 fields of tracks and 37 of jets, rather than the 22 and 3 that GN2 reads.
    chunk : int
        Jets of a chunk of tracks.
    holes : float
        Share of the tracks whose slot is marked as not valid, wherever it is; their labels are -2, their values stay.
    empty : float
        Share of the jets that lose all their tracks, beyond those that have none.
    filling : float
        What floats are in slots behind the last track.
    by_class : bool
        Whether jets are sorted by flavour.
    """

    compression: str = "lz4"
    floats: str = "f4"
    wide: bool = False
    chunk: int = 100
    holes: float = 0
    empty: float = 0
    filling: float = 0
    by_class: bool = False

    @property
    def tracks(self) -> list[Field]:
        """The fields of a track; inputs stand between others, as in a dumper's files."""
        more = MORE_OF_TRACKS if self.wide else []
        made = [*more[:12], *TRACK_INPUTS, *more[12:], *TRACK_LABELS]
        return [replace(field, dtype=self.floats) if field.dtype == "f4" else field for field in made]

    @property
    def jets(self) -> list[Field]:
        """The fields of a jet."""
        more = MORE_OF_JETS if self.wide else []
        return [*more[:9], *JET_INPUTS, *more[9:], *JET_LABELS]

    @property
    def filters(self) -> dict[str, Any]:
        """Arguments of h5py's `create_dataset`."""
        if self.compression == "lz4":
            return dict(hdf5plugin.LZ4())
        return {"compression": None if self.compression == "none" else self.compression}


KINDS = {
    "lz4": Kind(),
    "gzip": Kind(compression="gzip"),
    "lzf": Kind(compression="lzf"),
    "none": Kind(compression="none"),
    "float16": Kind(floats="f2"),
    "wide": Kind(wide=True),
}


def record_type(made: Iterable[Field]) -> np.dtype:
    return np.dtype([(field.name, field.dtype) for field in made])


def fill(records: np.ndarray, made: list[Field], random: np.random.Generator) -> np.ndarray:
    """Draw all fields of these records but the labels."""
    for field in made:
        if field.draw:
            records[field.name] = field.draw(random, len(records))
    return records


def make_block(kind: Kind, jets: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Records of jets (n,) and of tracks (n, 40)."""
    random = np.random.default_rng(seed)
    batch = make_batch(MODELS["gn2"], jets, seed)
    lengths = np.where(random.random(jets) < kind.empty, 0, batch["lengths_tracks"])
    filled = np.arange(MAX_TRACKS) < lengths[:, None]  # (n, 40)
    count = int(lengths.sum())
    tracks = fill(np.zeros(count, record_type(kind.tracks)), kind.tracks, random)
    tracks["ftagTruthOriginLabel"] = batch["origin"][:count]
    tracks["ftagTruthVertexIndex"] = batch["vertex"][:count]
    tracks["valid"] = random.random(count) >= kind.holes
    padded = np.zeros(filled.shape, tracks.dtype)
    for field in kind.tracks if kind.filling else ():
        padded[field.name] = kind.filling if field.dtype.startswith("f") else 0
    padded[filled] = tracks
    for name in LABELS["tracks"]:
        padded[name][~padded["valid"]] = NO_LABEL
    records = fill(np.zeros(jets, record_type(kind.jets)), kind.jets, random)
    records["flavour_label"] = batch["flavour"]
    return records, padded


def make_file(path: Path, kind: Kind, jets: int, seed: int = 0) -> Path:
    """Write a training file, and beside it `norm_dict.yaml` and `class_dict.yaml`.

    Parameters
    ----------
    path : Path
        The file.
    kind : Kind
        What it is like.
    jets : int
        N.
    seed : int
        Of all values.
    """
    flavours = np.random.default_rng(seed).integers(0, len(FLAVOURS), jets)
    if kind.by_class:
        flavours.sort()
    with h5py.File(path, "w") as file:
        shapes = {"jets": ((jets,), (JETS_CHUNK,)), "tracks": ((jets, MAX_TRACKS), (kind.chunk, MAX_TRACKS))}
        for name, (shape, chunk) in shapes.items():
            made = record_type(kind.jets if name == "jets" else kind.tracks)
            chunks = (min(chunk[0], jets), *chunk[1:])
            file.create_dataset(name, shape, made, chunks=chunks, **kind.filters)
        file["jets"].attrs["flavour_label"] = FLAVOURS
        for block, first in enumerate(range(0, jets, BLOCK_JETS)):
            count = min(BLOCK_JETS, jets - first)
            records, tracks = make_block(kind, count, seed=seed * 1_000_003 + block)
            records["flavour_label"] = flavours[first : first + count]
            file["jets"][first : first + count] = records
            file["tracks"][first : first + count] = tracks
            if first == 0:
                write_dictionaries(path.parent, records, tracks[tracks["valid"]])
    return path


def write_dictionaries(folder: Path, jets: np.ndarray, tracks: np.ndarray) -> None:
    """`norm_dict.yaml` and `class_dict.yaml` of these records (n,) and (r,)."""
    norms: dict[str, dict[str, dict[str, float]]] = {}
    for stream, records in {"jets": jets, "tracks": tracks}.items():
        columns = {name: records[name].astype(np.float64) for name in VARIABLES[stream]}
        norms[stream] = {name: mean_and_width(values) for name, values in columns.items()}
    weights = {"jets": {"flavour_label": [1.0] * len(FLAVOURS)}, "tracks": {"ftagTruthOriginLabel": [1.0] * 8}}
    (folder / "norm_dict.yaml").write_text(yaml.safe_dump(norms))
    (folder / "class_dict.yaml").write_text(yaml.safe_dump(weights))


def mean_and_width(values: np.ndarray) -> dict[str, float]:
    """Of the values (r,); those of a standard normal where there are too few."""
    if len(values) < 2:
        return {"mean": 0.0, "std": 1.0}
    return {"mean": float(values.mean()), "std": float(values.std()) or 1.0}


def tile_file(source: Path, path: Path, times: int) -> Path:
    """A file that holds each thousand jets of another that many times in a row, copied without being decompressed.

    Parameters
    ----------
    source : Path
        A file that `make_file` made of full thousands of jets.
    path : Path
        The new file; one sorted by class stays so.
    times : int
        How often each jet is in it.
    """
    with h5py.File(source) as small, h5py.File(path, "w") as large:
        for name, dataset in small.items():
            if dataset.shape[0] % JETS_CHUNK or JETS_CHUNK % dataset.chunks[0]:
                raise ValueError(f"{source} has {dataset.shape[0]} jets, not full thousands: it cannot be tiled")
            shape = (dataset.shape[0] * times, *dataset.shape[1:])
            made = dataset.id.get_create_plist().copy()
            whole = h5py.h5s.create_simple(shape)
            tiled = h5py.Dataset(h5py.h5d.create(large.id, name.encode(), dataset.id.get_type(), whole, made))
            tiled.attrs.update(dataset.attrs)
            behind = (0,) * (dataset.ndim - 1)
            for first in range(0, dataset.shape[0], JETS_CHUNK):
                places = range(first, first + JETS_CHUNK, dataset.chunks[0])
                chunks = [dataset.id.read_direct_chunk((place, *behind)) for place in places]
                for copy in range(times):
                    for place, (mask, data) in zip(places, chunks, strict=True):
                        target = place + first * (times - 1) + copy * JETS_CHUNK
                        tiled.id.write_direct_chunk((target, *behind), data, mask)
    return path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n", maxsplit=1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="lz4")
    parser.add_argument("--jets", type=int, default=200_000)
    parser.add_argument("--chunk", type=int, default=100, help="jets of a chunk of tracks")
    parser.add_argument("--holes", type=float, default=0.0, help="share of tracks that are marked as not valid")
    parser.add_argument("--by-class", action="store_true", help="sort jets by flavour")
    parser.add_argument("--tile", type=int, default=1, help="how often each jet is in the file")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    kind = replace(KINDS[options.kind], chunk=options.chunk, holes=options.holes, by_class=options.by_class)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = make_file(options.folder / f"{options.kind}.h5", kind, options.jets)
    if options.tile > 1:
        path = tile_file(path, options.folder / f"{options.kind}_tiled.h5", options.tile)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
