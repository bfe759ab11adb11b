"""Jobs of two tasks, which train together: they stop together, and go on together."""

import re

import pytest

from tests.slurm.test_requeue import check_went_on


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [["scancel", "--signal=USR1"], ["scontrol", "requeue"]], ids=" ".join)
def test_two_ranks_stop_together_and_come_to_the_same_end(training, undisturbed, how):
    run = training(tasks=2)
    run.submit(pause="13:train")
    run.until_paused()
    run.cluster.run(*how, run.job)
    check_went_on(run, undisturbed(2))
    assert re.search("stopped after step 1[3-6], all is saved", run.said)  # they agree at a boundary after it


@pytest.mark.timeout(600)
def test_two_tasks_train_as_one_does(undisturbed):
    one, two = (undisturbed(tasks).curve() for tasks in (1, 2))
    losses = {key for key in one if key[1].startswith("val/") and key[1].endswith("loss")}
    assert len(losses) >= 3
    for key in losses:
        assert float(two[key]) == pytest.approx(float(one[key]), abs=1e-5), key
