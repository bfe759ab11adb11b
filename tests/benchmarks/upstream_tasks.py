"""Upstream's answers for test_tasks_parity.py, run by upstream's Python: upstream_tasks.py CASES.pt OUT.pt."""

import sys
import warnings

import torch
from salt.utils.scalers import RegressionTargetScaler
from torch import nn

from salt import models

warnings.simplefilter("ignore")


def made_loss(name, options):
    """A loss of torch.nn, whose weights are lists."""
    return getattr(nn, name)(**{k: torch.tensor(v) if isinstance(v, list) else v for k, v in options.items()})


def answer(case):
    """Loss and inference of one task, in double precision."""
    options = dict(case["options"])
    options["loss"] = made_loss(*options["loss"])
    if "scaler" in options:
        options["scaler"] = RegressionTargetScaler(options["scaler"])
    task = getattr(models, case["kind"])(**options)
    task.load_state_dict(case["weights"], strict=False)
    task.double()
    pads = None if case["pad"] is None else {case["options"]["input_name"]: case["pad"]}
    labels = {case["options"]["input_name"]: case["labels"]}
    preds, loss = task(case["x"], labels, pads, context=case["context"])
    found = {"loss": loss.detach()}
    if case["infer"]:
        more = {"labels": labels} if case["infer"] == "labels" else {}
        with torch.no_grad():
            said = task.run_inference(preds.clone(), pad_mask=case["pad"], **more)
        found["said"] = torch.cat(said, -1) if isinstance(said, tuple) else said
    return found


def main():
    torch.set_default_dtype(torch.float64)
    cases = torch.load(sys.argv[1], weights_only=True)
    torch.save({name: answer(case) for name, case in cases.items()}, sys.argv[2])


if __name__ == "__main__":
    main()
