import pytest

from salt.sweeps.objective import NotLoggedError, objective

CURVE = "epoch,step,train/loss,val/auc,val/loss\n0,1,0.9,,\n0,2,,0.7,0.6\n1,4,,0.8,0.5\n2,6,,nan,0.55\n"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "metrics.csv").write_text(CURVE)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "direction", "value"), [("val/loss", "min", 0.5), ("val/auc", "max", 0.8), ("train/loss", "min", 0.9)]
)
def test_the_value_is_the_best_over_the_epochs(run, name, direction, value):
    assert objective(run, name, direction) == value


def test_what_is_not_logged_is_answered_with_the_nearest(run):
    with pytest.raises(NotLoggedError, match=r"unknown metric 'val/los' .* nearest: val/loss"):
        objective(run, "val/los", "min")


def test_a_metric_that_was_never_finite_is_no_value(run):
    (run / "metrics.csv").write_text("epoch,step,val/loss\n0,1,nan\n1,2,inf\n")
    with pytest.raises(ValueError, match="val/loss was never a finite number"):
        objective(run, "val/loss", "min")


def test_a_run_without_a_curve_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"has no metrics\.csv"):
        objective(tmp_path, "val/loss", "min")
