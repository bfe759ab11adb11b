"""The command `salt` (also `main`): `salt fit --config gnn.yaml`."""

import os
import sys

if __name__ == "__main__" and not __package__:
    # As a script, python puts this folder first, where types.py would hide the standard library's: from pathlib too.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120

from salt.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
