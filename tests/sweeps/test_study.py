import multiprocessing
import os
import time

import optuna
import pytest

from salt.sweeps import owner
from salt.sweeps.folder import members
from salt.sweeps.study import OWNER, Study

ELSEWHERE = {"host": "elsewhere", "pid": 1}


def nothing(plan, found):
    """No page."""


def taken_by(study, number, **record):
    """Have another process own a trial."""
    study._storage.set_trial_user_attr(study._id(number), OWNER, record)


def take_all(folder, queue):
    study = Study(folder)
    numbers = []
    while (trial := study.take()) is not None:
        numbers.append(trial.number)
        study.report(trial.number, 1, 0.5)
        study.end(trial.number, "complete", 0.5, 1.0)
    queue.put(numbers)


def test_there_are_exactly_as_many_trials_as_are_wanted_over_all_processes(study, tmp_path):
    study(trials=9)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=take_all, args=(tmp_path / "sweep", queue)) for _ in range(3)]
    for process in processes:
        process.start()
    taken = sorted(number for _ in processes for number in queue.get(timeout=120))
    for process in processes:
        process.join()
    assert taken == list(range(9))
    assert len(study().members()) == 9


def test_what_a_trial_tries_depends_on_its_number_and_not_on_who_asks(study, tmp_path):
    one = study(trials=4)
    first = [one.take().parameters for _ in range(4)]
    (tmp_path / "sweep" / "study.journal").unlink()
    second = [study().take().parameters for _ in range(4)]
    assert first == second
    assert len({str(each) for each in first}) == 4


def test_a_tpe_search_comes_near_the_minimum(study):
    parameters = {"x": {"low": -10.0, "high": 10.0}}
    one = study(method="tpe", parameters=parameters, trials=40)
    while (trial := one.take()) is not None:
        one.end(trial.number, "complete", (trial.parameters["x"] - 3) ** 2, 1.0)
    found = [member.parameters["x"] for member in one.members()]
    assert sum(abs(x - 3) < 2 for x in found[20:]) > 2 * sum(abs(x - 3) < 2 for x in found[:10])


def test_a_grid_is_tried_in_its_order_and_then_ends(study):
    one = study(method="grid", parameters={"a": [1, 2], "b": ["x", {"y": 1}]}, trials=4)
    found = [one.take().parameters for _ in range(4)]
    assert found == [{"a": 1, "b": "x"}, {"a": 1, "b": {"y": 1}}, {"a": 2, "b": "x"}, {"a": 2, "b": {"y": 1}}]
    assert one.take() is None


def test_a_living_owner_keeps_its_trial(study):
    study().take()
    assert study().take().number == 1


def test_the_trial_of_a_dead_process_is_taken_first(study, tmp_path):
    context = multiprocessing.get_context("spawn")
    study()
    process = context.Process(target=take_and_die, args=(tmp_path / "sweep",))
    process.start()
    process.join()
    trial = study().take()
    assert (trial.number, trial.is_new) == (0, False)
    assert study().take().number == 1


def take_and_die(folder):
    Study(folder).take()
    os._exit(9)


def test_a_silent_process_of_another_machine_counts_as_dead_after_a_while(study, tmp_path):
    one = study()
    one.take()
    taken_by(one, 0, **ELSEWHERE)
    assert study().take().number == 1
    beat = tmp_path / "sweep" / ".beats" / "0000"
    assert beat.is_file()
    long_ago = time.time() - owner.STALE - 5
    os.utime(beat, (long_ago, long_ago))
    assert study().take().number == 0


def test_a_requeued_job_takes_its_own_trial_at_once_and_that_of_another_job_not(study, monkeypatch):
    one = study()
    one.take()
    taken_by(one, 0, **ELSEWHERE, job="slurm-7", restarts=0)
    monkeypatch.setenv("SALT_JOB_ID", "slurm-8")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert study().take().number == 1
    monkeypatch.setenv("SALT_JOB_ID", "slurm-7")
    assert study().take().number == 0


def test_a_trial_that_is_given_back_is_anybodys_and_its_time_adds_up(study):
    one = study()
    trial = one.take()
    one.end(trial.number, "running", None, 10.0, "stopped by SIGTERM")
    assert one.members()[0].state == "running"
    again = study().take()
    assert (again.number, again.is_new, again.parameters) == (0, False, trial.parameters)
    study().end(0, "complete", 0.25, 5.0)
    (member,) = study().members()
    assert (member.state, member.value, member.duration, member.reason) == ("complete", 0.25, 15.0, "")


def test_the_tables_know_every_state(study, tmp_path):
    one = study(trials=4)
    for _ in range(4):
        one.take()
    one.end(0, "complete", 0.5, 1.0)
    one.report(1, 1, 0.9)
    one.end(1, "pruned", None, 1.0)
    one.end(2, "failed", None, 1.0, "ValueError: no")
    one.write(nothing)
    found = members(tmp_path / "sweep")
    assert [(each.state, each.value) for each in found] == [
        ("complete", 0.5), ("pruned", 0.9), ("failed", None), ("running", None),
    ]  # fmt: skip
    assert found[2].reason == "ValueError: no"
    assert found[3].run == tmp_path / "sweep" / "trials" / "toy_0003"


def test_the_median_prunes_what_is_worse_at_the_same_validation(study):
    one = study(trials=8, prune="median")
    for number in range(6):
        one.take()
        one.report(number, 1, 0.5 + 0.01 * number)
        one.end(number, "complete", 0.5, 1.0)
    one.take()
    assert one.report(6, 1, 0.9)
    one.take()
    assert not one.report(7, 1, 0.4)


def test_without_pruning_nothing_is_pruned(study):
    one = study(trials=8, prune="off")
    for number in range(6):
        one.take()
        one.report(number, 1, 0.5)
        one.end(number, "complete", 0.5, 1.0)
    one.take()
    assert not one.report(6, 1, 99.0)


def test_a_line_that_a_killed_process_left_unfinished_is_cut(study, tmp_path, caplog):
    one = study()
    one.take()
    with (tmp_path / "sweep" / "study.journal").open("a") as journal:
        journal.write('{"op_code": 4, "wor')
    assert one.take().number == 1
    assert len(study().members()) == 2
    assert "its last line was not written to its end" in caplog.text


def test_a_finished_trial_cannot_be_ended_again_by_who_was_thought_dead(study):
    one = study()
    one.take()
    study().end(0, "complete", 0.5, 1.0)
    one.end(0, "failed", None, 1.0, "late")
    assert one.members()[0].state == "complete"


def test_who_lost_a_trial_to_another_process_does_not_end_it_and_stops(study, caplog):
    one = study()
    one.take()
    taken_by(one, 0, **ELSEWHERE)
    assert one.report(0, 1, 0.5)
    one.end(0, "complete", 0.5, 1.0)
    assert one.members()[0].state == "running"
    assert "trial 0 was taken by another process" in caplog.text


def test_more_trials_can_be_wanted_but_not_fewer(study, tmp_path):
    one = study(trials=1)
    one.take()
    assert one.take() is None
    study().extend(2)
    assert one.take().number == 1
    study().extend(1)
    assert study().plan.trials == 2


def test_optuna_itself_reads_the_journal(study, tmp_path):
    one = study()
    trial = one.take()
    one.end(0, "complete", 0.5, 1.0)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "sweep" / "study.journal"))
    loaded = optuna.load_study(study_name="salt", storage=optuna.storages.JournalStorage(backend))
    assert loaded.best_params == trial.parameters
    assert loaded.best_value == 0.5


def test_without_optuna_one_sentence_says_how_to_install_it(study, monkeypatch, tmp_path):
    study()
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'salt-hep\[sweep\]'"):
        Study(tmp_path / "sweep")
