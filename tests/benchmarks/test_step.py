"""The training-step benchmark runs, on the same parameters and with the same losses as upstream. Nothing is timed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.peers

ROOT = Path(__file__).parents[2]


def test_step_reports_a_speed_up_and_equal_losses(run_against_peer):
    report = run_against_peer("step.py", "--models", "small", "--jets", 50, "--rounds", 1)

    assert report["rounds"] == 1
    assert report["jets_small"] == 50
    assert report["first_loss_difference_small"] < 1e-4
    assert report["third_loss_difference_small"] < 1e-3
    assert report["ratio_small"] > 0
    low, high = report["ci_small"]
    assert low <= report["ratio_small"] <= high
    assert {f"speedup_small_{variant}" for variant in ("trimmed", "fused", "trimmed_fused")} <= report.keys()
    assert {name for name in report if "ratio" in name} == {"ratio_small"}


def test_parameters_have_upstreams_names_and_shapes(run_against_peer):
    for shapes in run_against_peer("step.py", "--models", "small", "gn2", "--parameters").values():
        assert len(shapes["upstream"]) > 40
        assert shapes["ours"] == shapes["upstream"]


def test_a_missing_peer_is_answered_with_how_to_make_it(tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / "step.py", "--peer-python", tmp_path / "none"]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode != 0
    assert "run benchmarks/peers/setup" in done.stderr
