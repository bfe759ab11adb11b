import logging
import re
from dataclasses import replace

import pytest
import torch

from salt.training.rates import LRSConfig
from salt.training.schedule import scheduled

CONFIG = LRSConfig(initial=1e-5, max=1e-3, end=1e-6, pct_start=0.25)


def rates(config, num_steps):
    """The learning rate of each step."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=config.max)
    schedule = scheduled(optimizer, config, num_steps)
    seen = []
    for _ in range(num_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "wsd", "constant"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("num_steps", range(1, 21))
def test_no_training_is_too_short(num_steps, share, schedule):
    config = replace(CONFIG, pct_start=share, pct_decay=share, warmup_steps=round(20 * share), schedule=schedule)
    assert all(0 < rate <= config.max * (1 + 1e-9) for rate in rates(config, num_steps))


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "wsd"])
def test_rates_may_begin_and_end_at_0(schedule):
    config = replace(CONFIG, initial=0.0, end=0.0, schedule=schedule, warmup_steps=4)
    seen = rates(config, 20)
    assert (seen[0], seen[-1]) == pytest.approx((0.0, 0.0), abs=1e-15)
    assert max(seen) == pytest.approx(config.max)


@pytest.mark.parametrize(("num_steps", "pct_start"), [(10, 0.3), (57, 0.1), (200, 0.25), (1000, 0.01)])
def test_one_cycle_is_that_of_torch(num_steps, pct_start):
    config = replace(CONFIG, pct_start=pct_start)
    weight = torch.nn.Parameter(torch.zeros(1))
    mine, theirs = (torch.optim.AdamW([weight], lr=config.max) for _ in range(2))
    schedule = scheduled(mine, config, num_steps)
    other = torch.optim.lr_scheduler.OneCycleLR(
        theirs,
        config.max,
        num_steps,
        pct_start=pct_start,
        div_factor=config.max / config.initial,
        final_div_factor=config.initial / config.end,
    )
    for step in range(num_steps):
        for key in ("lr", "betas"):
            assert mine.param_groups[0][key] == pytest.approx(theirs.param_groups[0][key], rel=1e-14), (step, key)
        mine.step(), theirs.step()
        if step < num_steps - 1:
            schedule.step(), other.step()


def test_a_warm_up_goes_up_along_a_line():
    config = replace(CONFIG, schedule="constant", warmup_steps=4, initial=0.0, max=8e-4)
    assert rates(config, 20)[:6] == pytest.approx([0.0, 2e-4, 4e-4, 6e-4, 8e-4, 8e-4])


def test_a_cosine_goes_down_after_its_warm_up():
    config = replace(CONFIG, schedule="cosine", warmup_steps=4, max=2e-3, end=0.0)
    seen = rates(config, 25)  # 20 steps from the top, which is the step 4, to the end
    assert [seen[4], seen[14], seen[24]] == pytest.approx([2e-3, 1e-3, 0.0])


def test_wsd_goes_down_in_its_last_steps_along_a_root():
    config = replace(CONFIG, schedule="wsd", warmup_steps=4, max=1e-3, end=0.0, pct_decay=0.2)
    seen = rates(config, 20)
    assert seen[4:16] == [1e-3] * 12
    assert seen[16:] == pytest.approx([1e-3 * (1 - share**0.5) for share in (0.25, 0.5, 0.75, 1.0)])


def test_a_longer_training_with_wsd_has_the_same_steps_before_the_decay():
    config = replace(CONFIG, schedule="wsd", warmup_steps=4, pct_decay=0.2)
    assert rates(config, 200)[:80] == rates(config, 100)[:80]


@pytest.mark.parametrize("schedule", ["wsd", "constant"])
def test_a_training_without_an_end_stays_at_the_top(schedule):
    config = replace(CONFIG, schedule=schedule, warmup_steps=4)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=config.max)
    assert rest(optimizer, scheduled(optimizer, config, None), 50)[4:] == [config.max] * 46


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_a_curve_that_needs_an_end_says_so(schedule):
    with pytest.raises(ValueError, match=r"(?s)needs to know how long.*mend: give trainer.max_epochs.*wsd or constant"):
        scheduled(torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]), replace(CONFIG, schedule=schedule), None)


@pytest.mark.parametrize(
    ("config", "num_steps", "words"),
    [
        (replace(CONFIG, pct_start=0.1), 10, "pct_start 0.1 of 10 steps.*going up for 2 of them"),
        (CONFIG, 3, "3 steps are too few for one cycle"),
        (replace(CONFIG, schedule="cosine", warmup_steps=500), 20, "warmup_steps 500 .* 20 steps: going up for 10"),
        (replace(CONFIG, schedule="wsd", warmup_steps=500), 20, "warmup_steps 500 .* 20 steps: going up for 8"),
        (replace(CONFIG, schedule="wsd"), None, "no end"),
    ],
)
def test_what_is_changed_for_a_short_training_is_said(config, num_steps, words, caplog):
    with caplog.at_level(logging.INFO, "salt"):
        scheduled(torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]), config, num_steps)
    (message,) = caplog.messages
    assert re.search(words, message)


def test_nothing_is_said_of_a_training_that_is_long_enough(caplog):
    with caplog.at_level(logging.INFO, "salt"):
        rates(CONFIG, 100)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("key", "value"), [("max", 0.0), ("initial", -1.0), ("pct_start", 1.5), ("pct_decay", -0.1), ("warmup_steps", -1)]
)
def test_a_value_that_cannot_be_is_named(key, value):
    with pytest.raises(ValueError, match=rf"model.lrs_config.{key} is {value:g}"):
        replace(CONFIG, **{key: value}).check()


def test_groups_keep_the_ratio_of_their_rates():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [weights[0]]}, {"params": [weights[1]], "lr": CONFIG.max / 4}]
    optimizer = torch.optim.AdamW(groups, lr=CONFIG.max)
    schedule = scheduled(optimizer, CONFIG, 20)
    for _ in range(20):
        assert optimizer.param_groups[1]["lr"] == pytest.approx(optimizer.param_groups[0]["lr"] / 4)
        optimizer.step(), schedule.step()


def test_last_epoch_0_of_older_recipes_is_accepted():
    assert rates(replace(CONFIG, last_epoch=0), 20) == rates(CONFIG, 20)


def test_the_rate_begins_at_initial_peaks_at_max_and_ends_at_end():
    seen = rates(CONFIG, 200)
    assert seen[0] == pytest.approx(CONFIG.initial)
    assert max(seen) == pytest.approx(CONFIG.max)
    assert seen[-1] == pytest.approx(CONFIG.end)


def test_the_peak_is_where_pct_start_puts_it():
    seen = rates(CONFIG, 200)
    assert seen.index(max(seen)) == 49  # the 50th of 200 steps
    assert seen[:50] == sorted(seen[:50])
    assert seen[49:] == sorted(seen[49:], reverse=True)


def test_a_handful_of_steps_is_trained_at_the_top():
    assert rates(CONFIG, 3) == [CONFIG.max] * 3


def resumed(saved_steps, num_steps, config=CONFIG, new_config=CONFIG):
    """The optimiser and the schedule of a run of so many steps, that went on from 5 steps of another."""
    both = []
    for steps, of in ((saved_steps, config), (num_steps, new_config)):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=of.max)
        both.append((optimizer, scheduled(optimizer, of, steps)))
    (old_optimizer, old), (optimizer, schedule) = both
    for _ in range(5):
        old_optimizer.step()
        old.step()
    schedule.load_state_dict(old.state_dict())
    return optimizer, schedule


def rest(optimizer, schedule, count):
    seen = []
    for _ in range(count):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "wsd", "constant"])
def test_a_resumed_schedule_goes_on_to_the_last_bit(schedule):
    config = replace(CONFIG, schedule=schedule, warmup_steps=7)
    assert rest(*resumed(20, 20, config, config), 15) == rates(config, 20)[5:]


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "wsd"])
def test_what_is_saved_of_a_schedule_is_plain(schedule):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    state = scheduled(optimizer, replace(CONFIG, schedule=schedule), 20).state_dict()
    assert all(isinstance(value, int) for value in state.values())


def test_a_longer_training_has_the_rates_that_it_would_have_had_from_the_beginning():
    assert rest(*resumed(20, 40), 35) == rates(CONFIG, 40)[5:]


def test_a_training_too_short_for_a_cycle_goes_on_with_one():
    assert rest(*resumed(4, 40), 35) == rates(CONFIG, 40)[5:]


def test_a_cycle_stays_at_its_end():
    assert rest(*resumed(20, 20), 18)[-3:] == pytest.approx([CONFIG.end] * 3)


def test_the_momentum_goes_on_with_the_rate():
    whole, _ = resumed(40, 40)
    longer, _ = resumed(20, 40)
    assert whole.param_groups[0]["betas"] == longer.param_groups[0]["betas"]
