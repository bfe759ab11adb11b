import pytest
import torch
from torch import nn

from salt.tasks.losses import elementwise, make_loss


@pytest.mark.parametrize("name", ["MSELoss", "nn.MSELoss", "torch.nn.MSELoss"])
def test_a_loss_is_known_by_its_name(name):
    assert isinstance(make_loss(name), nn.MSELoss)


def test_a_loss_that_is_made_already_is_taken():
    loss = nn.HuberLoss(delta=2.0)
    assert make_loss(loss) is loss


def test_an_unknown_loss_is_answered_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown loss 'MSLoss' in torch.nn \(key loss of task 'pt'\); nearest: MSELoss"
    ):
        make_loss("MSLoss", "pt")


def test_what_is_no_loss_is_not_known():
    with pytest.raises(ValueError, match="unknown loss 'Linear'"):
        make_loss("torch.nn.Linear")


def test_a_sum_is_refused():
    with pytest.raises(ValueError, match="task 'pt': the loss MSELoss has reduction 'sum'"):
        make_loss(nn.MSELoss(reduction="sum"), "pt")


def test_the_loss_of_each_value_leaves_the_given_one_as_it_is():
    given = nn.L1Loss()
    alone = elementwise(given)
    assert alone(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])).tolist() == [1.0, 2.0]
    assert given.reduction == "mean"


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "GaussianNLLLoss", "CTCLoss", "MultiLabelMarginLoss"])
def test_what_has_no_loss_of_each_value_is_refused(name):
    with pytest.raises(ValueError, match=f"task 'pt': {name} gives no loss for each value"):
        elementwise(make_loss(name), "pt")
