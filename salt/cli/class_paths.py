"""Class paths that are written otherwise today: old packages, modules of upstream's, classes that ours take over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from salt.cli.nested import changed

PACKAGE = re.compile(r"^pytorch_lightning\.")
"""Lightning's package before 2.0; a class in it is no relation of the one in lightning.pytorch."""

LOGGER = re.compile(r"^(?:lightning\.pytorch\.loggers\.(?:\w+\.)?)?(CometLogger)$")
"""The logger that ours takes over, in full or by its short name."""

FACE = re.compile(
    r"^salt\.(models|callbacks|data)\.(?:attention|dense|edge_constructor|featurewise|initnet|inputnorm|layernorm|pooling"
    r"|posenc|task|transformer|transformer_v2|checkpoint|confusion_matrix|gradient_logger|maskformer_metrics"
    r"|performancewriter|predictionwriter|saveconfig|weight_logger|datamodules)\.(\w+)$"
)
"""Classes by modules that upstream has and we have not: the room's face knows them by the same names."""

MOVED = {
    "salt.models.TransformerV2": "salt.models.Transformer",
    "salt.optim.HybridMuonAdamW": "salt.training.muon.HybridMuonAdamW",
    "salt.utils.scalers.RegressionTargetScaler": "salt.tasks.scaling.RegressionTargetScaler",
}
"""Classes that are elsewhere, or have another name."""

OPTION = re.compile(r"--(?:\w+\.)*(?:logger|callbacks|plugins|strategy|profiler)\+?(?:\.class_path)?$")
"""Options whose value names a class of Lightning's."""

LOSS = re.compile(r"[A-Z]\w*Loss")
"""How all losses of torch are called; which there are is torch's to say, which is not imported for it."""

WORD = re.compile(r"[\w.]+")


def renamed(class_path: str) -> str:
    """The class that is meant."""
    path = FACE.sub(r"salt.\1.\2", PACKAGE.sub("lightning.pytorch.", class_path))
    return LOGGER.sub(r"salt.loggers.\1", MOVED.get(path, path))


def loss(value: Any) -> Any:
    """What the key `loss` says, where it is a class, or its name alone, with the class in full: MSELoss is torch's."""
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        return {**value, "class_path": loss(value["class_path"])}
    return f"torch.nn.{value}" if isinstance(value, str) and LOSS.fullmatch(value) else value


def rewritten(node: Any) -> Any:
    """A config with today's class paths; the one that is given stays as it is."""
    return changed(node, _of_today)


def _of_today(content: dict[str, Any]) -> dict[str, Any]:
    """A mapping, a copy already, with its own class paths rewritten."""
    if isinstance(content.get("class_path"), str):
        content["class_path"] = _of_its_time(renamed(content["class_path"]), content.get("init_args"))
    if "loss" in content:
        content["loss"] = loss(content["loss"])
    trainer = content.get("trainer")
    if isinstance(trainer, dict) and isinstance(trainer.get("logger"), str):  # a class by its name alone
        trainer["logger"] = renamed(trainer["logger"])
    return content


def renewed(options: Sequence[str]) -> list[str]:
    """Options with today's class paths in their values, JSON or not."""
    rest: list[str] = []
    is_value = False
    for option in options:
        name, equals, value = option.partition("=")
        if is_value:
            option = WORD.sub(lambda word: renamed(word[0]), option)
        elif equals and OPTION.match(name):
            option = f"{name}={WORD.sub(lambda word: renamed(word[0]), value)}"
        is_value = not is_value and not equals and OPTION.match(name) is not None
        rest.append(option)
    return rest


FIRST = {
    "salt.models.Transformer": {"embd_dim": "salt.models.GraphTransformer"},
    "salt.models.ClassificationTask": {"net": "salt.models.Task"},
}
"""Classes that had other arguments at the end of 2022: an argument of that time -> who has it now."""


def _of_its_time(class_path: str, arguments: Any) -> str:
    """The class of this name that has these arguments."""
    of = FIRST.get(class_path, {})
    return next((of[word] for word in of if isinstance(arguments, Mapping) and word in arguments), class_path)
