"""Whether a server answers, found out in a few seconds: clients of services try for minutes."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ANSWER_SECONDS = 4.0
"""A server that takes longer than this for a first answer is treated as dead."""


def unreachable(url: str, seconds: float = ANSWER_SECONDS) -> str | None:
    """Why a server does not answer in time; None: it answers, whatever it says.

    The name of a host is looked up without a limit of time, so it is all done in a thread of its own.
    """
    reasons = [f"no answer in {seconds:g} s"]

    def ask() -> None:
        try:
            urlopen(Request(url, method="GET"), timeout=seconds).close()
        except HTTPError as error:
            error.close()
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            if not isinstance(reason, ssl.SSLError):  # somebody is there; certificates are for the client to judge
                reasons[0] = str(reason)
                return
        reasons.clear()

    ends_in_time(ask, seconds)
    return reasons[0] if reasons else None


def ends_in_time(call: Callable[[], Any], seconds: float, is_hopeless: Callable[[], bool] = lambda: True) -> bool:
    """Whether a call ends before so many seconds; one that does not is left behind in a thread that dies with us.

    Parameters
    ----------
    call : Callable[[], Any]
        What to do; what it raises is its own affair.
    seconds : float
        How long to wait.
    is_hopeless : Callable[[], bool]
        Asked each time that the seconds are over: whether to stop waiting, or to wait as long again.
    """
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    while thread.is_alive() and not is_hopeless():
        thread.join(seconds)
    return not thread.is_alive()
