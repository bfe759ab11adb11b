"""Fine-tuning: a training that begins with weights of another one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor, nn

from salt.data.names import NUM_NEAREST, by_nearness
from salt.training import checkpoints
from salt.training.run_files import exists, is_url, joined
from salt.training.weights import read_weights

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)

KEY = "model.init_from"

MODEL = "model."
"""Beginning of the names of the model's weights, which users do not see."""

NORM = "norm."
"""Beginning of the names of the inputs' means and widths."""


@dataclass
class InitFrom:
    """Weights to begin with, and which of them stay as they are.

    Patterns are those of file names, for names like `encoder.layers.0.attn.fn.out_proj.weight`: `encoder.*` is all of
    the encoder. Optimiser, schedule and epochs begin anew; a run that is resumed does not look at the checkpoint again.

    Parameters
    ----------
    ckpt : str
        A checkpoint, or the directory of a run, of which the best one is taken.
    include : list[str]
        Patterns of what is loaded: parameters, and `norm.*`, the means and widths of the input variables. Those of the
        checkpoint belong to its weights, and are loaded unless they are excluded.
    exclude : list[str]
        Patterns of what of these is not.
    freeze : list[str]
        Patterns of what does not learn.
    """

    ckpt: str
    include: list[str] = field(default_factory=lambda: ["*"])
    exclude: list[str] = field(default_factory=list)
    freeze: list[str] = field(default_factory=list)

    def load(self, module: nn.Module) -> None:
        """Load the weights into a module; ValueError where they do not fit, or where a pattern matches nothing."""
        path = checkpoint_of(self.ckpt)
        here = _beginning(module)
        settings = _shown(module.state_dict()).keys() - here.keys()  # the weights of classes in a loss: the config's
        there = _shown(read_weights(path))
        there = {name: weight for name, weight in there.items() if name not in settings}
        if not here.keys() & there.keys():
            raise ValueError(
                f"{path} ({KEY}.ckpt) has {len(there)} weights, and none of them the name of one of this model's\n"
                "  mend: name a checkpoint of a model of which parts are the same"
            )
        both = dict.fromkeys([*here, *there])
        _check_patterns("include", self.include, [name for name in here if name in there])
        _check_patterns("exclude", self.exclude, both)
        wanted = [name for name in both if _matches(name, self.include) and not _matches(name, self.exclude)]
        loaded = [name for name in wanted if name in here and name in there]
        _check_shapes(path, {name: (there[name], here[name]) for name in loaded})
        with torch.no_grad():
            for name in loaded:
                here[name].copy_(there[name])
        self._tell(path, loaded, here, there)

    def set_frozen(self, module: nn.Module) -> None:
        """Have the frozen parameters learn nothing."""
        weights = _shown(dict(module.named_parameters()))
        _check_patterns("freeze", self.freeze, weights)
        frozen = [name for name in weights if _matches(name, self.freeze)]
        for name in frozen:
            weights[name].requires_grad_(False)
        if frozen:
            info("%s.freeze: %d parameters do not learn: %s", KEY, len(frozen), _parts(frozen))

    def _tell(self, path: str, loaded: Sequence[str], here: Mapping[str, Tensor], there: Mapping[str, Tensor]) -> None:
        """Say what became of each weight."""
        left_out = [name for name in here if name in there and name not in set(loaded)]
        rows = {
            "loaded": loaded,
            "left out": left_out,
            "not in the checkpoint": [name for name in here if name not in there],
            "not in the model": [name for name in there if name not in here],
        }
        lines = [f"  {len(names):5} {what:21} {_parts(names)}" for what, names in rows.items() if names]
        info("\n".join([f"weights of {path} ({KEY}):", *lines]))
        if any(name.startswith(NORM) for name in loaded):
            info("%s: means and widths of the inputs are the checkpoint's, not those of data.norm_dict", KEY)
        if fresh := [name for name in here if name not in set(loaded) and _matches(name, self.freeze)]:
            warn("%s.freeze: %s keep random weights, which do not learn", KEY, _parts(fresh))


def checkpoint_of(path: str) -> str:
    """The checkpoint that is meant: a file, or the best one of a run; FileNotFoundError where there is none."""
    if exists(joined(path, "config.yaml")) or (not is_url(path) and Path(path).is_dir()):
        return checkpoints.best(path).path
    if not exists(path):
        raise FileNotFoundError(f"no checkpoint or run {path} ({KEY}.ckpt)")
    return path


def _shown(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that users see."""
    return {name.removeprefix(MODEL): weight for name, weight in weights.items()}


def _beginning(module: nn.Module) -> dict[str, Tensor]:
    """What of a module a checkpoint may say: parameters, and means and widths of the inputs."""
    norms = {name: buffer for name, buffer in module.named_buffers() if name.startswith(NORM)}
    return _shown({**dict(module.named_parameters()), **norms})


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_patterns(key: str, patterns: Sequence[str], names: Iterable[str]) -> None:
    """Raise ValueError for a pattern that matches nothing."""
    names = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            nearest = ", ".join(by_nearness(pattern, names)[:NUM_NEAREST])
            raise ValueError(
                f"{KEY}.{key}: the pattern {pattern!r} matches no parameter; nearest: {nearest}\n"
                "  mend: correct it; encoder.* is all of the encoder, and * everything"
            )


def _check_shapes(path: str, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Raise ValueError where weights have other shapes than those that they are to take the place of."""
    wrong = {name: pair for name, pair in pairs.items() if pair[0].shape != pair[1].shape}
    if wrong:
        shown = [f"  {name}: {tuple(old.shape)} there, {tuple(new.shape)} here" for name, (old, new) in wrong.items()]
        raise ValueError(
            "\n".join([f"{len(wrong)} weights of {path} ({KEY}.ckpt) have another shape than this model's:", *shown])
            + f"\n  mend: leave them as they are: {KEY}.exclude: [{', '.join(_patterns(wrong))}]"
        )


def _patterns(names: Iterable[str]) -> list[str]:
    """Patterns that match names, one for the weight and the bias of a layer."""
    return list(dict.fromkeys(name if name.startswith(NORM) else f"{name.rpartition('.')[0]}.*" for name in names))


def _parts(names: Sequence[str]) -> str:
    """Which parts of the model names are of, and how many of each."""
    parts: dict[str, int] = {}
    for name in names:
        fields = name.split(".")
        part = ".".join(fields[: 2 if len(fields) > 2 and fields[1].isdigit() else 1])
        parts[part] = parts.get(part, 0) + 1
    return ", ".join(f"{part}.* ({count})" for part, count in parts.items())
