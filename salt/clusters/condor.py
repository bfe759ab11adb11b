"""HTCondor: a job as a submit description and the executable that it names, and how they are handed in.

Both lie in a folder of their own below the job's log_dir, with what the job prints and with HTCondor's own log.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from salt.clusters.amounts import seconds
from salt.clusters.condor_description import description, secret_variables
from salt.clusters.condor_executable import executable
from salt.clusters.job import Job

log = logging.getLogger(__name__)

SUBMITTED = re.compile(r"^(\d+)\.\d+ - \d+\.\d+$", re.MULTILINE)
"""What `condor_submit -terse` answers: the first and the last process of a cluster."""

RETURNED = re.compile(r"^005 .*\n\s*\(1\) Normal termination \(return value (\d+)\)", re.MULTILINE)
ENDED_BY_SIGNAL = re.compile(r"^005 .*\n\s*\(0\) Abnormal termination \(signal (\d+)\)", re.MULTILINE)
REMOVED = re.compile(r"^009 ", re.MULTILINE)
"""Events in HTCondor's log of a job."""

MEND = "--dry-run prints both files; submit where condor_submit is, for CERN's pool that is lxplus"


def render(job: Job) -> dict[str, str]:
    """The submit description and the executable, by their names; each rendering is a submission of its own.

    Raises
    ------
    ValueError
        Where HTCondor cannot do what the job wants.
    """
    return _files(job, secrets.token_hex(4))


def submit(job: Job) -> str:
    """Hand a job in; the number of its cluster.

    Raises
    ------
    ValueError
        As for `render`; and where HTCondor refuses, with its own words.
    FileNotFoundError
        Where there is no HTCondor.
    """
    return _submitted(job)[0]


def submit_and_wait(job: Job, tell: Callable[[str], None]) -> int:
    """Hand a job in, tell its number, and wait for its end; its exit code, of an array's processes the highest."""
    if not shutil.which("condor_wait"):
        raise FileNotFoundError(f"--wait needs condor_wait, which is not on the PATH\n  mend: leave --wait out; {MEND}")
    cluster, record = _submitted(job)
    tell(cluster)
    subprocess.run(["condor_wait", str(record)], check=True, stdout=subprocess.DEVNULL)
    return exit_code(record.read_text())


def exit_code(record: str) -> int:
    """The highest exit code that HTCondor's log of a job tells of; 1 where a process was removed.

    Parameters
    ----------
    record : str
        The text of job.log: events, each begins with its number, 005 for the end and 009 for a removal.
    """
    codes = [int(code) for code in RETURNED.findall(record)]
    codes += [128 + int(number) for number in ENDED_BY_SIGNAL.findall(record)]
    codes += [1 for _ in REMOVED.findall(record)]
    return max(codes, default=1)


def _submitted(job: Job) -> tuple[str, Path]:
    """The number of a job's cluster, and the log that HTCondor writes of it."""
    token = secrets.token_hex(4)
    files = _files(job, token)
    hand_in = _by_command if shutil.which("condor_submit") else _by_bindings
    folder = _folder(job, token)
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "job.sh").chmod(0o755)
    try:
        cluster = hand_in(folder / "job.sub")
    except (ValueError, FileNotFoundError):
        shutil.rmtree(folder)  # nobody will run it
        raise
    for name in secret_variables(os.environ):
        log.warning(
            "%s does not go with the job: HTCondor shows the variables of a job to everybody\n"
            "  mend: keep it in a file that nobody else may read, and export it in the --prelude",
            name,
        )
    log.info("files and logs of the job: %s", folder)
    return cluster, folder / "job.log"


def _files(job: Job, token: str) -> dict[str, str]:
    problems = list(_problems(job))
    if problems:
        raise ValueError("\n".join(problems))
    return {"job.sub": description(job, _folder(job, token)), "job.sh": executable(job, token)}


def _folder(job: Job, token: str) -> Path:
    """Folder of a submission, whose token tells it from others: another machine counts its clusters anew."""
    return job.log_dir / f"{job.name}-{token}"


def _problems(job: Job) -> Iterator[str]:
    """What HTCondor cannot do, each with its mend."""
    needs = job.resources
    if needs.nodes > 1:
        yield (
            f"--nodes {needs.nodes}: HTCondor gives a job one machine\n"
            "  mend: leave --nodes out and take more --gpus of one machine; several machines: salt submit slurm"
        )
    if job.after is not None:
        yield (
            f"--after {job.after}: HTCondor knows dependencies in a DAG only\n"
            "  mend: --dry-run each job, write the files, and a DAG for condor_submit_dag: "
            "JOB A a/job.sub, JOB B b/job.sub, PARENT A CHILD B"
        )
    yield from _problems_of_time(job)
    texts = (job.name, str(job.log_dir), *needs.extra, *filter(None, (needs.account, needs.constraint)))
    for text in texts:
        if "\n" in text:
            yield f"{text!r} has a line break, which ends a command of HTCondor\n  mend: one line, each its own --extra"


def _problems_of_time(job: Job) -> Iterator[str]:
    time = job.resources.time
    if job.signal_before and time is None:
        yield (
            f"--signal-before {job.signal_before} has no time limit that it could be before\n"
            "  mend: give --time, or leave --signal-before out"
        )
    if time is not None and job.signal_before * 60 >= seconds(time):
        yield (
            f"--signal-before {job.signal_before} (minutes) is not before the end of --time {time}\n"
            "  mend: a longer --time, or a smaller --signal-before"
        )


def _by_command(file: Path) -> str:
    answer = subprocess.run(["condor_submit", "-terse", str(file)], capture_output=True, text=True, check=False)
    found = SUBMITTED.search(answer.stdout)
    if answer.returncode or found is None:
        raise ValueError(f"condor_submit refuses the job:\n{_indented(answer.stderr or answer.stdout)}")
    return found[1]


def _by_bindings(file: Path) -> str:
    try:
        import htcondor2
    except ImportError:
        raise FileNotFoundError(
            "there is no HTCondor here: condor_submit is not on the PATH, and Python has no module htcondor2\n"
            f"  mend: {MEND}"
        ) from None
    try:
        schedd = htcondor2.Schedd()
    except htcondor2.HTCondorException as error:
        raise FileNotFoundError(
            "there is no HTCondor here: condor_submit is not on the PATH, and the bindings say:\n"
            f"{_indented(str(error))}\n  mend: {MEND}"
        ) from error
    try:
        return str(schedd.submit(htcondor2.Submit(file.read_text())).cluster())
    except (htcondor2.HTCondorException, ValueError, RuntimeError) as error:
        raise ValueError(f"HTCondor refuses the job:\n{_indented(str(error))}") from error


def _indented(words: str) -> str:
    return "\n".join(f"  {line}" for line in words.strip().splitlines())
