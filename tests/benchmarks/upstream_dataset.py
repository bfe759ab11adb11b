"""Upstream's slices for test_dataset_parity.py, run by upstream's Python: upstream_dataset.py CASES.pt OUT.pt."""

import inspect
import sys
import warnings
from pathlib import Path

import torch
import yaml
from salt.utils.configs import LabellerConfig, MaskformerConfig, MaskformerObjectConfig

from salt.data import SaltDataset

warnings.simplefilter("ignore")


def answer(case, norm_dict):
    """Inputs, pad masks and labels of a slice."""
    options = dict(case["options"])
    if "labeller_config" in options:
        options["labeller_config"] = LabellerConfig(**options["labeller_config"])
    if "mf_config" in options:
        parts = {name: MaskformerObjectConfig(**part) for name, part in options["mf_config"].items()}
        options["mf_config"] = MaskformerConfig(**parts)
    dataset = SaltDataset(case["file"], norm_dict, case["variables"], case["stage"], **options)
    return [len(dataset), *dataset[slice(*case["slice"])]]


def main():
    cases = torch.load(sys.argv[1], weights_only=True)
    norm_dict = Path(sys.argv[1]).with_name("norm_dict.yaml")
    of = {name for case in cases.values() for names in case["variables"].values() for name in names}
    norms = {name: {"mean": 5.0, "std": 2.0} for name in of}
    norm_dict.write_text(yaml.safe_dump(dict.fromkeys(["jets", "tracks", "constituents"], norms)))
    found = {name: answer(case, norm_dict) for name, case in cases.items()}
    arguments = inspect.signature(SaltDataset).parameters.values()
    found["arguments"] = [(each.name, "required" if each.default is each.empty else each.default) for each in arguments]
    torch.save(found, sys.argv[2])


if __name__ == "__main__":
    main()
