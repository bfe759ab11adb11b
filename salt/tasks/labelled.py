"""The task of the first versions (end of 2022), which names its stream with its label, and brings its net."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from salt.nn.layers import Dense
from salt.tasks.classification import ClassificationTask


class LabelledTask(ClassificationTask):
    """Classification by a net that is given. YAML names it `salt.models.Task`.

    Parameters
    ----------
    name : str
        Name of the task.
    label : str
        Its stream and its label in one: jets/labels.
    net : Dense
        What makes raw numbers, one for each class.
    loss : nn.Module | None
        A `torch.nn.CrossEntropyLoss`; None: one without class weights.
    weight : float
        Weight of its loss in the total.
    class_names : Sequence[str] | None
        Names of the classes; None: those that belong to the label, else their numbers.
    """

    def __init__(
        self,
        name: str,
        label: str,
        net: Dense,
        loss: nn.Module | None = None,
        weight: float = 1.0,
        class_names: Sequence[str] | None = None,
    ) -> None:
        stream, slash, column = label.partition("/")
        if not slash or not stream or not column:
            raise ValueError(f"task {name!r}: label is {label!r}; write the stream in front of it, like jets/labels")
        sizes = {"input_size": net.input_size, "output_size": net.output_size, "hidden_layers": []}
        super().__init__(name, stream, column, sizes, loss, class_names, weight=weight)
        self.net = net
