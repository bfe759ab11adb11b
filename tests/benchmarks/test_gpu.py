"""The benchmark of a GPU says so where there is none, and its two sides run: nothing is timed here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_without_a_gpu_it_says_so_in_one_line():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "gpu.py: no CUDA device here; run it on a machine with an NVIDIA GPU\n"


@pytest.mark.peers
def test_a_trial_on_the_cpu_runs_both_sides(run_against_peer):
    report = run_against_peer("gpu.py", "--trial", "--model", "small", "--jets", 40, "--rounds", 2)
    assert report["attention_upstream"] in {"torch-meff", "flash-varlen"}
    assert report["first_loss_difference"] < 1e-4
    for kind in ("compute", "from_host"):
        low, high = report[f"ci_{kind}"]
        assert 0 < low <= report[f"ratio_{kind}"] <= high
    assert 0 < report["share_of_peak_ours"] < 1
    assert json.dumps(report)
