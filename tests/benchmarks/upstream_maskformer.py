"""Upstream's mask decoder for test_maskformer_parity.py, run by upstream's Python: upstream_maskformer.py OUT.pt."""

import sys
import warnings
from itertools import product

import torch
from torch import nn

from salt.models import Dense, RegressionTask
from salt.models.maskformer import MaskDecoder

warnings.simplefilter("ignore")

WIDTH, NUM_OBJECTS = 8, 4
WEIGHTS = {"object_class_ce": 2.0, "mask_ce": 10.0, "mask_dice": 2.0, "mask_focal": 3.0, "regression": 2.0}


def decoder(num_classes, layers, **loss_config):
    """A decoder with weights that are larger than they begin, so that masks differ."""
    made = MaskDecoder(
        embed_dim=WIDTH,
        num_layers=2,
        md_config={"n_heads": 2, **layers},
        class_net=Dense(WIDTH, 1 if num_classes == 1 else num_classes + 1),
        mask_net=Dense(WIDTH, WIDTH),
        num_objects=NUM_OBJECTS,
        loss_config={"num_classes": num_classes, "loss_weights": WEIGHTS, **loss_config},
    )
    for parameter in made.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return made


def answer(model, x, pad, labels=None, tasks=()):
    """What it says of these constituents, and its losses."""
    preds, _, losses = model({"embed_xs": x.clone()}, nn.ModuleList(tasks), pad, labels)
    return {name: preds["objects"][name].detach() for name in ("embed", "class_logits", "class_probs", "masks")}, losses


def decoders():
    """Outputs of all kinds of layers, for padded jets."""
    for mask_attention, bidirectional in product((True, False), (True, False)):
        layers = {"mask_attention": mask_attention, "bidirectional_ca": bidirectional}
        model = decoder(2, layers)
        lengths = torch.tensor([5, 2, 0, 1, 7])
        pad = torch.arange(7) >= lengths[:, None]
        x = torch.randn(5, 7, WIDTH)
        outputs, _ = answer(model, x, pad)
        yield {"state": model.state_dict(), "layers": layers, "x": x, "lengths": lengths, "outputs": outputs}


def losses():
    """Losses of jets that have the same number of constituents, and no more than two objects each."""
    for num_classes, null_class_weight in ((2, 0.5), (2, 0.1), (1, 0.5)):
        layers = {"mask_attention": True, "bidirectional_ca": True}
        model = decoder(num_classes, layers, null_class_weight=null_class_weight)
        jets, length = 40, 6
        x, pad = torch.randn(jets, length, WIDTH), torch.zeros(jets, length, dtype=torch.bool)
        classes = torch.randint(0, num_classes + 1, (jets, NUM_OBJECTS)).sort(-1)[0]
        classes[:, 2:] = num_classes  # upstream matches three objects wrongly
        real = classes != num_classes
        masks = (torch.rand(jets, NUM_OBJECTS, length) < 0.4) & real[..., None]
        target = torch.randn(jets, NUM_OBJECTS).masked_fill(~real, torch.nan)
        task = RegressionTask(
            name="regression",
            input_name="objects",
            targets=["mass"],
            loss=nn.L1Loss(reduction="none"),
            dense_config={"input_size": WIDTH, "output_size": 1},
        )
        task.global_object = "jets"
        with torch.no_grad():
            before, _ = answer(model, x, pad)
            raw = task.net(before["embed"])
            labels = {"objects": {"object_class": classes, "masks": masks, "mass": target}}
            _, values = answer(model, x, pad, labels, [task])
        yield {
            "num_classes": num_classes,
            "null_class_weight": null_class_weight,
            "outputs": before,
            "regression": raw,
            "classes": classes,
            "masks": masks,
            "mass": target,
            "losses": {name: value.item() for name, value in values.items()},
        }


def main():
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    torch.save({"decoders": list(decoders()), "losses": list(losses()), "weights": WEIGHTS}, sys.argv[1])


if __name__ == "__main__":
    main()
