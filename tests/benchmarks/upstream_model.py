"""What upstream's whole models say of a batch, for test_model_parity.py: upstream_model.py FOLDER MODEL...

For each model FOLDER/MODEL.npz is the batch; FOLDER/MODEL.pt becomes its weights, and what they say in both precisions.
"""

import sys
import warnings
from copy import deepcopy
from pathlib import Path

import torch
from models import MODELS
from step_worker import Padded

warnings.simplefilter("ignore")


def to(node, dtype):
    """Floating-point tensors of a batch in another precision."""
    if isinstance(node, dict):
        return {key: to(value, dtype) for key, value in node.items()}
    return node.to(dtype) if node.is_floating_point() else node


def says(stepper, dtype):
    """Probabilities of jets, tracks and pairs that exist, and losses."""
    model = stepper.model.to(dtype).eval()
    inputs, masks, labels = (to(part, dtype) for part in stepper.batch(0))
    with torch.inference_mode():
        preds, losses = model(inputs, masks, labels)
    return {
        "jets_classification": preds["jets"]["jets_classification"].softmax(-1),
        "track_origin": preds["tracks"]["track_origin"].softmax(-1)[~masks["tracks"]],
        "track_vertexing": preds["tracks"]["track_vertexing"].sigmoid(),
        **{f"loss of {task}": loss for task, loss in losses.items()},
    }


def weighted(folder, name):
    """The model, with weights of which none is at its start value, and its batch."""
    torch.manual_seed(1)
    stepper = Padded(MODELS[name], [Path(folder, f"{name}.npz")], fused=False, trim=False)
    with torch.no_grad():  # biases and gains are 0 and 1 at first: a model that mixed them up would be right
        for parameter in stepper.model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return stepper


def main():
    folder, *names = sys.argv[1:]
    steppers = {name: weighted(folder, name) for name in names}
    contents = {name: {"weights": deepcopy(stepper.model.state_dict())} for name, stepper in steppers.items()}
    for dtype in (torch.float32, torch.float64):
        if dtype == torch.float64:
            # RMSNorm and the loss of vertexing compute in float32 always, which hides whether formulas are the same
            torch.Tensor.float = torch.Tensor.double
        for name, stepper in steppers.items():
            contents[name][str(dtype)] = says(stepper, dtype)
    for name, content in contents.items():
        torch.save(content, Path(folder, f"{name}.pt"))


if __name__ == "__main__":
    main()
