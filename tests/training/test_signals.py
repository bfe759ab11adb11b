import signal
import subprocess
import sys
import threading
import time

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from salt.training.signals import DOOR, Agreement, Stop

CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75), (signal.SIGUSR2, 75)]


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_ends_what_nobody_looks_after_at_once_with_its_code(number, code):
    tidied = []
    with pytest.raises(Stop) as stop, DOOR.opened():
        try:
            signal.raise_signal(number)
            pytest.fail("went on")
        finally:
            tidied.append(True)
    assert tidied
    assert stop.value.code == code
    assert stop.value.number == number


@pytest.mark.parametrize("number", [number for number, _ in CODES])
def test_a_signal_is_but_kept_while_somebody_looks(number):
    with DOOR.opened():
        DOOR.look()
        signal.raise_signal(number)
        assert DOOR.received == number


def test_a_second_interrupt_stops_at_once():
    with pytest.raises(Stop), DOOR.opened():
        DOOR.look()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_further_signals_of_a_batch_system_mean_nothing():
    with DOOR.opened():
        DOOR.look()
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        assert DOOR.received == signal.SIGUSR1


def test_a_second_sigterm_does_not_interrupt_the_tidying_up():
    tidied = []
    with pytest.raises(Stop), DOOR.opened():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            tidied.append(True)
    assert tidied


def test_an_error_that_follows_a_signal_does_not_hide_it(caplog):
    with pytest.raises(Stop) as stop, DOOR.opened():
        DOOR.look()
        signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("a server was told to end, too")
    assert stop.value.code == 143
    assert "a server was told to end, too" in caplog.text


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="mine"), DOOR.opened():
        raise RuntimeError("mine")


def test_handlers_that_came_meanwhile_are_replaced_by_who_looks():
    with DOOR.opened():
        signal.signal(signal.SIGTERM, lambda *arguments: pytest.fail("not ours"))
        DOOR.look()
        signal.raise_signal(signal.SIGTERM)
        assert DOOR.received == signal.SIGTERM


def test_handlers_of_somebody_else_stay_and_all_is_as_before_in_the_end():
    called = []
    before = {number: signal.getsignal(number) for number, _ in CODES}
    signal.signal(signal.SIGUSR1, lambda *arguments: called.append(True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is started in the background of a script
    try:
        with DOOR.opened():
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGINT)
        assert called
        assert DOOR.received == 0
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_outside_of_the_main_thread_there_is_nothing_to_do():
    done = []

    def run():
        with DOOR.opened():
            DOOR.look()
            done.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert done


LOST = """
import sys, time, weakref
from salt.training.signals import DOOR
class Thing:
    pass
def collected(reference):
    print("ready", flush=True)
    time.sleep(60)
with DOOR.opened():
    thing = Thing()
    reference = weakref.ref(thing, collected)
    del thing
    time.sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_is_not_lost_where_python_ignores_exceptions(number, code):
    process = subprocess.Popen([sys.executable, "-c", LOST], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(30) == code
    process.stdout.close()


def agree(rank, folder, bring):
    """What one of two ranks learns at four boundaries, written to a file."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    agreement = Agreement()
    learnt = []
    for boundary in range(4):
        time.sleep(0.05 * rank)
        learnt.append(agreement.highest(bring[rank] if boundary == 1 else 0))
        if learnt[-1]:
            break
    agreement.end()
    (folder / str(rank)).write_text(" ".join(map(str, learnt)))
    dist.destroy_process_group()


@pytest.mark.parametrize("bring", [(15, 0), (0, 15), (2, 15)])
def test_ranks_agree_on_a_signal_that_any_of_them_got_at_the_next_boundary(tmp_path, bring):
    mp.start_processes(agree, (tmp_path, bring), nprocs=2, start_method="fork")
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() == "0 0 15"


def test_a_single_process_knows_at_once():
    assert Agreement().highest(15) == 15
