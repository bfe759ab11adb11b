"""`salt test SWEEP [FILE]`: test the members of a sweep, and write the scores of their ensemble."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt.cli.members import Wanted, asked_for, chosen, config_of, same, setting
from salt.data.death import EXIT_CODES
from salt.data.ensemble import Combination, Mean, OutOfFold, owners, write_ensemble
from salt.data.evaluation import TESTED, fingerprint
from salt.data.fields import check_type
from salt.data.folds import Fold
from salt.data.names import by_nearness
from salt.data.sources import Sample, open_sample
from salt.sweeps import folder
from salt.sweeps.folder import Member
from salt.training import checkpoints

log = logging.getLogger(__name__)

TEST_FILE = "data.test_file"


def is_sweep_asked(arguments: Sequence[str]) -> bool:
    """Whether the first name of a command line is a sweep's folder."""
    return len(arguments) > 1 and not arguments[1].startswith("-") and folder.is_sweep(arguments[1])


def test_sweep(arguments: Sequence[str]) -> None:
    """Test what is not tested yet, in a process for each member, then write the ensemble."""
    asked = asked_for(arguments)
    plan = folder.read_plan(asked.sweep)
    method = str(plan.get("method"))
    members = chosen(asked, method, str(plan.get("direction", "min")))
    runs = [config_of(member, asked) for member in members]
    name = same("name", members, runs)
    file = asked.files[0] if asked.files else same(TEST_FILE, members, runs)
    with open_sample(file, TEST_FILE) as sample:
        combination = _combination(method, members, runs, sample)
        tested = fingerprint(sample, _num_jets(sample, int(setting(runs[0], "data.num_test") or -1)))
    files = [_evaluation(member, tested, asked) for member in members]
    if getattr(rank_zero_only, "rank", 0) != 0:
        return
    path = asked.sweep / f"ensemble__test_{files[0].name.partition('__test_')[2]}"
    own = [str(file.relative_to(asked.sweep)) for file in files]
    count = write_ensemble(path, files, combination, {"model": name, "members": own})
    scores = "scores of the ensemble" if combination.method == Mean.method else "out-of-fold scores"
    log.info("%s of %d members for %d jets are in %s", scores, len(members), count, path)
    if isinstance(combination, OutOfFold) and len(members) < (k := Fold.read(setting(runs[0], "data.fold")).k):
        log.warning("%d of %d folds have no finished member: their jets are left out", k - len(members), k)


def _num_jets(sample: Sample, wanted: int) -> int:
    """How many jets of the files are read."""
    return sample.num_jets if wanted < 0 else min(wanted, sample.num_jets)


def _combination(
    method: str, members: Sequence[Member], runs: Sequence[Mapping[str, Any]], sample: Sample
) -> Combination:
    """How the members' scores become those of the ensemble."""
    if method != "folds":
        return Mean()
    folds = [
        Fold.read(setting(run, "data.fold") or {}, f"data.fold of {m.run}")
        for m, run in zip(members, runs, strict=True)
    ]
    if len({(fold.variable, fold.k) for fold in folds}) > 1 or len({fold.use for fold in folds}) < len(folds):
        told = "; ".join(f"{member.run}: {fold}" for member, fold in zip(members, folds, strict=True))
        raise ValueError(f"these members do not each leave out a fold of their own: {told}")
    stream = str(setting(runs[0], "data.global_object") or "jets")
    jets = sample.table((setting(runs[0], "data.input_map") or {}).get(stream, stream), TEST_FILE)
    check_type(jets.dtype, folds[0].variable, "field", f"{jets.where}, data.fold.variable")
    return OutOfFold(owners(jets, folds))


def _evaluation(member: Member, tested: str, asked: Wanted) -> Path:
    """The evaluation file of a member's best checkpoint, made where there is none that is current."""
    checkpoint = Path(checkpoints.best(member.run).path)
    found = None if asked.options else _current(checkpoint, tested)
    if found is not None:
        log.info("member %d is tested already: %s", member.number, found)
        return found
    log.info("testing member %d: %s", member.number, member.run)
    _test(member, [*asked.files, *asked.options, f"--ckpt_path={checkpoint}"])
    found = _current(checkpoint, tested)
    if found is None:
        there = by_nearness(checkpoint.stem, [file.name for file in checkpoint.parent.glob("*.h5")])
        raise ValueError(
            f"the test of member {member.number} has left no evaluation file of {checkpoint.name}; in "
            f"{checkpoint.parent} there is {', '.join(there) or 'none'}\n"
            "  mend: its config needs the callback salt.callbacks.PredictionWriter"
        )
    return found


def _current(checkpoint: Path, tested: str) -> Path | None:
    """The newest evaluation file of a checkpoint that is of these jets, and newer than the checkpoint."""
    files = [(file.stat().st_mtime, file) for file in checkpoint.parent.glob("*__test_*.h5")]
    for written, file in sorted(files, reverse=True):
        if file.name.partition("__test_")[0] != checkpoint.stem or written < checkpoint.stat().st_mtime:
            continue
        try:
            with h5py.File(file, "r") as content:
                if content.attrs.get(TESTED) == tested:
                    return file
        except OSError:  # not whole, or not ours
            log.warning("%s is not an HDF5 file that can be read: it is not used", file)
    return None


def _test(member: Member, arguments: Sequence[str]) -> None:
    """`salt test RUN`, in a process of its own: it may start others, which find their command line in its own."""
    child = subprocess.Popen([sys.executable, "-m", "salt", "test", str(member.run), *arguments])
    try:
        code = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
    if code in EXIT_CODES.values():  # it was told to end
        raise SystemExit(code)
    if code:
        raise ValueError(
            f"member {member.number} ({member.run}) cannot be tested: its test ended with exit code {code}, and has "
            "said why above"
        )
