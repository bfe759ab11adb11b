"""The executable of a job of HTCondor: what runs on the node, and what its exit code tells HTCondor."""

from __future__ import annotations

import shlex

from salt.clusters.amounts import seconds
from salt.clusters.condor_description import CHECKPOINTED
from salt.clusters.job import Job, command_line, stage_lines
from salt.data.death import TO_BE_CONTINUED

TEMPLATE = """\
#!/bin/bash
# One process of a job of HTCondor: job.sh CLUSTER PROCESS. Written by `salt submit condor`.
export SALT_JOB_ID="condor-{token}-$1.$2" SALT_TASK="$2" OMP_WAIT_POLICY=PASSIVE
# HTCondor sets both to all cores of the job, for each of its ranks
export OMP_NUM_THREADS={cpus} MKL_NUM_THREADS={cpus}
cd {directory} || exit 1
{environment}

{clock}
# HTCondor signals this shell, or all of its processes; to salt a second signal means nothing. No $(...) from here on:
# a trap that interrupts bash at one is lost.
salt= told=
forward() {{ told="$1"; [ -z "$salt" ] || kill -s "$1" "$salt"; }} 2> /dev/null
for signal in TERM USR1 USR2; do trap "forward $signal" "$signal"; done
trap 'limit=yes; forward USR1' ALRM
wake() {{ sleep "$1" & trap "kill $!" TERM; wait "$!" && kill -s ALRM $$; }}
[ -z "$left" ] || {{ wake "$left" & clock=$!; }}

# A shell that nothing interrupts waits for salt, and tells its number and its exit code: bash forgets the exit code of
# a process that ends while a trap interrupts the wait for it.
exec 4>&1
exec 3< <(
    {command} >&4 4>&- &
    trap '' TERM USR1 USR2
    echo "$!"
    wait "$!"
    echo "$?"
)
keeper=$!
exec 4>&-
read -r salt <&3
[ -z "$told" ] || forward "$told"
read -r code <&3
wait "$keeper"
[ -z "$clock" ] || kill "$clock" 2> /dev/null
case "$code:$told" in
    138:* | 140:* | :USR?) code={continued} ;;  # SIGUSR1, SIGUSR2: before there was anything to save
    :TERM) code=143 ;;
    :) code=1 ;;
esac
if [ "$code" -eq {continued} ] && [ -z "$limit" ]; then exit {checkpointed}; fi
[ -z "$began" ] || rm -f "$began"
exit "$code"
"""

CLOCK = """\
# {minutes} minutes before the run time ends salt is told to save; the job is queued again then.
limit= clock=
began="${{_CONDOR_SCRATCH_DIR:-/tmp}}/$SALT_JOB_ID.began"  # there still where HTCondor began it again in its place
[ -s "$began" ] || date +%s > "$began"
left=$(({seconds} + $(cat "$began") - $(date +%s)))
if [ "$left" -le 0 ]; then rm -f "$began"; exit {continued}; fi
"""

NO_CLOCK = """\
limit= clock= began= left=
"""


def executable(job: Job, token: str) -> str:
    """The text of job.sh.

    Parameters
    ----------
    job : Job
        One that HTCondor can run.
    token : str
        Tells the submission from all others; part of SALT_JOB_ID, by which a fit finds its run.
    """
    return TEMPLATE.format(
        token=token,
        cpus=job.resources.cpus,
        directory=shlex.quote(str(job.directory)),
        environment="\n".join([*job.environment.lines(), *stage_lines(job)]),
        command=command_line(job),
        clock=_clock(job),
        continued=TO_BE_CONTINUED,
        checkpointed=CHECKPOINTED,
    )


def _clock(job: Job) -> str:
    """What watches the time limit, where there is one and salt is to save before it."""
    if not (job.signal_before and job.resources.time):
        return NO_CLOCK
    runs_for = seconds(job.resources.time) - 60 * job.signal_before
    return CLOCK.format(minutes=job.signal_before, seconds=runs_for, continued=TO_BE_CONTINUED)
