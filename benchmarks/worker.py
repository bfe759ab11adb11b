"""The half of the training-step benchmark that both sides share: answer the parent's requests, time steps.

Run by two interpreters, ours and the peer's, so it imports neither's `salt`: a side is a function that builds a
Stepper. Requests and answers are JSON, one object a line; the loading benchmark asks in the same way.
"""

from __future__ import annotations

import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from cost import count_flops, kept_bytes, peak_flops
from models import MODELS
from torch import Tensor, nn

Arrays = dict[str, np.ndarray]
"""One batch as the parent wrote it: jets (B, 2), flavour (B,), lengths_<stream> (B,), <stream> (T, F) packed, and of
the tracks origin and vertex (T,); where objects are found, object_class and object_<target> (B, M), and object_masks
(T, M)."""


class Stepper(ABC):
    """A model in training, and its batches in the form that its own side's loader gives.

    Parameters
    ----------
    model : nn.Module
        In training mode.
    batches : list[Path]
        The npz files of the batches.
    fused : bool
        Whether AdamW is torch's fused kernel.
    device : str
        cpu: float32; cuda: weights in float32, the rest in bfloat16 by autocast.
    """

    def __init__(self, model: nn.Module, batches: list[Path], fused: bool, device: str = "cpu") -> None:
        self.model = model.to(device)
        self.device = device
        self.arrays = [dict(np.load(path)) for path in batches]
        # lr and weight decay are GN2.yaml's; the arguments left out are torch's own, as upstream leaves them.
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=1e-5, fused=fused or None)

    @abstractmethod
    def prepare(self, arrays: Arrays) -> Any:
        """What the loader gives; not timed."""

    @abstractmethod
    def losses(self, batch: Any) -> Mapping[str, Tensor]:
        """Weighted loss of each task."""

    def step(self, index: int) -> dict[str, Any]:
        """One training step on a fresh copy of a batch: forward, losses, backward, optimizer.

        Seconds of CPU and of the wall are of the step; those from the host include making and moving the batch.
        """
        began = time.perf_counter()
        batch = self.batch(index)
        self._wait()
        wall, cpu = time.perf_counter(), time.process_time()
        losses = self.weighed(batch)
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._wait()
        ended = time.perf_counter()
        cpu, wall = time.process_time() - cpu, ended - wall
        memory = torch.cuda.max_memory_allocated() if self.device == "cuda" else 0
        losses = {name: loss.item() for name, loss in losses.items()}
        return {"cpu": cpu, "wall": wall, "from_host": ended - began, "memory": memory, "losses": losses}

    def weighed(self, batch: Any) -> Mapping[str, Tensor]:
        """The losses in the precision of the device."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            return self.losses(batch)

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def batch(self, index: int) -> Any:
        """A fresh copy of one of the batches, on the device."""
        return _moved(self.prepare(self.arrays[index % len(self.arrays)]), self.device)

    def cost(self) -> dict[str, int]:
        """What a step keeps for its backward pass [bytes], and its FLOPs."""
        batch = self.batch(0)

        def forward() -> Tensor:
            return torch.stack(list(self.weighed(batch).values())).sum()

        kept = kept_bytes(self.model, forward)
        flops = count_flops(lambda: forward().backward())
        self.optimizer.zero_grad()
        return {"kept": kept, "flops": flops}

    def shapes(self) -> dict[str, list[int]]:
        """Shape of each parameter."""
        return {name: list(parameter.shape) for name, parameter in self.model.named_parameters()}

    def save(self, path: Path) -> None:
        """Write the parameters, without buffers."""
        torch.save({name: parameter.detach() for name, parameter in self.model.named_parameters()}, path)

    def load(self, path: Path) -> None:
        """Take the parameters of the other side: the very same names."""
        self.take(torch.load(path, weights_only=True))

    def take(self, saved: Mapping[str, Tensor]) -> None:
        """Take parameters by their names."""
        if different := sorted(saved.keys() ^ self.shapes().keys()):
            raise ValueError(f"parameters that only one side has: {', '.join(different)}")
        self.model.load_state_dict(saved, strict=False)


def _moved(node: Any, device: str) -> Any:
    """A batch on a device: tensors in tuples and dicts, or what knows how to move itself."""
    if isinstance(node, tuple):
        return tuple(_moved(item, device) for item in node)
    if isinstance(node, dict):
        return {key: _moved(value, device) for key, value in node.items()}
    return node.to(device)


Build = Callable[[dict[str, Any], list[Path], dict[str, Any]], Stepper]
"""(line of the table of models, files of the batches, options of the variant) -> Stepper."""


def serve(build: Build, facts: dict[str, str]) -> None:
    """Build models and step them, as the requests say."""
    steppers: dict[str, Stepper] = {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "peak":
            return {"peak": peak_flops(request["rows"], request["width"], request.get("device", "cpu"))}
        if request["do"] == "cost":
            return steppers[request["name"]].cost()
        if request["do"] == "step":
            return steppers[request["name"]].step(request["index"])
        torch.manual_seed(0)
        batches = [Path(name) for name in request["batches"]]
        stepper = build(MODELS[request["model"]], batches, request["variant"])
        if request["load"]:
            stepper.load(Path(request["load"]))
        if request["save"]:
            stepper.save(Path(request["save"]))
        steppers[request["name"]] = stepper
        return {"shapes": stepper.shapes()}

    answer_requests(answer, facts)


def answer_requests(answer: Callable[[dict[str, Any]], dict[str, Any]], facts: dict[str, str]) -> None:
    """Answer requests from standard input, in turn, until it closes."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    flash = {"flash_attn": find_spec("flash_attn") is not None}
    answers.write(json.dumps({"torch": torch.__version__, "device": device, **flash, **facts}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")


def facts_of_peer(package: ModuleType) -> dict[str, str]:
    """Where upstream's `salt` is and which it is; an error where the import found another one."""
    home = Path(str(package.__file__)).resolve()
    if Path(sys.prefix).resolve() not in home.parents:
        raise SystemExit(f"this is to measure upstream's salt, but `import salt` found {home}, outside {sys.prefix}")
    return {"salt": str(home.parent), "version": version("salt-ml")}
