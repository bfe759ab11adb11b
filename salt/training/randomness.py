"""Randomness: the states of the random generators of a process, as a checkpoint can hold them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

States = dict[str, Any]
"""Library -> the state of its generator: tensors, numbers and lists."""


def random_states() -> States:
    """Those of this process: torch, its current GPU where it uses one, NumPy and Python."""
    version, words, gauss = random.getstate()
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 (a library may draw from it)
    assert isinstance(numpy_state, dict)
    states = {
        "torch": torch.get_rng_state(),
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "words": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
            "place": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
    }
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: States) -> None:
    """Go on drawing where these states were taken."""
    torch.set_rng_state(states["torch"].cpu())
    of_python, of_numpy = states["python"], states["numpy"]
    random.setstate((of_python["version"], tuple(of_python["words"].tolist()), of_python["gauss"]))
    words = of_numpy["words"].cpu().numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words, of_numpy["place"], of_numpy["has_gauss"], of_numpy["gauss"]))  # noqa: NPY002
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
