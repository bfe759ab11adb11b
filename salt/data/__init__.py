"""The data room: HDF5 files -> batches. This face names what YAML files may name, and notebooks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salt.data.datamodule import SaltDataModule
    from salt.data.dataset import SaltDataset

__all__ = ["SaltDataModule", "SaltDataset"]

_MODULES = {"SaltDataModule": "salt.data.datamodule", "SaltDataset": "salt.data.dataset"}


def __getattr__(name: str) -> Any:
    """Import the module when it is asked for: `salt --help` reads names from here and does not wait for torch."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
