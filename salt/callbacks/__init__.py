"""Callbacks of the trainer. This face names what YAML files may name."""

from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.prediction_writer import PredictionWriter

__all__ = ["Checkpoint", "PredictionWriter"]
