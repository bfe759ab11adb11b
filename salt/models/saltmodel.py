"""The model: embed each stream, encode them together, pool, and ask the tasks.

Shapes: B jets, "..." the tokens of a layout, D width.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

from torch import Tensor, nn

from salt.layout import Layout, Packed
from salt.nn.embedding import InitNet
from salt.nn.pooling import GlobalAttentionPooling
from salt.nn.transformer import Transformer
from salt.ragged import Ragged
from salt.tasks.base import Task
from salt.types import Batch, Inputs, Preds, Schema


class SaltModel(nn.Module):
    """A tagger: several streams in, several tasks out.

    Parameters
    ----------
    schema : Schema
        The streams and their variables. The CLI fills it in from `data`.
    init_nets : list[dict[str, Any]]
        Arguments of one `InitNet` for each stream of constituents, in the order in which they are merged.
    tasks : nn.ModuleList
        The `Task`s.
    encoder : Transformer | None
        The encoder of all constituents together; None: they are pooled as they were embedded (DeepSets).
    pool_net : GlobalAttentionPooling | None
        From tokens to one vector a jet; None: no task may read the global object.
    """

    def __init__(
        self,
        schema: Schema,
        init_nets: list[dict[str, Any]],
        tasks: nn.ModuleList,
        encoder: Transformer | None = None,
        pool_net: GlobalAttentionPooling | None = None,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.init_nets = nn.ModuleList(InitNet(schema=schema, **config) for config in init_nets)
        self.tasks = tasks
        self.encoder = encoder
        self.pool_net = pool_net
        self._check_streams()

    def heads(self) -> list[Task]:
        """The tasks."""
        return cast(list[Task], list(self.tasks))

    def _nets(self) -> list[InitNet]:
        return cast(list[InitNet], list(self.init_nets))

    def _check_streams(self) -> None:
        streams = [self.schema.global_object, *(net.input_name for net in self._nets())]
        for task in self.heads():
            if task.input_name not in streams:
                raise ValueError(
                    f"task {task.name!r} reads input_name {task.input_name!r}, which no init net embeds; "
                    f"there are {', '.join(map(repr, streams))}"
                )

    def forward(self, inputs: Inputs, house: type[Layout] = Packed) -> Preds:
        """Normalised inputs of each stream to the raw output of each task.

        Parameters
        ----------
        inputs : Inputs
            Stream -> (B, F), or Ragged.
        house : type[Layout]
            How the tokens are held on their way through.
        """
        jets = inputs.get(self.schema.global_object)
        assert jets is None or isinstance(jets, Tensor)
        entered = [house.of(_ragged(inputs, net.input_name)) for net in self._nets()]
        layouts = [layout for _, layout in entered]
        streams = [net(x, jets, layout) for net, (x, layout) in zip(self._nets(), entered, strict=True)]
        tokens, pooled = self._encode(streams, house, layouts)
        places = {net.input_name: i for i, net in enumerate(self._nets())}
        preds: Preds = {}
        for task in self.heads():
            if task.input_name == self.schema.global_object:
                preds[task.name] = task(pooled, None, None)
            else:
                place = places[task.input_name]
                preds[task.name] = task(tokens[place], pooled, layouts[place])
        return preds

    def _encode(
        self, streams: list[Tensor], house: type[Layout], layouts: list[Layout]
    ) -> tuple[list[Tensor], Tensor | None]:
        """Embedded streams to encoded ones, and the pooled jets (B, D)."""
        merged = house.merge(layouts, self.encoder.num_registers if self.encoder is not None else 0)
        if self.encoder is not None:
            x = self.encoder(streams, merged)
            to_pool, layout = self.encoder.to_pool(x, merged)
        else:
            x, layout = merged.join(streams), merged.layout
            to_pool = x
        pooled = self.pool_net(to_pool, layout) if self.pool_net is not None else None
        return [merged.part(x, i) for i in range(len(streams))], pooled

    def losses(self, preds: Preds, batch: Batch, house: type[Layout] = Packed) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of each task's loss: whoever trains divides, over all ranks."""
        return {
            task.name: task.loss(
                preds[task.name], dict(batch.labels[task.input_name]), self._layout(task, batch.inputs, house)
            )
            for task in self.heads()
        }

    def outputs(self, preds: Preds, inputs: Inputs, house: type[Layout] = Packed) -> dict[str, dict[str, Tensor]]:
        """Physical values of each task: task -> name -> (B,) or (...)."""
        return {task.name: task.outputs(preds[task.name], self._layout(task, inputs, house)) for task in self.heads()}

    def _layout(self, task: Task, inputs: Inputs, house: type[Layout]) -> Layout | None:
        if task.input_name == self.schema.global_object:
            return None
        return house.of(_ragged(inputs, task.input_name))[1]

    def required_labels(self) -> dict[str, list[str]]:
        """Stream -> labels that the loader must bring for the losses."""
        labels: dict[str, list[str]] = defaultdict(list)
        for task in self.heads():
            labels[task.input_name] += [name for name in task.required_labels() if name not in labels[task.input_name]]
        return dict(labels)


def _ragged(inputs: Inputs, stream: str) -> Ragged:
    x = inputs[stream]
    assert isinstance(x, Ragged), f"stream {stream} is not ragged"
    return x
