"""Company: the ranks of a run, each of which notices at once when another one is no more.

Who waits for a dead rank in a collective waits for minutes, or for ever where the network does not tell. So the first
rank keeps a connection to each of the others. A rank that ends says with what exit code; one that was killed says
nothing, but the system closes its connections. The first rank hands on what it learns. Whoever learns that another
rank has failed ends as by an error, so that it tidies up, and by force where it hangs.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import selectors
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

KILLED = 128 + signal.SIGKILL
"""Exit code of a run one of whose ranks was killed: as if all were, so that a batch system starts it again."""

FAILED = 1

WAKING = signal.SIGURG
"""The signal that interrupts whatever a rank does: nobody else uses it, and where nobody handles it, it is nothing."""

CONNECTING = 10.0
"""Seconds that connecting may take."""

PATIENCE = (1.0, 10.0, 30.0)
"""Seconds that a rank has to fail by itself in what it shares with a lost one; then to tidy up; and that the first one
waits for the ranks it has started."""

SILENCE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""How a machine that went off is noticed: seconds without a word, seconds between questions, how many of them."""

Broadcast = Callable[[Any], Any]


class Loss(NamedTuple):
    """A rank that is no more."""

    rank: int
    code: int
    """Its exit code."""

    def __str__(self) -> str:
        how = "was killed" if self.code == KILLED else f"has ended with code {self.code}"
        return f"rank {self.rank} {how}: this run cannot go on"


class LostRankError(RuntimeError):
    """Another rank is no more."""


class Company:
    """The ranks of this process's run; empty until `join`, and for a run of one process always."""

    def __init__(self) -> None:
        self.loss: Loss | None = None
        self._rank = 0
        self._is_joined = False
        self._others: dict[socket.socket, int] = {}  # the connection to each rank that lives
        self._lock = threading.Lock()
        self._children: list[subprocess.Popen] = []
        self._learnt = threading.Event()
        self._ending = threading.Event()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep company as long as this lasts: `join` may be called inside."""
        code = FAILED
        try:
            yield
            code = 0
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else FAILED
            self._blame(leave)
            raise
        except RuntimeError as error:
            self._blame(error)
            raise
        finally:
            self._ending.set()
            self._leave(self.loss.code if self.loss is not None else code)

    def join(self, rank: int, size: int, address: str, broadcast: Broadcast, children: list[subprocess.Popen]) -> None:
        """Connect the first rank with all others; all of them have to come.

        Parameters
        ----------
        rank, size : int
            Which rank this is, of how many.
        address : str
            Of the first rank's machine, as the others know it.
        broadcast : Broadcast
            Gives the first rank's value on all of them.
        children : list[subprocess.Popen]
            The ranks that this process has started. Who has looked after them does not find them there any more: it
            would kill this process, too.
        """
        self._rank, self._is_joined = rank, True
        self._children = [*children]
        children.clear()
        signal.signal(WAKING, self._wake)
        if rank == 0:
            listener = socket.create_server(("127.0.0.1" if address in {"127.0.0.1", "localhost"} else "", 0))
            token = broadcast([listener.getsockname()[1], secrets.token_hex(8)])[1]
            self._watch(lambda: self._welcome(listener, token, size))
        else:
            port, token = broadcast(None)
            try:
                first = socket.create_connection((address, port), CONNECTING)
                _say(first, token=token, rank=rank)
            except OSError as error:
                log.warning("rank %d cannot watch the others, by way of %s:%d: %s", rank, address, port, error)
                return
            self._take(first, 0)
            self._watch(self._listen)

    def end(self) -> None:
        """Note that this rank has begun to end: whoever is lost from now on is no reason to interrupt that."""
        self._ending.set()

    def _watch(self, look: Callable[[], None]) -> None:
        threading.Thread(target=look, name="salt-company", daemon=True).start()

    def _welcome(self, listener: socket.socket, token: str, size: int) -> None:
        """Take the connections of all others, while they come, and look after them."""
        with listener, selectors.DefaultSelector() as selector:
            listener.settimeout(CONNECTING)
            while len(self._others) < size - 1:
                try:
                    connection, _address = listener.accept()
                    connection.settimeout(CONNECTING)
                    hello = _heard(connection)
                except OSError:
                    log.warning("some of the %d ranks do not answer: if they end, nobody may notice", size)
                    break
                if hello is not None and secrets.compare_digest(str(hello.get("token")), token):
                    self._take(connection, hello["rank"])
            for connection in self._others:
                selector.register(connection, selectors.EVENT_READ)
            while self._others:
                for key, _ in selector.select():
                    selector.unregister(key.fileobj)  # a rank has one word to say
                    self._hear(key.fileobj)  # type: ignore[arg-type]

    def _listen(self) -> None:
        for connection in list(self._others):
            self._hear(connection)

    def _take(self, connection: socket.socket, rank: int) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in SILENCE.items():
            if (option := getattr(socket, name, None)) is not None:  # not on every system
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
        with self._lock:
            self._others[connection] = rank

    def _hear(self, connection: socket.socket) -> None:
        """Hear the one word of a rank, or that there is none."""
        word = _heard(connection) or {"rank": self._others[connection], "code": KILLED}
        with self._lock:
            del self._others[connection]
        connection.close()
        if word["code"]:
            self._learn(Loss(word["rank"], word["code"]))

    def _learn(self, loss: Loss) -> None:
        """Tell the others, and end."""
        if self.loss is not None:
            return
        self.loss = loss
        self._learnt.set()
        with self._lock:
            for connection in self._others:
                with suppress(OSError):
                    _say(connection, **loss._asdict())
        threading.Thread(target=self._insist, name="salt-company-end", daemon=True).start()

    def _insist(self) -> None:
        """Have this process end, by an error, if it does not do so by itself, or by force."""
        assert self.loss is not None
        if not self._ending.wait(PATIENCE[0]):
            signal.pthread_kill(threading.main_thread().ident or 0, WAKING)
        threading.Event().wait(PATIENCE[1])  # the process may be gone by then
        log.error("%s; this one hangs, and ends by force", self.loss)
        self._end_children(signal.SIGKILL)
        os._exit(self.loss.code)

    def _wake(self, number: int, frame: FrameType | None) -> None:
        if self.loss is not None and not self._ending.is_set():
            self._ending.set()
            raise LostRankError(str(self.loss))

    def loss_behind(self, error: BaseException) -> Loss | None:
        """The rank whose loss has led to an error; None where that is the error of this rank alone.

        A collective fails a moment before we learn why, so that this waits a moment.
        """
        if isinstance(error, RuntimeError) and self._is_joined:
            self._learnt.wait(PATIENCE[0])
        loss = self.loss
        # ranks that stop together end one after the other, with the same code
        return None if loss is None or (isinstance(error, SystemExit) and error.code == loss.code) else loss

    def _blame(self, error: BaseException) -> None:
        """End as the lost rank has, if that is why this one fails."""
        if (loss := self.loss_behind(error)) is not None:
            log.error("%s", loss)
            raise SystemExit(loss.code) from error

    def _leave(self, code: int) -> None:
        """Say goodbye, and see the ranks that this process has started to their end."""
        with self._lock:
            for connection in self._others:
                with suppress(OSError):
                    _say(connection, rank=self._rank, code=code)
        if code:
            self._end_children(signal.SIGTERM)
        for child in self._children:
            try:
                child.wait(PATIENCE[2])
            except subprocess.TimeoutExpired:
                child.kill()

    def _end_children(self, number: signal.Signals) -> None:
        for child in self._children:
            child.send_signal(number)  # nothing where it has ended


COMPANY = Company()
"""A process is a rank of one run."""


def _say(connection: socket.socket, **word: Any) -> None:
    connection.sendall(json.dumps(word).encode() + b"\n")


def _heard(connection: socket.socket) -> dict[str, Any] | None:
    """The next word, a line of JSON; None where the connection ends."""
    line = b""
    with suppress(OSError):
        while not line.endswith(b"\n"):
            if not (more := connection.recv(1)):
                return None
            line += more
        word: dict[str, Any] = json.loads(line)
        return word
    return None
