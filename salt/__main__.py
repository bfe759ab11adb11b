"""`python -m salt`."""

import sys

from salt.cli.main import main

sys.exit(main())
