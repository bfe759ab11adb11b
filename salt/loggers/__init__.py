"""Where a run's metrics go. This face names what YAML files may name; Lightning's other loggers work as they are."""

from salt.loggers.comet import CometLogger

__all__ = ["CometLogger"]
