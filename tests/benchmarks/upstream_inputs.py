"""What upstream makes of the same weights and inputs. Started by test_inputs_parity.py, with the peer's Python."""

import sys
import warnings
from pathlib import Path

import torch
from torch import nn

from salt.models import (
    ClassificationTask,
    GlobalAttentionPooling,
    InputNorm,
    NodeQueryGAP,
    PositionalEncoder,
    R21Xbb,
    SaltModel,
    Transformer,
)


def tasks_of(case):
    """The heads; upstream's LightningModule tells each what the global object is."""
    names = list("abcd")
    tasks = nn.ModuleList()
    for task in case["tasks"]:
        classes = names[: task["dense_config"]["output_size"]]
        tasks.append(ClassificationTask(loss=nn.CrossEntropyLoss(), class_names=classes, **task))
    for task in tasks:
        task.global_object = "jets"
    return tasks


def build(case):
    """A model of these arguments."""
    variables, model = case["variables"], case["model"]
    for net in [*model["init_nets"], *(model.get("featurewise_nets") or [])]:
        net["variables"] = variables
    for net in model["init_nets"]:
        net["global_object"] = "jets"
        if "pos_enc" in net:
            net["pos_enc"] = PositionalEncoder(**net["pos_enc"])
    return SaltModel(
        tasks=tasks_of(case),
        encoder=Transformer(**case["encoder"]) if case["encoder"] else None,
        pool_net=GlobalAttentionPooling(8) if case["pool"] else None,
        **model,
    )


def models(case):
    model = build(case).double().eval()
    missing, more = model.load_state_dict(case["state"], strict=False)
    assert not more, more
    assert set(missing) <= {"encoder.register_mask"}, missing
    found = {}
    for dtype in (torch.float64, torch.float32):
        inputs = {name: x.to(dtype) for name, x in case["inputs"].items()}
        preds, _ = model.to(dtype)(inputs, dict(case["pad_masks"]), None)
        name = str(dtype).removeprefix("torch.")
        found[name] = {task["name"]: preds[task["input_name"]][task["name"]] for task in case["tasks"]}
    return found


def subjets(case):
    model = R21Xbb(tasks_of(case)).double()
    model.load_state_dict(case["state"])
    return model({"track": case["inputs"]["track"]}, None, None)[0]


def queries(case):
    pool = NodeQueryGAP(4).double()
    pool.load_state_dict(case["state"])
    return pool({"tracks": case["tracks"], "objects": {"embed": case["queries"]}}, {"tracks": case["pad_mask"]})


def norm(case):
    made = InputNorm(Path(case["norm_dict"]), case["variables"], "jets", {name: name for name in case["variables"]})
    return {"state": made.state_dict(), "outputs": made(dict(case["inputs"]))}


def positions(case):
    return PositionalEncoder(**case["arguments"])(case["x"])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kinds = {"models": models, "subjets": subjets, "queries": queries, "norm": norm, "positions": positions}
    cases = torch.load(sys.argv[1])
    with torch.no_grad():
        torch.save({name: kinds[case["kind"]](case) for name, case in cases.items()}, sys.argv[2])
