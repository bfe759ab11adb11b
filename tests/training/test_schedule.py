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
