import importlib.util
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from salt.clusters import condor
from salt.clusters.environments import Environment
from salt.clusters.job import Job, Resources

NOW = 60


@pytest.fixture
def job(tmp_path):
    """A job whose program is called `salt`, in a folder that is first on the PATH."""
    prelude = tmp_path / "prelude.sh"
    prelude.write_text(f"export PATH={tmp_path / 'bin'}:$PATH\n")
    environment = Environment("none", prelude=str(prelude))
    return Job("demo", "fit", environment=environment, log_dir=tmp_path / "jobs", directory=tmp_path)


@pytest.fixture
def htcondor(monkeypatch):
    """HTCondor's own parser of submit files."""
    if importlib.util.find_spec("htcondor2") is None:
        (pytest.fail if os.environ.get("SALT_CI") == "1" else pytest.skip)("htcondor is not installed")
    monkeypatch.setenv("CONDOR_CONFIG", "ONLY_ENV")
    import htcondor2

    return htcondor2


def processes(htcondor, job):
    """What HTCondor makes of the description for each process, in cluster 17: its commands, macros expanded."""
    text = condor.render(job)["job.sub"]
    described = htcondor.Submit(text)
    described["ClusterId"] = "17"
    found = []
    for process in range(int(described.getQArgs())):
        described["ProcId"] = str(process)
        found.append({key: described.expand(key) for key in described})
    return found


def described(htcondor, job):
    (process,) = processes(htcondor, job)
    return process


def is_over(htcondor, job, **ended):
    """Whether HTCondor takes a job that ended so out of its queue, by its own evaluation."""
    import classad2

    ad = classad2.ClassAd({"ExitBySignal": False, "NumJobCompletions": 1, **ended})
    ad["OnExitRemove"] = classad2.ExprTree(described(htcondor, job)["on_exit_remove"])
    return ad.eval("OnExitRemove")


# The description


def test_needs_of_a_job_are_commands_that_htcondor_knows(htcondor, job):
    resources = Resources(gpus=2, gpu_type="a100", cpus=3, memory="16G", time="1-02:00:00", account="group_u_ATLAS.all",
                          constraint='OpSysAndVer == "AlmaLinux9"')  # fmt: skip
    found = described(htcondor, replace(job, resources=resources))
    assert found["universe"] == "vanilla"
    assert (found["request_GPUs"], found["request_CPUs"], found["request_memory"]) == ("2", "6", "16384")
    assert found["MY.MaxRuntime"] == str(26 * 3600)
    assert found["require_gpus"] == 'regexp("a100", DeviceName, "i")'
    assert found["requirements"] == 'OpSysAndVer == "AlmaLinux9"'
    assert found["accounting_group"] == "group_u_ATLAS.all"


def test_what_nobody_asks_for_is_not_requested(htcondor, job):
    found = described(htcondor, job)
    assert not {"request_GPUs", "request_memory", "MY.MaxRuntime", "requirements", "accounting_group"} & found.keys()


def test_files_of_a_submission_lie_in_a_folder_of_its_own(htcondor, job):
    first, second = described(htcondor, job), described(htcondor, job)
    folder = Path(first["executable"]).parent
    assert folder.parent == job.log_dir
    assert first["initialdir"] == str(folder)
    assert {Path(first[key]).parent for key in ("output", "error", "log")} == {folder}
    assert Path(second["executable"]).parent != folder


def test_files_stay_on_the_shared_file_system(htcondor, job):
    found = described(htcondor, job)
    assert (found["should_transfer_files"], found["when_to_transfer_output"]) == ("IF_NEEDED", "ON_EXIT")
    assert found["transfer_output_files"] == '""'


def test_each_process_of_an_array_has_its_number_and_its_own_output(htcondor, job):
    found = processes(htcondor, replace(job, array=3))
    assert [each["arguments"] for each in found] == ["17 0", "17 1", "17 2"]
    assert [Path(each["output"]).name for each in found] == ["17.0.out", "17.1.out", "17.2.out"]


def test_a_dollar_in_a_path_is_no_macro(htcondor, job):
    found = described(htcondor, replace(job, log_dir=Path("/x/$(ProcId)/$ENV(HOME)")))
    assert found["initialdir"].startswith("/x/$(ProcId)/$ENV(HOME)/demo-")


def test_extra_lines_come_last_and_count(htcondor, job):
    resources = Resources(cpus=2, extra=('+JobFlavour = "workday"', "request_CPUs = 8"))
    found = described(htcondor, replace(job, resources=resources))
    assert found["MY.JobFlavour"] == '"workday"'
    assert found["request_CPUs"] == "8"


def test_variables_that_configure_a_run_go_along_and_secret_ones_do_not(htcondor, job, monkeypatch):
    for name in ("PL_TRAINER__MAX_EPOCHS", "SALT_STORE", "COMET_WORKSPACE", "PL_TRAINER__LOGGER__API_KEY",
                 "COMET_API_KEY", "WANDB_API_KEY", "SALT_JOB_ID", "UNRELATED"):  # fmt: skip
        monkeypatch.setenv(name, f"value of {name}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:word@server")
    files = condor.render(job)
    named = set(described(htcondor, job)["getenv"].split(", "))
    assert {"PL_TRAINER__MAX_EPOCHS", "SALT_STORE", "COMET_WORKSPACE"} <= named
    secret = {"PL_TRAINER__LOGGER__API_KEY", "COMET_API_KEY", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"}
    assert not named & {*secret, "SALT_JOB_ID", "UNRELATED"}
    assert not any("value of" in text or "word@" in text for text in files.values())


# What becomes of a job that ended


@pytest.mark.parametrize("code", [0, 1, 2, 127])
def test_a_job_that_ended_is_over(htcondor, job, code):
    assert is_over(htcondor, replace(job, max_restarts=3), ExitCode=code)


def test_a_job_that_saved_for_its_time_limit_is_queued_again_however_often(htcondor, job):
    assert not is_over(htcondor, job, ExitCode=75, NumJobCompletions=50)


@pytest.mark.parametrize("ended", [{"ExitCode": 137}, {"ExitBySignal": True, "ExitSignal": 9}])
def test_a_job_that_was_killed_is_queued_again_as_often_as_asked(htcondor, job, ended):
    twice = replace(job, max_restarts=2)
    assert [is_over(htcondor, twice, NumJobCompletions=n, **ended) for n in (1, 2, 3)] == [False, False, True]
    assert is_over(htcondor, job, **ended)


def test_the_exit_code_of_a_checkpoint_is_that_of_the_executable(htcondor, job):
    code = described(htcondor, job)["checkpoint_exit_code"]
    assert f"exit {code}" in condor.render(job)["job.sh"]


# Refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resources": Resources(nodes=2)}, "--nodes 2: HTCondor gives a job one machine"),
        ({"after": "12:afterok"}, "DAG"),
        ({"signal_before": 5}, "--signal-before 5 has no time limit"),
        ({"signal_before": 5, "resources": Resources(time="5")}, "is not before the end of --time 5"),
        ({"resources": Resources(extra=("a = b\nqueue 900",))}, "line break"),
    ],
)
def test_what_htcondor_cannot_do_is_refused_with_a_mend(job, change, words):
    with pytest.raises(ValueError) as error:
        condor.render(replace(job, **change))
    assert words in str(error.value)
    assert "mend:" in str(error.value)


def test_all_that_is_wrong_is_said_at_once(job):
    with pytest.raises(ValueError) as error:
        condor.render(replace(job, after="12", resources=Resources(nodes=2)))
    assert str(error.value).count("mend:") == 2


# Submitting


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A `condor_submit` that answers as told; it keeps what it was given."""
    folder = tmp_path / "pool"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def answer(program, script):
        (folder / program).write_text(f"#!/bin/bash\n{script}\n")
        (folder / program).chmod(0o755)

    return answer


def test_without_any_htcondor_the_mend_is_a_dry_run(job, htcondor):
    assert shutil.which("condor_submit") is None
    with pytest.raises(FileNotFoundError) as error:
        condor.submit(job)
    assert "Unable to locate local daemon" in str(error.value)
    assert "mend: --dry-run" in str(error.value)
    assert list(job.log_dir.iterdir()) == []


def test_without_the_bindings_too_the_mend_is_the_same(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "htcondor2", None)
    with pytest.raises(FileNotFoundError, match="mend: --dry-run"):
        condor.submit(job)


def test_submitting_writes_the_files_and_answers_the_cluster(job, pool, htcondor):
    pool("condor_submit", 'cp "$2" "$2.seen"; [ "$1" = -terse ] && echo "4711.0 - 4711.2"')
    assert condor.submit(job) == "4711"
    (folder,) = job.log_dir.iterdir()
    assert htcondor.Submit((folder / "job.sub.seen").read_text())["executable"] == str(folder / "job.sh")
    assert os.access(folder / "job.sh", os.X_OK)


def test_a_refusal_is_told_in_htcondors_words_and_leaves_nothing(job, pool):
    pool("condor_submit", 'echo "ERROR: Failed to commit job submission into the queue." >&2; exit 1')
    with pytest.raises(ValueError, match="ERROR: Failed to commit job submission into the queue"):
        condor.submit(job)
    assert list(job.log_dir.iterdir()) == []


def test_submitting_warns_of_a_key_that_stays_behind(job, pool, monkeypatch, caplog):
    pool("condor_submit", 'echo "1.0 - 1.0"')
    monkeypatch.setenv("COMET_API_KEY", "abc")
    with caplog.at_level(logging.WARNING):
        condor.submit(job)
    assert "COMET_API_KEY does not go with the job" in caplog.text
    assert "abc" not in caplog.text


USAGE = "".join(f"\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  {each} Usage\n" for each in (
    "Run Remote", "Run Local", "Total Remote", "Total Local"))  # fmt: skip
BYTES = "".join(f"\t0  -  {each} By Job\n" for each in (
    "Run Bytes Sent", "Run Bytes Received", "Total Bytes Sent", "Total Bytes Received"))  # fmt: skip
WHEN = "(012.000.000) 2026-11-22 10:00:00"
RAN = f"001 {WHEN} Job executing on host: <127.0.0.1:9618>\n...\n"
RETURNED = f"005 {WHEN} Job terminated.\n\t(1) Normal termination (return value %d)\n{USAGE}{BYTES}...\n"
KILLED = f"005 {WHEN} Job terminated.\n\t(0) Abnormal termination (signal 9)\n\t(0) No core file\n{USAGE}{BYTES}...\n"
REMOVED = f"009 {WHEN} Job was aborted.\n\tvia condor_rm (by user x)\n...\n"


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([RAN, RETURNED % 0], 0),
        ([RETURNED % 0, RETURNED % 2], 2),
        ([RETURNED % 2, KILLED, RETURNED % 0], 137),
        ([RETURNED % 0, REMOVED], 1),
        ([RAN], 1),
    ],
)
def test_the_exit_code_is_read_from_the_log_of_a_job(events, code):
    assert condor.exit_code("".join(events)) == code


def test_htcondor_reads_the_log_in_the_same_way(htcondor, tmp_path):
    (tmp_path / "job.log").write_text("".join([RAN, RETURNED % 3, KILLED, REMOVED]))
    ran, returned, killed, removed = htcondor.JobEventLog(str(tmp_path / "job.log")).events(stop_after=0)
    assert ran.type == htcondor.JobEventType.EXECUTE
    assert (returned["TerminatedNormally"], returned["ReturnValue"]) == (True, 3)
    assert (killed["TerminatedNormally"], killed["TerminatedBySignal"]) == (False, 9)
    assert removed.type == htcondor.JobEventType.JOB_ABORTED


def test_waiting_tells_the_number_first_and_answers_the_exit_code(job, pool):
    pool("condor_submit", 'echo "12.0 - 12.0"')
    pool("condor_wait", f"cat > \"$1\" <<'END'\n{RETURNED % 3}END")
    told = []
    assert condor.submit_and_wait(job, told.append) == 3
    assert told == ["12"]


def test_waiting_without_condor_wait_is_refused_before_anything_is_submitted(job, pool):
    pool("condor_submit", f"touch {job.directory}/submitted")
    with pytest.raises(FileNotFoundError, match="--wait needs condor_wait"):
        condor.submit_and_wait(job, print)
    assert not (job.directory / "submitted").exists()


# The executable


class Start:
    """A start of the executable, as HTCondor does it: the same file and arguments each time, a sandbox of its own."""

    def __init__(self, job, arguments, script, sandbox):
        self.file = job.directory / "job.sh"
        self.file.write_text(script)
        self.file.chmod(0o755)
        self.output = (job.directory / "output").open("a+")
        sandbox.mkdir(exist_ok=True)
        environment = {**os.environ, "_CONDOR_SCRATCH_DIR": str(sandbox), "TMPDIR": str(sandbox)}
        self.process = subprocess.Popen(
            [self.file, *arguments.split()], cwd=sandbox, env=environment, stdout=self.output, stderr=self.output,
            start_new_session=True,
        )  # fmt: skip

    @property
    def said(self):
        return Path(self.output.name).read_text()

    def wait_for(self, words, seconds=NOW):
        deadline = time.monotonic() + seconds
        while not re.search(words, self.said):
            assert self.process.poll() is None, f"ended with {self.process.returncode} before {words}: {self.said}"
            assert time.monotonic() < deadline, f"never said {words}: {self.said}"
            time.sleep(0.01)

    def ended(self, seconds=NOW):
        """Its exit code, once all of its processes are gone."""
        code = self.process.wait(seconds)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                return code
            time.sleep(0.01)
        raise AssertionError("a process stayed")


@pytest.fixture
def start(tmp_path):
    starts = []

    def begin(job, arguments="17 0", script=None, sandbox="sandbox"):
        starts.append(Start(job, arguments, script or condor.render(job)["job.sh"], tmp_path / sandbox))
        return starts[-1]

    yield begin
    for each in starts:
        each.output.close()
        try:
            os.killpg(each.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        each.process.wait()


@pytest.fixture
def program(tmp_path):
    """Make the program `salt` that a job runs."""

    def write(script):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "salt").write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / "bin" / "salt").chmod(0o755)

    return write


SAVES = f"""exec {sys.executable} -c '
import signal, sys, time
def told(number, frame):
    for each in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    print("told", flush=True)
    sys.exit({{signal.SIGUSR1: 75, signal.SIGTERM: 143}}[number])
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, told)
print("ready", flush=True)
time.sleep({NOW})'"""
"""A program that saves when it is told to; as to salt, a second signal means nothing to it."""


@pytest.mark.parametrize("code", [0, 1, 2, 137])
def test_other_exit_codes_are_those_of_salt(job, program, start, code):
    program(f"exit {code}")
    assert start(job).ended() == code


def test_a_run_that_saved_is_a_checkpoint_to_htcondor(job, program, start):
    program("exit 75")
    assert start(job).ended() == 85


@pytest.mark.parametrize("signal", ["USR1", "USR2"])
def test_a_run_that_was_told_to_save_before_it_could_listen_begins_again(job, program, start, signal):
    program(f"kill -s {signal} $$")
    assert start(job).ended() == 85


def test_a_signal_to_the_executable_reaches_salt_and_its_answer_counts(job, program, start):
    program(SAVES)
    began = start(job)
    began.wait_for("ready")
    began.process.send_signal(signal.SIGUSR1)
    assert began.ended() == 85


def test_a_signal_to_all_processes_is_no_other(job, program, start):
    program(SAVES)
    began = start(job)
    began.wait_for("ready")
    os.killpg(began.process.pid, signal.SIGTERM)
    assert began.ended() == 143


def test_the_exit_code_of_a_process_that_ends_while_its_shell_is_told_to_is_not_lost(job, program, start):
    program(f"echo ready; exec sleep {NOW}")
    for _ in range(6):  # bash lost most, not all, where a trap interrupted its wait
        began = start(job)
        began.output.truncate(0)
        began.wait_for("ready")
        os.killpg(began.process.pid, signal.SIGTERM)
        assert began.ended() == 143


def test_before_its_time_is_over_a_job_saves_and_is_queued_again(job, program, start):
    program(SAVES)
    limited = replace(job, signal_before=1, resources=Resources(time="1:04"))
    began = start(limited)
    began.wait_for("told")
    assert began.ended() == 75


def test_the_time_of_a_job_that_was_begun_again_in_its_place_counts_from_its_first_start(job, program, start):
    program(SAVES)
    limited = replace(job, signal_before=1, resources=Resources(time="1:30:00"))
    script = condor.render(limited)["job.sh"]
    began = start(limited, script=script)
    began.wait_for("ready")
    began.process.send_signal(signal.SIGUSR1)
    assert began.ended() == 85
    (mark,) = (job.directory / "sandbox").glob("*.began")
    mark.write_text(str(int(mark.read_text()) - 5400))  # an hour and a half ago
    assert start(limited, script=script).ended() == 75
    assert not mark.exists()


def test_a_job_that_ends_before_its_time_leaves_nothing_waiting(job, program, start):
    program("exit 0")
    limited = replace(job, signal_before=1, resources=Resources(time="1:30:00"))
    assert start(limited).ended() == 0
    assert list((job.directory / "sandbox").iterdir()) == []


def test_processes_of_an_array_know_their_number_and_the_id_that_all_their_starts_have(job, program, start, htcondor):
    program('echo "$SALT_JOB_ID $SALT_TASK $*"')
    array = replace(job, array=2, arguments=("--seed_everything={task}",))
    script = condor.render(array)["job.sh"]
    for each in [*processes(htcondor, array), processes(htcondor, array)[1]]:
        assert start(array, each["arguments"], script).ended() == 0
    said = [line.split() for line in (job.directory / "output").read_text().splitlines()]
    assert [line[1] for line in said] == ["0", "1", "1"]
    assert [line[3] for line in said] == ["--seed_everything=0", "--seed_everything=1", "--seed_everything=1"]
    assert re.fullmatch(r"condor-[0-9a-f]{8}-17\.1", said[1][0])
    assert said[0][0] != said[1][0] == said[2][0]


def test_ranks_share_the_cores_of_a_job(job, program, start, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")  # as HTCondor does for a job of 8 cores
    monkeypatch.setenv("MKL_NUM_THREADS", "8")
    program('echo "threads: $OMP_NUM_THREADS $MKL_NUM_THREADS"')
    began = start(replace(job, resources=Resources(tasks=4, cpus=2)))
    assert began.ended() == 0
    assert began.said == "threads: 2 2\n"


def test_a_container_is_entered_inside_the_executable(job):
    environment = Environment("apptainer", "/cvmfs/salt.sif", binds=("/eos", "/afs"), gpus=True)
    script = condor.render(replace(job, environment=environment, resources=Resources(gpus=1)))["job.sh"]
    assert "apptainer exec --nv --bind=/eos --bind=/afs /cvmfs/salt.sif salt fit" in script


# The real program


@pytest.fixture
def training(tmp_path):
    """A training on the packaged sample."""
    arguments = ("--config", "simple.yaml", "--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1")
    environment = Environment("venv", sys.prefix)
    return Job("simple", "fit", arguments, environment=environment, log_dir=tmp_path / "jobs", directory=tmp_path)


def runs(job):
    return [path.parent for path in (job.directory / "logs").glob("simple_*/metadata.yaml")]


@pytest.mark.slow
def test_the_executable_trains_on_the_sample(training, start, htcondor):
    quick = replace(
        training, arguments=(*training.arguments, "--trainer.max_steps=2"), stage="$TMPDIR/salt-$SALT_JOB_ID"
    )
    began = start(quick, described(htcondor, quick)["arguments"])
    assert began.ended(120) == 0, began.said
    (run,) = runs(quick)
    assert list((run / "ckpts").glob("*.ckpt"))
    stage = Path(yaml.safe_load((run / "config.yaml").read_text())["data"]["move_files_temp"])
    assert re.fullmatch(r"salt-condor-\w+-17\.0", stage.name)
    assert stage.parent.is_dir()
    assert not stage.exists()


def checkpoints(job):
    return {path.name for path in job.directory.glob("logs/*/ckpts/*.ckpt")}


@pytest.mark.slow
def test_a_training_that_is_stopped_and_evicted_goes_on_in_its_own_run(training, start):
    long = replace(training, arguments=(*training.arguments, "--trainer.max_epochs=3"))
    script = condor.render(long)["job.sh"]
    for tell, code in (
        (lambda process: process.send_signal(signal.SIGUSR1), 85),
        (lambda process: os.killpg(process.pid, signal.SIGTERM), 143),
    ):
        before = checkpoints(long)
        began = start(long, script=script)
        deadline = time.monotonic() + 120
        while checkpoints(long) <= before:
            assert began.process.poll() is None, began.said
            assert time.monotonic() < deadline, began.said
            time.sleep(0.02)
        tell(began.process)
        assert began.ended(120) == code, began.said
        (run,) = runs(long)
        assert yaml.safe_load((run / "state.yaml").read_text())["state"] != "finished"
    again = start(long, script=script)
    assert again.ended(240) == 0, again.said
    assert runs(long) == [run]
    assert yaml.safe_load((run / "state.yaml").read_text())["state"] == "finished"
