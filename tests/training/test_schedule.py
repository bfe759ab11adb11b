import pytest
import torch

from salt.training.schedule import LRSConfig, one_cycle

CONFIG = LRSConfig(initial=1e-5, max=1e-3, end=1e-6, pct_start=0.25)


def rates(config, num_steps):
    """The learning rate of each step."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=config.max)
    schedule = one_cycle(optimizer, config, num_steps)
    seen = []
    for _ in range(num_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("pct_start", [0.0, 0.01, 0.1, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("num_steps", range(1, 21))
def test_no_training_is_too_short(num_steps, pct_start):
    config = LRSConfig(initial=1e-5, max=1e-3, end=1e-6, pct_start=pct_start)
    assert all(0 < rate <= config.max * (1 + 1e-9) for rate in rates(config, num_steps))


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
        both.append((optimizer, one_cycle(optimizer, of, steps)))
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


def test_a_resumed_cycle_goes_on_to_the_last_bit():
    assert rest(*resumed(20, 20), 15) == rates(CONFIG, 20)[5:]


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
