"""Monitor of objects that are found in jets: their classes, and how well their masks meet the true ones.

Shapes: B jets, "..." the constituents of a layout, Q objects that are looked for in each jet, C classes and the null
class after them, N criteria.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from salt.layout import Layout
from salt.metrics.monitor import MIN_JETS, Monitor, tally

TRUE_CLASS, FOUND_MASKS, TRUE_MASKS, NUM_TRUE = "true_class", "found_masks", "true_masks", "num_true"
"""Labels that it takes: (B, Q) class of the true object that each was matched with, C for none; (..., Q) bool twice;
(B,) number of true objects with constituents, matched or not."""


class Objects(Monitor):
    """Efficiencies and purities of classes, efficiencies and fake rates of masks.

    - `class_exact_match`: share of jets all of whose objects have the right class, none where there is none;
      `class_accuracy_micro`: share of right classes, `class_accuracy_macro`: the mean of those of each class;
    - `<class>_eff`: share of a class that is found as such, `<class>_pur`: share that is right of what is found as
      such; `notnull_eff`, `notnull_pur`: of all classes together against none;
    - `query_<criterion>_match_eff`: share of the true objects with constituents that are found, with so much of their
      constituents (recall) and so few others (purity) as the criterion says; `query_<criterion>_match_fake`: share of
      the objects found, with constituents, that meet no true one so.

    Parameters
    ----------
    class_names : Sequence[str]
        C classes, without the null class.
    criteria : Mapping[str, tuple[float, float]]
        Name -> least recall and least purity of a mask.
    """

    def __init__(self, class_names: Sequence[str], criteria: Mapping[str, tuple[float, float]]) -> None:
        self.class_names = list(class_names)
        self.criteria = dict(criteria)
        number = len(class_names) + 1
        super().__init__({"jets": (2,), "classes": (number, number), "masks": (2,), "met": (len(criteria),)})

    def add(self, raw: Tensor, labels: Mapping[str, Tensor], layout: Layout | None, bins: Tensor | None) -> None:
        """Count objects with class probabilities (B, Q, C + 1) against what they were matched with."""
        assert layout is not None  # masks are of constituents
        null = len(self.class_names)
        found, true = raw.argmax(-1), labels[TRUE_CLASS]
        exact = (found == true).all(1)
        self.counts["jets"] += torch.stack([torch.ones_like(exact).sum(), exact.sum()])
        keys = (true * (null + 1) + found).flatten()
        tally(self.counts["classes"], keys, torch.ones_like(keys))
        masks, true_masks = labels[FOUND_MASKS], labels[TRUE_MASKS]
        columns = torch.cat([masks & true_masks, masks, true_masks], -1).float()
        overlap, size, true_size = layout.total(columns).chunk(3, 1)  # (B, Q) each
        is_found = (found != null) & (size > 0)
        self.counts["masks"] += torch.stack([labels[NUM_TRUE].sum(), is_found.sum()])
        met = [
            (is_found & (true_size > 0) & (overlap >= recall * true_size) & (overlap >= purity * size)).sum()
            for recall, purity in self.criteria.values()
        ]
        if met:
            self.counts["met"] += torch.stack(met)

    def figures(self) -> dict[str, float | None]:
        """All shares."""
        jets, exact = self.counts["jets"].tolist()
        table = self.counts["classes"].cpu()
        right, true, found = table.diagonal(), table.sum(1), table.sum(0)
        recalls = [_share(int(r), int(n)) for r, n in zip(right, true, strict=True)]
        known = [recall for recall in recalls if recall is not None]
        shares = {
            "class_exact_match": _share(exact, jets),
            "class_accuracy_micro": _share(int(right.sum()), int(table.sum())),
            "class_accuracy_macro": sum(known) / len(known) if known else None,
        }
        for number, name in enumerate(self.class_names):
            shares[f"{name}_eff"] = recalls[number]
            shares[f"{name}_pur"] = _share(int(right[number]), int(found[number]))
        both = int(table[:-1, :-1].sum())
        shares["notnull_eff"] = _share(both, int(true[:-1].sum()))
        shares["notnull_pur"] = _share(both, int(found[:-1].sum()))
        num_true, num_found = self.counts["masks"].tolist()
        for name, met in zip(self.criteria, self.counts["met"].tolist(), strict=True):
            shares[f"query_{name}_match_eff"] = _share(met, num_true)
            shares[f"query_{name}_match_fake"] = _share(num_found - met, num_found)
        return shares


def _share(part: int, of: int) -> float | None:
    return part / of if of >= MIN_JETS else None
