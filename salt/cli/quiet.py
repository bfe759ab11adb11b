"""Third parties' remarks that say nothing to a user of this program."""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """Leave them out, for the rest of the process."""
    for message in (
        ".*does not have many workers.*",  # one thread serves, see data.num_workers
        ".*Experiment logs directory.*exists and is not empty.*",  # it holds the config
        ".*LeafSpec.*deprecated.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        r".*log\('(train|val)/.*sync_dist=True.*",  # ours are of all ranks together already
        ".*`srun` command is available on your system but is not used.*",  # where it is no job at all
    ):
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_news)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning|jsonargparse")  # not ours to mend


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a remark of Lightning's tells the user something: other products and absent hardware do not."""
    message = record.getMessage()
    return not any(words in message for words in ("litlogger", "TPU available", "Skipping setting a default"))
