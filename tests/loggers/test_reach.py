import socket
import threading
import time

import pytest

from salt.loggers.reach import ends_in_time, unreachable


@pytest.fixture
def listening():
    """A socket that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_a_server_that_never_answers_is_given_up_in_time(listening):
    begin = time.monotonic()
    assert unreachable(listening, seconds=0.5) is not None
    assert time.monotonic() - begin < 2


def test_a_closed_port_is_told_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in unreachable(f"http://127.0.0.1:{port}/")


def test_no_address_is_told():
    assert unreachable("http://") is not None


def test_a_call_that_ends_is_waited_for():
    done = []
    assert ends_in_time(lambda: done.append(1), seconds=5)
    assert done == [1]


def test_a_slow_call_is_waited_for_as_long_as_there_is_hope():
    hopes = [False, False, True]
    event = threading.Event()
    assert not ends_in_time(lambda: event.wait(5), seconds=0.05, is_hopeless=lambda: hopes.pop(0))
    assert hopes == []
    event.set()
