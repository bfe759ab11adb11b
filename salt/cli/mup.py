"""`setup_mup --config FILE`: the shapes for `model.mup_config`, written anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from salt.cli import lightning, shapes
from salt.cli.main import guard, speak

SHORT = {"-c": "--config"}
"""Options of upstream's command."""


class MupCLI(lightning.SaltCLI):
    """A `fit` that only writes shapes: it looks at no data."""

    def before_instantiate_classes(self) -> None:
        """Write the shapes, in the place of all that follows."""
        config = self.config[self._verb]
        if config.model.mup_config is None:
            raise ValueError("model.mup_config is not given\n  mend: name a config that has it: --config FILE")
        shapes.write(config, self.asked)

    def instantiate_classes(self) -> None:
        """There is nothing to build."""

    def _run_subcommand(self, subcommand: str) -> None:
        """There is nothing to run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the shapes; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    speak()
    return guard(lambda: lightning.main(["fit", *(SHORT.get(each, each) for each in given)], MupCLI))


if __name__ == "__main__":
    sys.exit(main())
