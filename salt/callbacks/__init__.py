"""Callbacks of the trainer. This face names what YAML files may name."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salt.callbacks.checkpoint import Checkpoint
    from salt.callbacks.confusion import ConfusionMatrixCallback
    from salt.callbacks.gradients import GradientLogger
    from salt.callbacks.gradients import GradientLogger as GradientLoggerCallback
    from salt.callbacks.maskformer_metrics import MaskformerMetrics
    from salt.callbacks.performance import PerformanceWriter
    from salt.callbacks.prediction_writer import PredictionWriter
    from salt.callbacks.save_config import SaveConfigCallback
    from salt.callbacks.weights import WeightLogger
    from salt.callbacks.weights import WeightLogger as WeightLoggerCallback

__all__ = [
    "Checkpoint",
    "ConfusionMatrixCallback",
    "GradientLogger",
    "GradientLoggerCallback",
    "MaskformerMetrics",
    "PerformanceWriter",
    "PredictionWriter",
    "SaveConfigCallback",
    "WeightLogger",
    "WeightLoggerCallback",
]

PLACES = {
    "Checkpoint": ("checkpoint", "Checkpoint"),
    "ConfusionMatrixCallback": ("confusion", "ConfusionMatrixCallback"),
    "GradientLogger": ("gradients", "GradientLogger"),
    "GradientLoggerCallback": ("gradients", "GradientLogger"),  # upstream's name
    "MaskformerMetrics": ("maskformer_metrics", "MaskformerMetrics"),
    "PerformanceWriter": ("performance", "PerformanceWriter"),
    "PredictionWriter": ("prediction_writer", "PredictionWriter"),
    "SaveConfigCallback": ("save_config", "SaveConfigCallback"),
    "WeightLogger": ("weights", "WeightLogger"),
    "WeightLoggerCallback": ("weights", "WeightLogger"),  # upstream's name
}
"""Name -> its module, and what it is called there."""


def __getattr__(name: str) -> Any:
    """Import the module when it is asked for: `salt runs` reads records and does not wait for torch."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    """What there is, for messages about what there is not."""
    return __all__
