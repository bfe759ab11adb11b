"""What a model is: inputs to the raw output of each task, and those to losses or physical values.

Shapes: B jets, "..." the tokens of a layout.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from salt.data.objects import OBJECTS
from salt.layout import Layout, Packed
from salt.models.object_finder import ObjectFinder
from salt.tasks.base import Task
from salt.types import Batch, Columns, Inputs, Preds, Schema, ragged


class Tagger(nn.Module, ABC):
    """A model with tasks.

    Parameters
    ----------
    schema : Schema
        The streams and their variables.
    tasks : nn.ModuleList
        The `Task`s.
    """

    def __init__(self, schema: Schema, tasks: nn.ModuleList) -> None:
        super().__init__()
        self.schema = schema
        self.tasks = tasks

    def heads(self) -> list[Task]:
        """The tasks."""
        return cast(list[Task], list(self.tasks))

    def row_heads(self) -> list[Task]:
        """The tasks whose answers are in the order of their labels: not those on objects, which are matched first."""
        return [task for task in self.heads() if task.input_name != OBJECTS]

    def finder(self) -> ObjectFinder | None:
        """What finds objects in jets; None: nothing does."""
        return None

    def loss_weights(self) -> dict[str, float]:
        """Name of each loss -> its weight in the total."""
        return {task.name: task.weight for task in self.heads()}

    @abstractmethod
    def forward(self, inputs: Inputs, house: type[Layout] = Packed) -> Preds:
        """Normalised inputs of each stream to the raw output of each task.

        Parameters
        ----------
        inputs : Inputs
            Stream -> (B, F), or Ragged.
        house : type[Layout]
            How the tokens are held on their way through.
        """

    def losses(self, preds: Preds, batch: Batch, house: type[Layout] = Packed) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of each loss: whoever trains divides, over all ranks."""
        return {
            task.name: task.loss(
                preds[task.name], dict(batch.labels[task.input_name]), self.layout_of(task, batch.inputs, house)
            )
            for task in self.row_heads()
        }

    def outputs(
        self, preds: Preds, inputs: Inputs, columns: Columns, house: type[Layout] = Packed
    ) -> dict[str, dict[str, Tensor]]:
        """Physical values of each task: task -> name -> (B,) or (...).

        Parameters
        ----------
        preds : Preds
            What `forward` has given.
        inputs : Inputs
            What it was given.
        columns : Columns
            What `required_columns` asks for, as far as there is.
        house : type[Layout]
            How the tokens are held.
        """
        return {
            task.name: task.outputs(
                preds[task.name], columns.get(task.input_name, {}), self.layout_of(task, inputs, house)
            )
            for task in self.heads()
        }

    def layout_of(self, task: Task, inputs: Inputs, house: type[Layout]) -> Layout | None:
        """Where the rows of a task's stream are; None: each jet has the same number."""
        if task.input_name in {self.schema.global_object, OBJECTS}:
            return None
        return house.of(ragged(inputs, task.input_name))[1]

    def required_labels(self) -> dict[str, list[str]]:
        """Stream -> labels that the loader must bring for the losses."""
        return self._of_tasks(lambda task: task.required_labels())

    def required_columns(self) -> dict[str, list[str]]:
        """Stream -> columns of the file that physical values need, beside the inputs."""
        return self._of_tasks(lambda task: task.required_columns())

    def _of_tasks(self, names: Callable[[Task], list[str]]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for task in self.heads():
            found[task.input_name] += [name for name in names(task) if name not in found[task.input_name]]
        return {stream: of for stream, of in found.items() if of}


def dense(inputs: Inputs, stream: str) -> Tensor | None:
    """The variables (B, F) of a stream with one row a jet; None: there are none."""
    x = inputs.get(stream)
    assert x is None or isinstance(x, Tensor), f"stream {stream} is ragged"
    return x
