"""norm_dict.yaml and class_dict.yaml: means and widths of variables, weights of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from salt.simulate import columns
from salt.simulate.events import Array

# Only what a model may take as input: neither labels nor truth.
VARIABLES = {
    "jets": ("pt_btagJes", "eta_btagJes", "pt", "eta", "phi", "mass", "n_tracks"),
    "tracks": (*columns.TRACK_FLOATS, *columns.COUNTS),
}
LABELS = {"jets": {"flavour_label": 4}, "tracks": {"ftagTruthOriginLabel": 8}}  # numbers of classes


def class_weights(counts: Array) -> list[float]:
    """Weights (sum / count) / min, rounded to 2: the most frequent class has 1. An absent class counts as 1."""
    protected = np.maximum(counts, 1)
    weights = protected.sum() / protected
    return [round(float(weight), 2) for weight in weights / weights.min()]


class Dictionaries:
    """Sums over jets and valid tracks, out of which both files follow."""

    def __init__(self) -> None:
        self._number = dict.fromkeys(VARIABLES, 0)
        self._sums = {name: np.zeros((2, len(variables))) for name, variables in VARIABLES.items()}
        self._counts = {
            (name, label): np.zeros(classes, np.int64)
            for name, labels in LABELS.items()
            for label, classes in labels.items()
        }

    def add(self, tables: dict[str, Array]) -> None:
        """Count the jets and the valid tracks of some padded datasets."""
        valid = {"jets": tables["jets"], "tracks": tables["tracks"][tables["tracks"]["valid"]]}
        for name, variables in VARIABLES.items():
            values = np.stack([valid[name][variable].astype(np.float64) for variable in variables])
            self._number[name] += len(valid[name])
            self._sums[name] += np.stack([values.sum(axis=1), (values**2).sum(axis=1)])
        for (name, label), counts in self._counts.items():
            counts += np.bincount(valid[name][label], minlength=len(counts))

    def norm_dict(self) -> dict[str, dict[str, dict[str, float]]]:
        """Mean and standard deviation of each variable; 1 where a variable does not vary."""
        result: dict[str, dict[str, dict[str, float]]] = {}
        for name, variables in VARIABLES.items():
            mean, square = self._sums[name] / max(self._number[name], 1)
            std = np.sqrt(np.maximum(square - mean**2, 0))
            std[std == 0] = 1
            result[name] = {
                variable: {"mean": float(mean[i]), "std": float(std[i])} for i, variable in enumerate(variables)
            }
        return result

    def class_dict(self) -> dict[str, dict[str, list[float]]]:
        """Weights of the classes of each label, in the order of the label's values."""
        result: dict[str, dict[str, list[float]]] = {}
        for (name, label), counts in self._counts.items():
            result.setdefault(name, {})[label] = class_weights(counts)
        return result


def write(path: Path, header: str, content: dict[str, Any]) -> None:
    """Write a YAML file whose first line is a comment."""
    path.write_text(f"# {header}\n" + yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
