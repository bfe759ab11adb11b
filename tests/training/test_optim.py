"""Optimisers: names, steps against hand-computed ones, and state that goes on to the last bit."""

import copy

import pytest
import torch

from salt.training.lion import Lion
from salt.training.muon import HybridMuonAdamW
from salt.training.optim import OPTIMIZERS, Group, chosen


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 5)
        self.norm = torch.nn.LayerNorm(5)
        self.hidden = torch.nn.Linear(5, 5)
        self.out_proj = torch.nn.Linear(5, 2)

    def forward(self, x):
        return self.out_proj(torch.relu(self.hidden(self.norm(self.first(x)))))


def net():
    torch.manual_seed(2)
    return Net().double()


def build(optimizer, model, rate=1e-3, weight_decay=0.1, fused=True):
    return chosen(optimizer).build([Group(list(model.named_parameters()), rate, weight_decay)], fused)


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        x = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step))

        def closure(x=x):
            optimizer.zero_grad()
            loss = (model(x) - x[:, :2].sin()).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
    return [weight.detach().clone() for weight in model.parameters()]


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("AdamW", torch.optim.AdamW),
        ("lion", Lion),
        ("Lion", Lion),
        ("HybridMuonAdamW", HybridMuonAdamW),
        ("salt.optim.HybridMuonAdamW", HybridMuonAdamW),
        ("SGD", torch.optim.SGD),
        ("torch.optim.NAdam", torch.optim.NAdam),
        ("salt.training.lion.Lion", Lion),
    ],
)
def test_an_optimiser_has_a_name(name, kind):
    assert chosen(name).kind is kind


def test_a_class_path_may_bring_arguments():
    choice = chosen({"class_path": "torch.optim.SGD", "init_args": {"momentum": 0.9, "nesterov": True}})
    (group,) = choice.build([Group(list(net().named_parameters()), 0.1, 0.01)], True).param_groups
    assert (group["lr"], group["weight_decay"], group["momentum"], group["nesterov"]) == (0.1, 0.01, 0.9, True)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ("adamw", "unknown optimizer 'adamw' in model.optimizer; nearest: AdamW"),
        ("torch.optim.Adamm", "unknown optimizer 'torch.optim.Adamm'"),
        ("nowhere.Optimiser", "unknown optimizer 'nowhere.Optimiser'"),
        ("torch.nn.Linear", "unknown optimizer 'torch.nn.Linear'"),
        ("Muon", "(?s)for matrices alone.*HybridMuonAdamW"),
        ({"class_path": "lion", "init_args": {"beta": [0.9, 0.9]}}, "unknown argument 'beta'.*nearest: betas"),
        ({"class_path": "lion", "init_args": {"lr": 1}}, "(?s)lr in its init_args.*give model.lrs_config.max"),
        ({"name": "lion"}, "(?s)model.optimizer is .*mend: write a name"),
    ],
)
def test_what_is_no_optimiser_is_refused(optimizer, words):
    with pytest.raises(ValueError, match=words):
        chosen(optimizer)


# --- steps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimiser_lowers_the_loss(name):
    model = net()
    x = torch.randn(64, 3, dtype=torch.float64)
    before = (model(x) - x[:, :2].sin()).square().mean()
    optimizer = build(name, model, rate=1e-2, weight_decay=1e-5)
    train(model, optimizer, 20)
    assert (model(x) - x[:, :2].sin()).square().mean() < before


def test_lion_goes_the_sign_of_its_average():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
    optimizer = Lion([weight], lr=0.1, betas=(0.9, 0.5), weight_decay=0.2)
    for gradient in ([1.0, -1.0], [-0.02, -1.0]):  # the average is 0.5 and -0.5 after the first
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    # 1 * 0.98 - 0.1 = 0.88; sign(0.9 * 0.5 - 0.1 * 0.02) = 1: 0.88 * 0.98 - 0.1
    assert weight.tolist() == pytest.approx([0.88 * 0.98 - 0.1, (2 * 0.98 + 0.1) * 0.98 + 0.1])
    assert optimizer.state[weight]["exp_avg"].tolist() == pytest.approx([0.24, -0.75])


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"betas": (0.9, 1.0)}, {"weight_decay": -0.1}])
def test_lion_refuses_what_cannot_be(options):
    with pytest.raises(ValueError, match="Lion cannot have"):
        Lion([torch.nn.Parameter(torch.zeros(1))], **options)


def test_muon_has_the_hidden_matrices_and_adamw_the_rest():
    model = net()
    optimizer = build("HybridMuonAdamW", model)
    names = {id(weight): name for name, weight in model.named_parameters()}
    muon, adamw = ([names[id(weight)] for weight in group["params"]] for group in optimizer.param_groups)
    assert muon == ["first.weight", "hidden.weight"]
    assert "out_proj.weight" in adamw
    assert len(adamw) == 6


def test_hybrid_steps_are_those_of_its_two_parts():
    model, other = net(), net()
    got = train(model, build("HybridMuonAdamW", model), 3)
    matrices = [other.first.weight, other.hidden.weight]
    rest = [weight for weight in other.parameters() if not any(weight is matrix for matrix in matrices)]
    muon = torch.optim.Muon(matrices, lr=1e-3, weight_decay=0.1)
    adamw = torch.optim.AdamW(rest, lr=1e-3, weight_decay=0.1)
    for step in range(3):
        x = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        other.zero_grad()
        (other(x) - x[:, :2].sin()).square().mean().backward()
        muon.step(), adamw.step()
    for mine, theirs in zip(got, other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_a_model_without_matrices_has_no_use_for_muon():
    with pytest.raises(ValueError, match=r"(?s)0 matrices for Muon and 2 other.*mend: set model.optimizer to AdamW"):
        HybridMuonAdamW(torch.nn.LayerNorm(3).named_parameters())


def test_matrices_may_be_left_to_adamw_by_their_names():
    optimizer = HybridMuonAdamW(net().named_parameters(), exclude_name_patterns=["first", "bias"])
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 6]


# --- going on -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["AdamW", "lion", "HybridMuonAdamW", "SGD", "Adamax"])
def test_an_optimiser_goes_on_from_its_state_to_the_last_bit(name, tmp_path):
    model = net()
    optimizer = build(name, model)
    train(model, optimizer, 3)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    whole = train(model, optimizer, 3, start=3)

    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    model = net()
    model.load_state_dict(saved["model"])
    optimizer = build(name, model)
    optimizer.load_state_dict(saved["optimizer"])
    for mine, theirs in zip(train(model, optimizer, 3, start=3), whole, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)])
def test_a_fused_state_and_another_are_one(before, after):
    model = net()
    optimizer = build("AdamW", model, fused=before)
    train(model, optimizer, 3)
    state, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model.state_dict())
    whole = train(model, optimizer, 3, start=3)

    model = net()
    model.load_state_dict(weights)
    optimizer = build("AdamW", model, fused=after)
    for group in state["param_groups"]:
        group["fused"] = after  # as training/resume has it: what the config says wins
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["fused"] is after
    for mine, theirs in zip(train(model, optimizer, 3, start=3), whole, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_adamw_steps_in_one_kernel():
    assert build("AdamW", net()).param_groups[0]["fused"] is True
