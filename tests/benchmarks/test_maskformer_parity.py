"""The mask decoder equals upstream's, with the same weights, in float64. Nothing is timed."""

import pytest
import torch

from salt.layout import Packed
from salt.models import Dense, MaskDecoder, MaskFormerLoss
from salt.models.maskformer import OBJECT_CLASS, OBJECT_MASKS
from salt.models.object_losses import Truth
from salt.nn.encoder import Tokens
from salt.ragged import Segments

pytestmark = pytest.mark.peers

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(scope="module")
def theirs(run_upstream, tmp_path_factory):
    """What upstream's decoders say."""
    answers = tmp_path_factory.mktemp("upstream") / "answers.pt"
    run_upstream("upstream_maskformer.py", answers)
    return torch.load(answers, weights_only=True)


def renamed(state):
    """Upstream's parameters under our names: it has the mask net once more in each layer, and misspells one."""
    kept = {name: of for name, of in state.items() if not (name.startswith("layers.") and ".mask_net." in name)}
    kept["queries"] = kept.pop("inital_q")
    kept.pop("mask_loss.empty_weight")
    return kept


@pytest.mark.parametrize("case", range(4))
def test_a_decoder_finds_what_upstreams_finds(theirs, case):
    of = theirs["decoders"][case]
    width, x, lengths = of["x"].shape[-1], of["x"], of["lengths"]
    decoder = MaskDecoder(
        embed_dim=width,
        num_layers=2,
        md_config={"n_heads": 2, **of["layers"]},
        class_net=Dense(width, 3),
        mask_net=Dense(width, width),
        num_objects=4,
        loss_config={"num_classes": 2, "loss_weights": theirs["weights"]},
    ).double()
    decoder.load_state_dict(renamed(of["state"]))
    valid = torch.arange(x.shape[1]) < lengths[:, None]
    found = decoder(Tokens("tracks", x[valid], Packed(Segments.from_lengths(lengths))))
    torch.testing.assert_close(found.embed, of["outputs"]["embed"], **CLOSE)
    torch.testing.assert_close(found.preds[OBJECT_CLASS][-1], of["outputs"]["class_logits"], **CLOSE)
    torch.testing.assert_close(found.preds[OBJECT_MASKS][-1], of["outputs"]["masks"].transpose(1, 2)[valid], **CLOSE)
    probabilities = decoder.mask_loss.class_probs(found.preds[OBJECT_CLASS][-1])
    torch.testing.assert_close(probabilities, of["outputs"]["class_probs"], **CLOSE)


@pytest.mark.parametrize("case", range(3))
def test_losses_after_matching_are_upstreams(theirs, case):
    of = theirs["losses"][case]
    weights, outputs = theirs["weights"], of["outputs"]
    losses = MaskFormerLoss(of["num_classes"], weights, null_class_weight=of["null_class_weight"])
    jets, _, length = of["masks"].shape
    layout = Packed(Segments.from_lengths(torch.full((jets,), length)))
    masks = outputs["masks"].transpose(1, 2).flatten(0, 1)
    truth = Truth(of["classes"], of["masks"].transpose(1, 2).flatten(0, 1))
    distance = (of["regression"] - of["mass"][:, None]).abs().nan_to_num(0)  # (B, Q, 1), (B, 1, M)
    matched = losses.match(outputs["class_logits"], masks, truth, layout, [distance])
    ours = losses(outputs["class_logits"], masks, truth, matched, layout)
    assert ours.keys() == of["losses"].keys() == losses.weights.keys()
    for name, (total, count) in ours.items():
        loss = (weights[name] * total / count).item()
        assert loss == pytest.approx(of["losses"][name], rel=1e-6), name  # upstream adds up in float32
