"""The data room: HDF5 files -> batches. This face names what YAML files may name."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salt.data.datamodule import SaltDataModule

__all__ = ["SaltDataModule"]


def __getattr__(name: str) -> Any:
    """Import the module when it is asked for: `salt --help` reads names from here and does not wait for torch."""
    if name == "SaltDataModule":
        from salt.data.datamodule import SaltDataModule

        return SaltDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
