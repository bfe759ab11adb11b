import operator
import os
import time

import pytest

from salt.simulate.workers import Workers


def test_results_come_in_the_order_of_the_tasks():
    with Workers(2) as workers:
        tasks = [(time.sleep, (0.3,)), (operator.add, (1, 2)), (operator.add, (3, 4))]
        assert list(workers.run(tasks)) == [None, 3, 7]


def test_error_in_a_worker_reaches_the_caller():
    with Workers(1) as workers, pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(workers.run([(operator.truediv, (1, 0))]))


def test_death_of_a_worker_reaches_the_caller_with_a_mend():
    with Workers(1) as workers, pytest.raises(RuntimeError, match=r"exit code 3.*fewer --workers"):
        list(workers.run([(os._exit, (3,))]))
