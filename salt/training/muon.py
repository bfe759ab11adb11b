"""Muon for matrices, AdamW for all else.

Jordan et al., Muon: An optimizer for hidden layers in neural networks, https://kellerjordan.github.io/posts/muon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

BY_ADAMW = (
    r"\bbias\b",
    r"layernorm|layer_norm|\bln\d*\b|norm",
    r"embedding|embeddings|\bembed\b",
    r"\bhead\b|classifier|output|out_proj|final",
)
"""Names of matrices that are left to AdamW, as upstream has them: regular expressions, whatever the case."""


class HybridMuonAdamW(Optimizer):
    """One optimiser with two kinds of groups: Muon orthogonalises the steps of matrices, AdamW has the other weights.

    Parameters
    ----------
    params : Iterable[tuple[str, Tensor]]
        What to optimise, with names.
    lr : float
        Learning rate of both.
    weight_decay : float
        Decoupled weight decay of both.
    lr_muon, lr_adamw : float | None
        Learning rate of one of them; None: `lr`. A schedule keeps their ratio.
    momentum : float
        Of Muon, which is Nesterov's where `nesterov` is true.
    nesterov : bool
        See there.
    ns_steps : int
        Steps of the iteration (Newton and Schulz) that orthogonalises.
    adjust_lr_fn : str
        How Muon's rate depends on a matrix's shape: "original", or "match_rms_adamw" (Liu et al., arXiv:2502.16982).
    betas : tuple[float, float]
        Of AdamW.
    exclude_name_patterns : Sequence[str]
        Regular expressions: matrices with such names are AdamW's.
    fused : bool
        Let AdamW do its step in one kernel.
    """

    def __init__(
        self,
        params: Iterable[tuple[str, Tensor]],
        lr: float = 1e-3,
        weight_decay: float = 1e-5,
        lr_muon: float | None = None,
        lr_adamw: float | None = None,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        adjust_lr_fn: str = "original",
        betas: tuple[float, float] = (0.9, 0.999),
        exclude_name_patterns: Sequence[str] = BY_ADAMW,
        fused: bool = False,
    ) -> None:
        named, excluded = list(params), re.compile("|".join(exclude_name_patterns) or r"(?!)", re.IGNORECASE)
        matrices = [weight for name, weight in named if weight.dim() == 2 and not excluded.search(name)]
        chosen = set(map(id, matrices))
        others = [weight for _, weight in named if id(weight) not in chosen]
        if not matrices or not others:
            raise ValueError(
                f"HybridMuonAdamW found {len(matrices)} matrices for Muon and {len(others)} other weights for AdamW "
                "in this model, and needs some of both\n  mend: set model.optimizer to AdamW"
            )
        self._muon = Muon(
            matrices,
            lr=lr if lr_muon is None else lr_muon,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        )
        rate = lr if lr_adamw is None else lr_adamw
        self._adamw = AdamW(others, lr=rate, weight_decay=weight_decay, betas=(betas[0], betas[1]), fused=fused)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both work on the groups and the state of the whole, which are what is saved and scheduled."""
        for part, group in zip((self._muon, self._adamw), self.param_groups, strict=True):
            part.__setstate__({"state": self.state, "param_groups": [group]})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step; gives what `closure` gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss
