"""Upstream's arrays for test_data_parity.py, run by upstream's Python: upstream_data.py CASES.json OUT.npz."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml
from salt.utils.configs import LabellerConfig, MaskformerConfig, MaskformerObjectConfig
from salt.utils.edge_features import calculate_edge_features

from salt.data import SaltDataset

warnings.simplefilter("ignore")


def dataset(file, variables, stage="fit", labeller_config=None, mf_config=None, **options):
    """Upstream's dataset, with a norm dictionary that changes nothing."""
    norms = {}
    for stream, names in variables.items():
        stream = "jets" if stream in {"global", "parameters"} else stream
        norms.setdefault(stream, {}).update({name: {"mean": 0.0, "std": 1.0} for name in names})
    norm_dict = Path(file).with_suffix(".yaml")
    norm_dict.write_text(yaml.safe_dump(norms))
    if labeller_config:
        options["labeller_config"] = LabellerConfig(**labeller_config)
    if mf_config:
        mf_config["object"]["object_classes"][None] = mf_config["object"]["object_classes"].pop("null")
        options["mf_config"] = MaskformerConfig(*(MaskformerObjectConfig(**part) for part in mf_config.values()))
    return SaltDataset(file, norm_dict, variables, stage, **options)


def arrays(case):
    """Name -> array of one case."""
    data = dataset(**case)
    inputs, pads, labels = data[0 : len(data)]
    found = {f"input/{stream}": values.numpy() for stream, values in inputs.items()}
    found |= {f"pad/{stream}": values.numpy() for stream, values in pads.items()}
    return found | {f"label/{s}/{name}": v.numpy() for s, of in labels.items() for name, v in of.items()}


def edges(values, columns, features):
    """Upstream's features of all pairs of one jet."""
    return {"edges": calculate_edge_features(torch.tensor(values)[None], columns, features)[0].numpy()}


def main():
    cases = json.loads(Path(sys.argv[1]).read_text())
    out = {}
    for name, case in cases.items():
        found = edges(**case) if "features" in case else arrays(case)
        out |= {f"{name}/{key}": values for key, values in found.items()}
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
