"""Upstream's side of the benchmark of configs: runs its `salt` with the arguments it is sent.

Started by configs.py with the interpreter of the peer's environment, from outside the repository.
"""

from __future__ import annotations

from commands import serve
from worker import facts_of_peer

import salt
from salt.main import main

if __name__ == "__main__":
    serve(main, facts_of_peer(salt))
