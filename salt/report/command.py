"""``salt report RUN``: from a run, or a sweep, to a page that tells what the training achieved."""

import argparse
import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salt.report.run import Run

logger = logging.getLogger(__name__)

BAD_INPUT = 2
"""Exit code for input that cannot be reported."""
SEED = 42
"""Of the bootstrap, so that two reports of one run are equal."""
TEMPLATE_JETS = 100_000
"""Training jets for the templates of the likelihood; from 30k to 60k its area under the curve grew by 0.001."""


def parser() -> argparse.ArgumentParser:
    """Command line of ``salt report``."""
    options = argparse.ArgumentParser(
        prog="salt report",
        description="Compare a tested tagger with a likelihood of impact parameters: numbers, figures and one page.",
    )
    options.add_argument("run", metavar="RUN", type=Path, help="run or sweep, tested with `salt test RUN`")
    options.add_argument(
        "--eval", metavar="FILE", type=Path,
        help="evaluation file (default: newest RUN/ckpts/*__test_*.h5, or SWEEP/ensemble__test_*.h5)",
    )  # fmt: skip
    options.add_argument("--out", metavar="DIR", type=Path, help="where to write (default: RUN/report)")
    options.add_argument(
        "--train-file", metavar="FILE", type=Path,
        help="templates of the likelihood (default: data.train_file of the run)",
    )  # fmt: skip
    options.add_argument(
        "--test-file", metavar="FILE", type=Path,
        help="tracks, where the evaluation file lacks some (default: data.test_file of the run)",
    )  # fmt: skip
    options.add_argument(
        "--fc",
        metavar="FRACTION",
        type=_fraction,
        default=0.05,
        help="charm fraction of the discriminant (default: 0.05)",
    )
    options.add_argument("--jets", metavar="N", type=_positive, help="use the first N jets only (default: all)")
    options.add_argument("--no-likelihood", action="store_true", help="report the tagger alone")
    return options


def main(argv: list[str]) -> int:
    """Write the report that the arguments ask for; the exit code is 2 for what cannot be read or written."""
    options = parser().parse_args(argv)
    from salt.report.run import InputError

    try:
        page, table = write_report(options)
    except (InputError, OSError) as error:
        sys.stderr.write(f"salt report: {error}\n")
        return BAD_INPUT
    sys.stdout.write(f"{table}\n\nPage: {page}\n")
    return 0


def write_report(options: argparse.Namespace) -> tuple[Path, str]:
    """Measure, draw and write; the page and the table for the terminal."""
    import numpy as np

    from salt.report import comparison, evaluation, member_plots, page, plots
    from salt.report.run import read_run
    from salt.report.spread import figures as spread_figures
    from salt.report.spread import measure
    from salt.report.spread_table import spread_text
    from salt.report.sweep import is_sweep, read_sweep

    sweep = read_sweep(options.run, options.eval) if is_sweep(options.run) else None
    run = sweep.run if sweep else read_run(options.run)
    evaluated = evaluation.read_evaluation(
        run, sweep.file if sweep else options.eval or run.evaluation_file(), options.jets
    )
    likelihoods, tally = _read_tracks(run, evaluated, options)
    generator = np.random.default_rng(SEED)
    compared = comparison.compare(evaluated, likelihoods, tally, options.fc, generator, sweep.name if sweep else None)
    spread = measure(sweep, compared, options.jets, generator) if sweep else None
    pictures = [*(member_plots.draw(compared, spread) if spread else []), *plots.draw(run, compared)]
    files = {f"{picture.name}.png": picture.png for picture in pictures}
    num_training_jets = evaluation.count_training_jets(run)
    numbers = comparison.figures(compared) | {"num_training_jets": num_training_jets}
    numbers |= {"ensemble": spread_figures(spread)} if spread else {}
    numbers["files"] = sorted([*files, "figures.json", "index.html"])
    files["figures.json"] = (json.dumps(numbers, indent=1, allow_nan=False) + "\n").encode()
    files["index.html"] = page.render(run, compared, pictures, num_training_jets, spread).encode()
    out = options.out or options.run / "report"
    publish(files, out)
    told = [page.text_table(compared), *([spread_text(compared, spread)] if spread else [])]
    return out / "index.html", "\n\n".join(told)


def _read_tracks(run: "Run", evaluated: Any, options: argparse.Namespace) -> tuple[Any, Any]:
    """Log-likelihoods (N, 3), or None, and the tally of track predictions, in one pass over the tracks."""
    import numpy as np

    from salt.report import likelihood
    from salt.report.evaluation import TrackReader, read_training_tracks
    from salt.report.run import InputError
    from salt.report.truth import TrackTally

    reader = TrackReader(run, evaluated, None)
    needed = set() if options.no_likelihood or _is_trained_on(run, evaluated, options) else {*likelihood.COLUMNS}
    if needed - reader.columns():
        reader = TrackReader(run, evaluated, options.test_file or run.file_of("data.test_file", "--test-file"))
        if missing := sorted(needed - reader.columns()):
            raise InputError(
                f"neither {evaluated.file} nor the test file has the track columns {', '.join(missing)}, which the "
                "likelihood needs: report the tagger alone with --no-likelihood"
            )
    tally = TrackTally(evaluated.model_name, reader.columns())
    if not needed | tally.wanted():
        return None, tally
    baseline = None
    if needed:
        train_file = options.train_file or run.file_of("data.train_file", "--train-file")
        logger.info("counting the likelihood's templates in %s", train_file)
        baseline = likelihood.fit_likelihood(read_training_tracks(run, train_file, needed, TEMPLATE_JETS))
    scores = []
    for rows, tracks in reader.blocks(needed | tally.wanted()):
        tally.add(evaluated.flavour[rows], tracks)
        if baseline:
            scores.append(baseline.scores(tracks))
    return (np.concatenate(scores) if scores else None), tally


def _is_trained_on(run: "Run", evaluated: Any, options: argparse.Namespace) -> bool:
    """Whether a sweep has tested the jets from which the likelihood would learn, unlike its members: no fair match."""
    from salt.report.evaluation import shares_jets
    from salt.report.run import InputError
    from salt.report.sweep import is_sweep

    if not is_sweep(options.run):
        return False
    try:
        train_file = options.train_file or run.file_of("data.train_file", "--train-file")
    except InputError:  # which is told where the likelihood is made
        return False
    if not shares_jets(run, evaluated.file, train_file):
        return False
    logger.warning(
        "%s holds jets of %s, from which the likelihood would learn: it is left out; "
        "--train-file FILE has it learn from others", evaluated.file, train_file,
    )  # fmt: skip
    return True


def publish(files: dict[str, bytes], out: Path) -> None:
    """Write the files beside ``out`` first and move them in when whole; the page comes last.

    Files of an earlier report that this one does not make are removed; anything else in ``out`` stays.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    draft.mkdir()
    try:
        for name, content in files.items():
            (draft / name).write_bytes(content)
        stale = _earlier_files(out) - files.keys()
        out.mkdir(exist_ok=True)
        for name in files:
            (draft / name).replace(out / name)
        for name in stale:
            (out / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(draft)


def _earlier_files(out: Path) -> set[str]:
    """Names that an earlier report in ``out`` lists as its own."""
    try:
        names = json.loads((out / "figures.json").read_text()).get("files", [])
    except (OSError, ValueError, AttributeError):
        return set()
    return {name for name in names if Path(name).name == name}


def _fraction(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not a fraction between 0 and 1")
    return value


def _positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of jets above 0")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
