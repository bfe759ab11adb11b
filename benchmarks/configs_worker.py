"""Our side of the benchmark of configs: runs `salt` with the arguments it is sent, one command after the other."""

from __future__ import annotations

from commands import serve

from salt import __version__
from salt.cli.main import main

if __name__ == "__main__":
    serve(main, {"version": __version__})
