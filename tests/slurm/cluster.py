"""A Slurm of its own on this machine: munged, slurmctld and a slurmd, with nothing in /etc, as any user.

One node, `localhost`, of 16 cores and two GPUs that are made up: nothing is behind them. Two partitions: `CPU`, the
default, where a job may have ten hours, and `GPU`. Clients need SLURM_CONF only.
"""

import ctypes
import getpass
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")

SYSTEM = "/usr/sbin:/sbin"
"""Where daemons are, which a plain user's PATH leaves out."""

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"})
"""States from which a job does not come back, but for a requeue."""

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# A requeued job has to wait for twice the life of a credential: 120 s by default, and 3 s are refused.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
EnforcePartLimits=ALL
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 Port={node} CPUs=16 RealMemory=64000 Gres=gpu:2
PartitionName=CPU Nodes=localhost Default=YES DefaultTime=10 MaxTime=600
PartitionName=GPU Nodes=localhost DefaultTime=10 MaxTime=2880
"""


def missing():
    """Programs that are not installed here."""
    return [name for name in PROGRAMS if _which(name) is None]


class Cluster:
    """A running Slurm; `close` ends it and all of its jobs.

    Its folder has a short name: sockets in it may have names of 107 characters.
    """

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.conf = self.folder / "slurm.conf"
        self._daemons = []
        self._jobs = []
        try:
            self._configure()
            self._start()
        except BaseException:
            self.close()
            raise

    def _configure(self):
        (self.folder / "state").mkdir()
        (self.folder / "spool").mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        controller, node = free_ports(2)
        host, user = platform.node().partition(".")[0], getpass.getuser()
        values = {"controller": controller, "node": node, "host": host, "user": user}
        self.conf.write_text(CONF.format(folder=self.folder, **values))
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")  # none is used, one has to be named

    def _start(self):
        options = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        self._daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *options)
        self._wait("munged", (self.folder / "munge.socket").exists)
        self._daemon("slurmctld", "-D", "-c", "-f", self.conf)
        self._daemon("slurmd", "-D", "-N", "localhost", "-f", self.conf)
        self._wait("the node", lambda: "idle" in self.run("sinfo", "-h", "-o", "%T", check=False).stdout)

    def _daemon(self, name, *arguments):
        """Start a daemon that ends when we do, however we end."""
        with (self.folder / "said").open("ab") as said:
            command = [_which(name), *map(str, arguments)]
            options = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said, "start_new_session": True}
            self._daemons.append(subprocess.Popen(command, env=self.environment(), preexec_fn=_end_with_us, **options))

    def _wait(self, what, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            dead = [daemon.args[0] for daemon in self._daemons if daemon.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not come up; ended: {dead}; logs:\n{self.logs()}")
            time.sleep(0.05)

    def environment(self, **more):
        """Variables of a shell whose Slurm this is; nothing of a Slurm around us."""
        outer = {name: value for name, value in os.environ.items() if not re.match("(SLURM|SBATCH|SRUN)_", name)}
        return {**outer, "SLURM_CONF": str(self.conf), "PATH": f"{os.environ['PATH']}:{SYSTEM}", **more}

    def run(self, *command, check=True, cwd=None, environment=None, timeout=120):
        """Run a client (or anything) to its end; gives subprocess's answer, with its output as text."""
        done = subprocess.run(
            [str(word) for word in command],
            env=self.environment(**(environment or {})),
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def submit(self, *words, cwd=None, environment=None):
        """`sbatch WORDS` (options, the script, its arguments); gives the job's id."""
        answer = self.run("sbatch", "--parsable", *words, cwd=cwd, environment=environment)
        return answer.stdout.strip().partition(";")[0]

    def show(self, job):
        """What `scontrol show job` says: name -> value; of an array the task that is named like 7_2."""
        answer = self.run("scontrol", "--oneliner", "show", "job", job)
        assert len(answer.stdout.splitlines()) == 1, answer.stdout
        return dict(re.findall(r"([\w/:]+)=(.*?)(?=\s[\w/:]+=|\s*$)", answer.stdout))

    def tasks(self, job):
        """What `show` says of each task of an array."""
        lines = self.run("scontrol", "--oneliner", "show", "job", job).stdout.splitlines()
        return [dict(re.findall(r"([\w/:]+)=(.*?)(?=\s[\w/:]+=|\s*$)", line)) for line in lines]

    def state(self, job):
        """RUNNING, PENDING, COMPLETED, ...; of an array, the state that all tasks are in, else all of them, joined."""
        return ",".join(sorted({each["JobState"] for each in self.tasks(job)}))

    def wait(self, job, states="COMPLETED", timeout=120, restarts=None):
        """Wait until a job is in (one of) these states, after so many restarts where given; gives `show`.

        Fails at once where it has ended otherwise: in a state that is not waited for and that it cannot leave.
        """
        wanted = {states} if isinstance(states, str) else set(states)
        deadline = time.monotonic() + timeout
        while True:
            shown = self.tasks(job)
            found = {each["JobState"] for each in shown}
            is_there = found <= wanted and (restarts is None or int(shown[0]["Restarts"]) >= restarts)
            if is_there:
                return shown[0]
            text = f"job {job} is {found}, not {wanted}, {shown}; it said:\n{self.said(job)}"
            assert not (found <= ENDED and restarts is None and time.monotonic() > deadline - timeout + 2), text
            assert time.monotonic() < deadline, f"{text}\n{self.logs()}"
            time.sleep(0.1)

    def said(self, job):
        """What a job has written to its stdout and stderr."""
        files = {each.get(name) for each in self.tasks(job) for name in ("StdOut", "StdErr")}
        texts = (Path(file).read_text(errors="replace") for file in sorted(filter(None, files)) if Path(file).is_file())
        return "\n".join(texts)

    def cancel(self, job, *options):
        """`scancel OPTIONS JOB`; --signal=USR1 among them sends a signal to its steps."""
        self.run("scancel", *options, job)

    def processes(self, job=None):
        """Ids of the processes of a job, or of all jobs, that live."""
        wanted = re.compile(rb"SLURM_JOB_ID=" + (str(job).encode() if job is not None else rb"\d+"))
        return [process for process, variables in self.living() if any(map(wanted.fullmatch, variables))]

    def until_gone(self, job, seconds=60):
        """Wait until nothing of a job lives; a state like CANCELLED comes first."""
        deadline = time.monotonic() + seconds
        while self.processes(job):
            assert time.monotonic() < deadline, f"{self.processes(job)} of job {job} live on; {self.said(job)}"
            time.sleep(0.1)

    def living(self):
        """Id and environment of each process that was started with our configuration, daemons too, and lives."""
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended, or is somebody else's
                variables = (path / "environ").read_bytes().split(b"\0")
                is_dead = (path / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
                if not is_dead and f"SLURM_CONF={self.conf}".encode() in variables:
                    yield int(path.name), variables

    def logs(self):
        """The end of what the daemons have to say."""
        files = [self.folder / "said", *sorted(self.folder.glob("*.log"))]
        return "\n".join(f"--- {file.name}\n{file.read_text()[-3000:]}" for file in files if file.is_file())

    def close(self):
        """Cancel all jobs, end the daemons, and whatever is still there; remove the folder."""
        if len(self._daemons) > 1:
            with suppress(subprocess.SubprocessError, OSError):
                self.run("scancel", "--full", f"--user={getpass.getuser()}", check=False, timeout=10)
                self.run("scancel", "--signal=KILL", "--full", f"--user={getpass.getuser()}", check=False, timeout=10)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process, _ in self.living():  # slurmstepd outlives its slurmd
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def free_ports(number):
    """Ports of loopback that nobody listens at."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _which(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:{SYSTEM}")


def _end_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
