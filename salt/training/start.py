"""How a training begins: its initial weights, which of them learn, and how fast each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lightning import LightningModule
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.optim import Optimizer

from salt.training.checkpoints import SALT
from salt.training.init_from import MODEL, InitFrom
from salt.training.mup import Multipliers, MupConfig, check_optimizer, grouped, read_shapes
from salt.training.optim import Group

info = rank_zero_only(logging.getLogger(__name__).info)


class Start:
    """The beginning of a training.

    Parameters
    ----------
    module : LightningModule
        What is trained; its `model` is what `mup_config` and the shapes are about.
    kind : type[Optimizer]
        The optimiser.
    mup_config : Mapping[str, Any] | None
        What the config says of widths; None: all weights learn at the same rate.
    init_from : InitFrom | None
        Weights to begin with; None: random ones.
    """

    def __init__(
        self,
        module: LightningModule,
        kind: type[Optimizer],
        mup_config: Mapping[str, Any] | None,
        init_from: InitFrom | None,
    ) -> None:
        self._module = module
        self._kind = kind
        self._mup = None if mup_config is None else MupConfig.read(mup_config)
        self._init_from = init_from
        self._factors: dict[str, float] = {}
        self._is_prepared = False
        self._has_weights = init_from is None
        if self._mup is not None:
            check_optimizer(kind)

    def prepare(self) -> None:
        """Give random weights their widths, and freeze what is not to learn, once: before there is an optimiser."""
        if self._is_prepared:
            return
        self._is_prepared = True
        if self._mup is not None:
            self._set_widths(self._mup.file)
        if self._init_from is not None:
            self._init_from.set_frozen(self._module)

    def load(self) -> None:
        """Load the weights to begin with, once."""
        self.prepare()
        if not self._has_weights and self._init_from is not None:
            self._init_from.load(self._module)
        self._has_weights = True

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Add to a checkpoint whose state its optimiser's is."""
        checkpoint.setdefault(SALT, {})["optimizer"] = self._kind.__name__

    def go_on(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the weights that the module gets: they are of a run that is resumed. ValueError if it cannot be."""
        self._has_weights = True
        now = self._kind.__name__
        before = checkpoint.get(SALT, {}).get("optimizer", now)
        if before != now:
            raise ValueError(
                f"this checkpoint is of a training with the optimiser {before}; model.optimizer is {now}\n"
                f"  mend: set it to {before}; or begin a new training with these weights: model.init_from.ckpt"
            )
        states = checkpoint.get("optimizer_states", [])
        if not all("param_groups" in state for state in states):  # upstream's hybrid has two states in one
            raise ValueError(
                "the state of this checkpoint's optimiser is not one that can go on here\n"
                "  mend: begin a new training with these weights: model.init_from.ckpt"
            )
        groups = [group for state in states for group in state["param_groups"]]
        trained, there = len(self._trained()), sum(len(group["params"]) for group in groups)
        if groups and trained != there:
            raise ValueError(
                f"this checkpoint is of a training of {there} parameters, and {trained} learn by this config\n"
                "  mend: give the model and model.init_from.freeze as they were"
            )

    def groups(self, rate: float, weight_decay: float) -> list[Group]:
        """What is trained, in groups of the same learning rate."""
        named = self._trained()
        if not named:
            raise ValueError("model.init_from.freeze leaves nothing to train\n  mend: freeze less")
        return grouped(named, self._factors, rate, weight_decay)

    def _trained(self) -> list[tuple[str, Tensor]]:
        return [(name, weight) for name, weight in self._module.named_parameters() if weight.requires_grad]

    def _set_widths(self, file: str) -> None:
        model = self._module.get_submodule(MODEL.rstrip("."))
        multipliers = Multipliers(model, read_shapes(file), file)
        multipliers.rescale()
        factors = multipliers.factors()
        self._factors = {f"{MODEL}{name}": factor for name, factor in factors.items()}
        if factors:
            info(
                "muP: %d matrices are %s times as wide as those of the base (%s), and learn as much slower",
                len(factors), " or ".join(f"{factor:g}" for factor in sorted(set(factors.values()))), file,
            )  # fmt: skip
        else:
            info("muP: the model is as wide as its base (%s)", file)
