import copy

import pytest
import torch

from salt.training.ema import WARM_UP, WeightAverage, take_average


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))


def moved(net, by):
    with torch.no_grad():
        for weight in net.parameters():
            weight += by


def saved(net, average):
    checkpoint = {"state_dict": net.state_dict()}
    average.save(checkpoint)
    return copy.deepcopy(checkpoint)  # it refers to the weights themselves


def test_an_update_keeps_so_much_of_the_average(net):
    average, before = WeightAverage(net, 0.05), net[0].weight.detach().clone()  # less than the warm-up allows
    moved(net, 1.0)
    average.update()
    assert torch.allclose(saved(net, average)["state_dict"]["0.weight"], before + 0.95)


def test_the_first_updates_keep_less(net):
    average, before = WeightAverage(net, 0.999), net[0].weight.detach().clone()
    moved(net, 1.0)
    average.update()
    assert torch.allclose(saved(net, average)["state_dict"]["0.weight"], before + 1 - 1 / WARM_UP)


def test_the_decay_reaches_what_was_asked_for(net):
    average = WeightAverage(net, 0.5)
    for _ in range(20):
        average.update()
    before = saved(net, average)["state_dict"]["0.weight"]
    moved(net, 1.0)
    average.update()
    assert torch.allclose(saved(net, average)["state_dict"]["0.weight"], before + 0.5)


def test_the_average_is_put_in_and_taken_out_to_the_last_bit(net):
    average, own = WeightAverage(net, 0.9), net[0].weight.detach().clone()
    moved(net, 1.0)
    raw = net[0].weight.detach().clone()
    average.put_in()
    assert torch.equal(net[0].weight, own)
    average.put_in()  # twice is once
    average.take_out()
    assert torch.equal(net[0].weight, raw)


def test_a_checkpoint_is_the_same_while_the_average_is_in(net):
    average = WeightAverage(net, 0.9)
    moved(net, 1.0)
    average.update()
    outside = saved(net, average)
    average.put_in()
    inside = saved(net, average)
    for name, value in outside["state_dict"].items():
        assert torch.equal(value, inside["state_dict"][name])
        assert torch.equal(outside["salt"]["raw_state_dict"][name], inside["salt"]["raw_state_dict"][name])


def test_buffers_are_not_averaged(net):
    average = WeightAverage(net, 0.9)
    net[1].running_mean += 5
    average.update()
    assert torch.equal(saved(net, average)["state_dict"]["1.running_mean"], net[1].running_mean)


def test_weights_that_are_shared_are_averaged_once():
    shared = torch.nn.Linear(2, 2)
    net = torch.nn.Sequential(shared, shared)
    average, before = WeightAverage(net, 0.05), shared.weight.detach().clone()
    moved(net, 1.0)
    average.update()
    state = saved(net, average)["state_dict"]
    assert torch.equal(state["0.weight"], state["1.weight"])
    assert torch.allclose(state["1.weight"], before + 0.95)


def test_training_goes_on_with_the_weights_and_the_average_of_a_checkpoint(net):
    average = WeightAverage(net, 0.9)
    moved(net, 1.0)
    average.update()
    checkpoint = saved(net, average)
    averaged = {name: value.clone() for name, value in checkpoint["state_dict"].items()}
    taken = take_average(checkpoint)
    assert torch.equal(checkpoint["state_dict"]["0.weight"], net[0].weight)
    assert torch.equal(taken.state_dict["0.weight"], averaged["0.weight"])
    assert taken.updates == 1


def test_a_checkpoint_without_an_average_stays_as_it_is(net):
    checkpoint = {"state_dict": net.state_dict()}
    assert take_average(checkpoint) is None
    assert checkpoint.keys() == {"state_dict"}
