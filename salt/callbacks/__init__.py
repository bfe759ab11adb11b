"""Callbacks of the trainer. This face names what YAML files may name."""

from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.confusion import ConfusionMatrixCallback
from salt.callbacks.gradients import GradientLogger
from salt.callbacks.performance import PerformanceWriter
from salt.callbacks.prediction_writer import PredictionWriter
from salt.callbacks.weights import WeightLogger

GradientLoggerCallback = GradientLogger  # upstream's names
WeightLoggerCallback = WeightLogger

__all__ = [
    "Checkpoint",
    "ConfusionMatrixCallback",
    "GradientLogger",
    "GradientLoggerCallback",
    "PerformanceWriter",
    "PredictionWriter",
    "WeightLogger",
    "WeightLoggerCallback",
]
