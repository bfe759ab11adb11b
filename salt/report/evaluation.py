"""An evaluation file: the tagger's scores jet by jet, and its tracks block by block.

Shapes: N jets, L track slots, n jets of one block.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.lib.recfunctions import repack_fields

from salt.report.run import InputError, Run

B, C, LIGHT, TAU, OTHER = 0, 1, 2, 3, -1
FLAVOURS = {"b": B, "c": C, "light": LIGHT, "tau": TAU}

CODE_OF_CLASS = {"bjets": B, "cjets": C, "ujets": LIGHT, "taujets": TAU}
"""Names in ``attrs["flavour_label"]``, as in atlas-ftag-tools."""

CODE_OF_CONE_LABEL = {5: B, 4: C, 0: LIGHT, 15: TAU}
"""HadronConeExclTruthLabelID: PDG number of the heaviest hadron (or tau) in the cone, 0 for none."""

SCORES = {"b": "pb", "c": "pc", "light": "pu", "tau": "ptau"}
NEEDED_SCORES = ("b", "c", "light")
MEV_PER_GEV = 1000.0
BLOCK = 10_000
"""Jets read at once: 10k jets of 40 tracks with 50 columns are under 100 MB."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """Tracks of a block of jets.

    Parameters
    ----------
    columns
        Column name to values (n, L); only columns that the files have.
    real
        (n, L) whether the slot holds a track.
    predicted
        (n, L) whether the tagger saw that track; false beyond its truncation.
    """

    columns: dict[str, np.ndarray]
    real: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The jets of an evaluation file.

    Parameters
    ----------
    file
        The evaluation file.
    model_name
        Prefix of the score columns.
    flavour
        (N,) true flavour as a code of ``FLAVOURS``, or OTHER.
    probabilities
        Flavour name to (N,) score; tau only where the tagger has it.
    pt
        (N,) transverse momentum in GeV; None where the file has none.
    process
        What was simulated, for the labels of the figures; empty where the files do not say.
    """

    file: Path
    model_name: str
    flavour: np.ndarray
    probabilities: dict[str, np.ndarray]
    pt: np.ndarray | None
    process: str

    @property
    def num_jets(self) -> int:
        """Number of jets."""
        return len(self.flavour)

    def counts(self) -> dict[str, int]:
        """Jets of each flavour."""
        return {name: int((self.flavour == code).sum()) for name, code in FLAVOURS.items()}


def open_file(file: Path) -> h5py.File:
    """Open an HDF5 file for reading, whichever of the usual filters compress it."""
    import hdf5plugin  # noqa: F401  (registers the filters of files that others wrote)

    if not file.is_file():
        near = difflib.get_close_matches(file.name, [entry.name for entry in file.parent.glob("*.h5")], n=3, cutoff=0.0)
        raise InputError(f"no file {file}; in {file.parent} there is {', '.join(near) or 'no HDF5 file'}")
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise InputError(
            f"{file} is not an HDF5 file that can be read ({error}): was its writing interrupted?"
        ) from error


def dataset_of(handle: h5py.File, name: str) -> h5py.Dataset:
    """Structured dataset of a file, by name."""
    dataset = handle.get(name)
    if not isinstance(dataset, h5py.Dataset) or not dataset.dtype.names:
        there = ", ".join(difflib.get_close_matches(name, list(handle), n=8, cutoff=0.0)) or "nothing"
        raise InputError(f"{handle.filename} has no table {name}; it has {there}")
    return dataset


def read_evaluation(run: Run, file: Path, max_jets: int | None = None) -> Evaluation:
    """Read flavours and scores; all jets where ``max_jets`` is None."""
    with open_file(file) as handle:
        dataset = dataset_of(handle, run.dataset_name(run.setting("data.global_object") or "jets"))
        names = dataset.dtype.names
        model_name = _model_name(names, run.name, file)
        scores = {flavour: f"{model_name}_{score}" for flavour, score in SCORES.items()}
        missing = [scores[flavour] for flavour in NEEDED_SCORES if scores[flavour] not in names]
        if missing:
            raise InputError(
                f"{file} has {scores['b']} but not {', '.join(missing)}: a report needs b, c and light scores"
            )
        num_jets = len(dataset) if max_jets is None else min(max_jets, len(dataset))
        wanted = {*scores.values(), "flavour_label", "HadronConeExclTruthLabelID", "pt_btagJes", "pt"} & set(names)
        columns = _concatenate(_read(dataset, wanted, rows) for rows in _blocks(num_jets))
        flavour = read_flavour(dataset, columns, file)
        pt = columns.get("pt_btagJes", columns.get("pt"))
        evaluation = Evaluation(
            file=file,
            model_name=model_name,
            flavour=flavour,
            probabilities={name: columns[column] for name, column in scores.items() if column in columns},
            pt=None if pt is None else pt.astype(np.float64) / MEV_PER_GEV,
            process=_process(run, handle),
        )
    _check(evaluation)
    return evaluation


def read_flavour(dataset: h5py.Dataset, columns: dict[str, np.ndarray], file: Path) -> np.ndarray:
    """Flavour codes (N,) from ``flavour_label`` where its classes are named, else from the truth label of the cone."""
    classes = dataset.attrs.get("flavour_label")
    if classes is not None and "flavour_label" in columns:
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in np.atleast_1d(classes)]
        codes = np.array([*(CODE_OF_CLASS.get(name, OTHER) for name in names), OTHER], dtype=np.int8)
        label = columns["flavour_label"].astype(np.int64)
        return codes[np.where((label >= 0) & (label < len(names)), label, len(names))]
    if "HadronConeExclTruthLabelID" in columns:
        flavour = np.full(len(columns["HadronConeExclTruthLabelID"]), OTHER, dtype=np.int8)
        for cone_label, code in CODE_OF_CONE_LABEL.items():
            flavour[columns["HadronConeExclTruthLabelID"] == cone_label] = code
        return flavour
    raise InputError(
        f"{file} does not tell the true flavour of its jets: dataset {dataset.name} needs flavour_label with its "
        "attribute of class names, or HadronConeExclTruthLabelID (add it to extra_vars of the prediction writer)"
    )


class TrackReader:
    """Tracks of the evaluated jets; what the evaluation file leaves out comes from the test file.

    Parameters
    ----------
    run
        The run, for the names of the datasets.
    evaluation
        The evaluated jets.
    test_file
        File that was evaluated, or None where the evaluation file is all there is.
    """

    def __init__(self, run: Run, evaluation: Evaluation, test_file: Path | None) -> None:
        self._files = [evaluation.file, *([test_file] if test_file else [])]
        self._jets_name = run.dataset_name(run.setting("data.global_object") or "jets")
        self._tracks_name = run.dataset_name("tracks")
        self._num_jets = evaluation.num_jets
        if test_file:
            self._check_same_jets(evaluation.file, test_file)

    def columns(self) -> set[str]:
        """Names of all track columns that can be read."""
        found: set[str] = set()
        for file in self._files:
            with open_file(file) as handle:
                if self._tracks_name in handle:
                    found |= set(dataset_of(handle, self._tracks_name).dtype.names)
        return found

    def blocks(self, wanted: Iterable[str]) -> Iterator[tuple[slice, Tracks]]:
        """Rows and tracks of successive blocks of jets."""
        names = {*wanted, "valid", "mask"}
        with ExitStack() as stack:
            handles = [stack.enter_context(open_file(file)) for file in self._files]
            datasets = [dataset_of(handle, self._tracks_name) for handle in handles if self._tracks_name in handle]
            for rows in _blocks(self._num_jets):
                columns: dict[str, np.ndarray] = {}
                for dataset in datasets:
                    columns |= _read(dataset, (names - columns.keys()) & set(dataset.dtype.names), rows)
                yield rows, _tracks(columns, self._files[0])

    def _check_same_jets(self, evaluation_file: Path, test_file: Path) -> None:
        """Refuse a test file whose jets are not those that were evaluated."""
        with open_file(evaluation_file) as evaluated, open_file(test_file) as tested:
            ours, theirs = dataset_of(evaluated, self._jets_name), dataset_of(tested, self._jets_name)
            common = sorted(set(ours.dtype.names) & set(theirs.dtype.names))
            same = self._num_jets <= len(theirs) and all(
                np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
                for rows in _blocks(self._num_jets)
                for a, b in zip(_read(ours, common, rows).values(), _read(theirs, common, rows).values(), strict=True)
            )
        if not same:
            raise InputError(
                f"{test_file} is not the file that {evaluation_file.name} was made from (its jets differ): "
                "name the right one with --test-file FILE"
            )


def read_training_tracks(
    run: Run, file: Path, wanted: Iterable[str], max_jets: int
) -> Iterator[tuple[np.ndarray, Tracks]]:
    """Flavours (n,) and tracks of blocks spread evenly over a training file, ``max_jets`` jets in all."""
    names = {*wanted, "valid"}
    with open_file(file) as handle:
        jets = dataset_of(handle, run.dataset_name(run.setting("data.global_object") or "jets"))
        tracks = dataset_of(handle, run.dataset_name("tracks"))
        missing = sorted(names - set(tracks.dtype.names))
        if missing:
            raise InputError(
                f"{file} has no track columns {', '.join(missing)}, which the likelihood needs: "
                "name another file with --train-file FILE, or report the tagger alone with --no-likelihood"
            )
        labels = {"flavour_label", "HadronConeExclTruthLabelID"} & set(jets.dtype.names)
        num_blocks = -(-min(max_jets, len(jets)) // BLOCK)
        for block in range(num_blocks):
            start = block * len(jets) // num_blocks
            stop = min(start + min(BLOCK, max_jets // num_blocks), (block + 1) * len(jets) // num_blocks)
            rows = slice(start, stop)
            columns = _read(tracks, names, rows)
            yield read_flavour(jets, _read(jets, labels, rows), file), _tracks(columns, file)


def shares_jets(run: Run, file: Path, other: Path) -> bool:
    """Whether most of the first jets of a file are among the first of another, by all columns that both have."""
    name = run.dataset_name(run.setting("data.global_object") or "jets")
    with open_file(file) as ours, open_file(other) as theirs:
        tables = [dataset_of(handle, name) for handle in (ours, theirs)]
        common = sorted({*tables[0].dtype.names} & {*tables[1].dtype.names})
        if not common:
            return False
        few, many = (
            {row.tobytes() for row in repack_fields(table[:number][common])}
            for table, number in zip(tables, (BLOCK // 10, BLOCK), strict=True)
        )
    return len(few & many) > len(few) / 2


def count_training_jets(run: Run) -> int | None:
    """Jets that were trained on: as many as asked for, else all of the training file; None where it is not there."""
    number = run.metadata.get("num_train") or run.setting("data.num_train")
    if isinstance(number, int) and number > 0:
        return number
    try:
        with open_file(run.file_of("data.train_file", "--train-file")) as handle:
            return len(dataset_of(handle, run.dataset_name(run.setting("data.global_object") or "jets")))
    except InputError:
        return None


def _tracks(columns: dict[str, np.ndarray], file: Path) -> Tracks:
    """Split the flags from the other columns."""
    flags = {name: columns[name].astype(bool) for name in ("valid", "mask") if name in columns}
    if not flags:
        raise InputError(f"the tracks of {file} have neither valid nor mask: which slots hold a track cannot be told")
    seen = ~flags["mask"] if "mask" in flags else flags["valid"]
    real = flags.get("valid", seen)
    return Tracks({name: values for name, values in columns.items() if name not in flags}, real, real & seen)


def _blocks(num_jets: int) -> Iterator[slice]:
    """Successive rows, a block at a time; one empty block of no jets."""
    return (slice(start, min(start + BLOCK, num_jets)) for start in range(0, max(num_jets, 1), BLOCK))


def _read(dataset: h5py.Dataset, names: Iterable[str], rows: slice) -> dict[str, np.ndarray]:
    """Columns of some rows; whole records are read, as HDF5 is slow at picking fields of them."""
    records = dataset[rows]
    return {name: records[name] for name in names}


def _concatenate(blocks: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """One array a column from many blocks."""
    parts = list(blocks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _model_name(names: Iterable[str], run_name: str, file: Path) -> str:
    """Prefix of the score columns: the run's name where it is there, else the only one."""
    found = [name.removesuffix("_pb") for name in names if name.endswith("_pb")]
    if run_name in found:
        return run_name
    if len(found) != 1:
        there = f"the models {', '.join(found)}" if found else f"only the columns {', '.join(names)}"
        raise InputError(
            f"{file} has no b scores {run_name}_pb; it has {there}: evaluate a tagger with classes b, c, light"
        )
    return found[0]


def _process(run: Run, handle: h5py.File) -> str:
    """What was simulated: an attribute of the evaluation file, or of the test file, or nothing."""
    if "process" in handle.attrs:
        return str(handle.attrs["process"])
    try:
        with open_file(run.file_of("data.test_file", "--test-file")) as tested:
            return str(tested.attrs.get("process", ""))
    except InputError:
        return ""


def _check(evaluation: Evaluation) -> None:
    """Refuse jets that no rejection can be computed from."""
    counts = evaluation.counts()
    missing = [name for name in NEEDED_SCORES if counts[name] == 0]
    if missing:
        there = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise InputError(
            f"{evaluation.file} has no {' and no '.join(missing)} jets (it has {there}): "
            "evaluate a file with all of b, c and light jets, and more of them with --data.num_test=-1"
        )
    for name, values in evaluation.probabilities.items():
        num_bad = int((~np.isfinite(values)).sum())
        if num_bad:
            raise InputError(
                f"{evaluation.file}: {num_bad} of {len(values)} jets have a {evaluation.model_name}_{SCORES[name]} "
                "that is not finite; the training diverged or its inputs were not finite"
            )
