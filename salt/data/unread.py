"""Options of `data` that older files have, which are accepted and not read."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lightning.pytorch.utilities.rank_zero import rank_zero_only

warn = rank_zero_only(logging.getLogger(__name__).warning)

REASONS = {
    "config_s3": "S3 takes its keys and its server from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL",
}
"""Why an option is not read."""

OF_FILES = "files of a glob are read one after the other, without a virtual dataset"
"""Why all others are not."""


def warn_of_unread(options: Mapping[str, object]) -> None:
    """Say of options that are set why they are not read."""
    for name, value in options.items():
        if value is not None:
            warn("data.%s is not read: %s", name, REASONS.get(name, OF_FILES))
