import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from salt.data.death import ended_by_signals

HEADER = "import os, signal, sys, time\nfrom salt.data.death import die_with_parent, ended_by_signals\n"

PARENT = """
parent = os.getpid()
child = os.fork()
if child == 0:
    die_with_parent(parent)
    print(os.getpid(), flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""

ELSEWHERE = "sys.platform = 'darwin'\n"

TOLD_TO_END = """
try:
    with ended_by_signals():
        print("ready", flush=True)
        time.sleep(60)
finally:
    print("tidied", flush=True)
"""

AS_LIGHTNING_DOES = """
# A handler that calls the one before it and lets the batch end; then an exit without a code.
told = []
with ended_by_signals():
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *a: (told.append(1), before(*a)))
    print("ready", flush=True)
    while not told:
        time.sleep(0.01)
    time.sleep(0.2)
    print("batch", flush=True)
    signal.signal(signal.SIGTERM, before)
    raise SystemExit
"""

AS_LIGHTNING_DOES_WITH_AN_INTERRUPT = """
with ended_by_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(1)
"""


def not_ignoring_signals():
    """What is started in the background of a script ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def start(code):
    command = [sys.executable, "-c", HEADER + code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=not_ignoring_signals)


def lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def ended(processes, seconds):
    """Whether all of them end within some seconds."""
    deadline = time.monotonic() + seconds
    while any(map(lives, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(lives, processes))


def told(code, number):
    """What a program says, after the word ready, and its exit code, when it gets a signal."""
    with start(code) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
    return said.split(), process.returncode


WHILE_OBJECTS_ARE_COLLECTED = """
import weakref
class Thing:
    pass
def collected(reference):
    if first:
        first.clear()
        print("ready", flush=True)
        time.sleep(60)
first = [True]
try:
    with ended_by_signals():
        thing = Thing()
        reference = weakref.ref(thing, collected)
        del thing
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""

AFTER_A_WORKERS_ERROR = """
def batch_ends(*arguments):
    before(*arguments)
    raise RuntimeError("DataLoader worker was killed")
with ended_by_signals():
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, batch_ends)
    print("ready", flush=True)
    time.sleep(60)
"""

WITH_DATALOADER = """
import time
from functools import partial
from pathlib import Path
import os, sys
from torch.utils.data import DataLoader
from salt.data.death import die_with_parent

def start(worker, parent):
    die_with_parent(parent)
    with Path(sys.argv[2]).open("a") as file:
        file.write(f"{os.getpid()}\\n")

class Slow:
    def __len__(self):
        return 4
    def __getitem__(self, item):
        if item > 1:
            time.sleep(60)
        return item

if __name__ == "__main__":
    loader = DataLoader(
        Slow(), None, num_workers=2, multiprocessing_context=sys.argv[1],
        worker_init_fn=partial(start, parent=os.getpid()),
    )
    batches = iter(loader)
    next(batches), next(batches)
    print("ready", flush=True)
    next(batches)
"""


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@needs_proc
@pytest.mark.parametrize(("world", "seconds"), [("", 0.5), (ELSEWHERE, 2)], ids=["linux", "elsewhere"])
def test_a_busy_worker_ends_with_its_killed_parent(world, seconds):
    with start(world + PARENT) as parent:
        worker = int(parent.stdout.readline())
        assert lives(worker)
        parent.kill()
    assert ended([worker], seconds)


@needs_proc
@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(name, marks=pytest.mark.slow) for name in ("spawn", "forkserver"))]
)
def test_busy_workers_of_a_dataloader_end_with_their_killed_parent_however_they_are_started(method, tmp_path):
    (program := tmp_path / "program.py").write_text(WITH_DATALOADER)
    command = [sys.executable, str(program), method, str(tmp_path / "workers")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        workers = [int(line) for line in (tmp_path / "workers").read_text().split()]
        assert [lives(worker) for worker in workers] == [True, True]
        parent.kill()
    assert ended(workers, 2)


@pytest.mark.parametrize("world", ["", ELSEWHERE], ids=["linux", "elsewhere"])
def test_a_worker_whose_parent_has_ended_already_ends_at_once(world):
    with start(world + "die_with_parent(os.getppid() + 1)\nprint('went on')") as worker:
        assert worker.stdout.read() == ""
    assert worker.returncode == 1


def test_who_is_told_to_end_tidies_up_and_ends_with_143():
    assert told(TOLD_TO_END, signal.SIGTERM) == (["tidied"], 143)


def test_who_is_interrupted_tidies_up():
    said, code = told(TOLD_TO_END.replace("finally", "except KeyboardInterrupt"), signal.SIGINT)
    assert (said, code) == (["tidied"], 0)


def test_a_later_handler_stays_in_charge_and_the_exit_code_is_143():
    assert told(AS_LIGHTNING_DOES, signal.SIGTERM) == (["batch"], 143)


def test_an_exit_after_an_interrupt_has_the_code_130():
    assert told(AS_LIGHTNING_DOES_WITH_AN_INTERRUPT, signal.SIGINT) == ([], 130)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_not_lost_where_python_ignores_exceptions(number, code):
    assert told(WHILE_OBJECTS_ARE_COLLECTED, number) == ([], code)


def test_other_ignored_exceptions_are_shown_as_ever(capsys):
    class Faulty:
        def __del__(self):
            raise ValueError("ignored")

    before, sys.unraisablehook = sys.unraisablehook, sys.__unraisablehook__
    try:
        with ended_by_signals():
            Faulty()
    finally:
        sys.unraisablehook = before
    assert "ValueError: ignored" in capsys.readouterr().err


def test_an_error_that_follows_the_signal_does_not_hide_it():
    assert told(AFTER_A_WORKERS_ERROR, signal.SIGTERM) == ([], 143)


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="mine"), ended_by_signals():
        raise RuntimeError("mine")


AS_A_WORKER = """
die_with_parent(os.getppid())
for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
    os.kill(os.getpid(), number)
print("ready", flush=True)
time.sleep(SECONDS)
print("worked", flush=True)
"""


def test_workers_leave_the_signals_of_a_batch_system_to_their_parent_who_ends_them_by_sigterm():
    assert told(AS_A_WORKER.replace("SECONDS", "60"), signal.SIGTERM) == ([], 0)


@pytest.mark.skipif(sys.platform != "linux", reason="who has sent a signal is told by Linux alone")
def test_workers_leave_the_sigterm_of_others_to_their_parent():
    with start(AS_A_WORKER.replace("SECONDS", "1")) as worker:
        assert worker.stdout.readline() == "ready\n"
        subprocess.run(["kill", "-TERM", str(worker.pid)], check=True)
        assert worker.communicate(timeout=30)[0] == "worked\n"
    assert worker.returncode == 0


@pytest.mark.parametrize("code", [None, 0, 3, "message"])
def test_other_exits_keep_their_code(code):
    with pytest.raises(SystemExit) as leave, ended_by_signals():
        raise SystemExit(code)
    assert leave.value.code == code


def test_afterwards_all_is_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_within_itself_it_changes_nothing():
    with ended_by_signals():
        handler = signal.getsignal(signal.SIGTERM)
        with ended_by_signals():
            assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGTERM) is handler


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
