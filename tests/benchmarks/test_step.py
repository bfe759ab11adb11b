"""The training-step benchmark runs, on the same parameters and with the same losses as upstream. Nothing is timed."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

peers = pytest.mark.peers

ROOT = Path(__file__).parents[2]


@peers
def test_step_reports_a_speed_up_and_equal_losses(run_against_peer):
    report = run_against_peer("step.py", "--models", "small", "--quick")

    assert report["rounds"] == 2
    assert report["jets_small"] == 50
    assert report["first_loss_difference_small"] < 1e-4
    assert report["third_loss_difference_small"] < 1e-3
    assert report["ratio_small"] > 0
    low, high = report["ci_small"]
    assert low <= report["ratio_small"] <= high
    assert {f"speedup_small_{variant}" for variant in ("trimmed", "fused", "trimmed_fused")} <= report.keys()
    assert {name for name in report if "ratio" in name} == {"ratio_small"}
    for side in ("", "_upstream"):
        assert 0 < report[f"share_of_peak_small{side}"] < 1
        assert report[f"gflop_small{side}"] > 0.1
    assert report["kept_small"] < 0.35  # padding is not kept


@peers
def test_losses_of_objects_are_upstreams_too(run_against_peer):
    report = run_against_peer("step.py", "--models", "maskformer", "--quick", "--no-variants")

    assert report["first_loss_difference_maskformer"] < 1e-4
    assert report["third_loss_difference_maskformer"] < 1e-3
    assert report["kept_maskformer"] < 0.35


@peers
def test_parameters_have_upstreams_names_and_shapes(run_against_peer):
    for shapes in run_against_peer("step.py", "--models", "small", "gn2", "gn3", "--parameters").values():
        assert len(shapes["upstream"]) > 40
        assert shapes["ours"] == shapes["upstream"]


def kept(model, forward):
    """What the benchmark counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("cost").kept_bytes(model, forward)


def test_what_a_step_keeps_is_counted_once_and_without_weights():
    model, x = torch.nn.Linear(4, 8), torch.randn(16, 4, requires_grad=True)
    assert kept(model, lambda: (model(x).exp() + x.exp().sum()).sum()) == 4 * (16 * 4 + 16 * 8 + 16 * 4)


def test_what_a_backward_by_hand_holds_is_counted_too():
    class Holds(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.held = [x * 2]
            return x.sum()

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.held[0]

    assert kept(torch.nn.Identity(), lambda: Holds.apply(torch.randn(8, requires_grad=True))) == 4 * 8


def test_products_that_are_added_in_place_are_counted():
    a, b, c = torch.ones(4, 3), torch.ones(3, 5), torch.ones(4, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        assert importlib.import_module("cost").count_flops(lambda: c.addmm_(a, b)) == 2 * 4 * 3 * 5


def test_a_missing_peer_is_answered_with_how_to_make_it(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "step.py", "--peer-python", tmp_path / "none"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode != 0
    assert "run benchmarks/peers/setup" in done.stderr
