"""PredictionWriter: writes what a test says of each jet beside what its file says.

Shapes: B jets of a batch, T constituents of a batch.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any, Literal

import torch.distributed as dist
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from salt.callbacks.object_tables import ObjectTables, as_array
from salt.data.evaluation import Column, EvaluationFile, unfinished
from salt.data.fields import check_type
from salt.data.objects import OBJECTS
from salt.data.reader import Reader
from salt.data.sources import open_sample
from salt.ragged import Ragged
from salt.types import Batch

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)


class PredictionWriter(Callback):
    """Write the outputs of the tasks, and the fields of the test file, to an HDF5 file beside the checkpoint.

    One dataset for each stream with a task, in the order of the test file; constituents in their own slots. Several
    ranks write the file that one would have written: each a part of it, which the first one joins.

    Parameters
    ----------
    write_tracks : bool
        Write the outputs of tasks on streams with "tracks" in their name; those on other streams always are.
    write_objects : bool
        Write what a mask decoder finds: the datasets of objects and of their masks, and for each constituent the
        number of its object, MaskIndex. The truth is written beside where the test file has it.
    half_precision : bool
        Write predictions as float16; fields of the test file keep their type.
    extra_vars : dict[str, list[str]] | None
        Stream -> fields of the test file to copy, none for streams that are not named; None copies all.
    names : Literal["upstream", "consistent"]
        "upstream" writes the names that existing files have: VertexIndex without the model's name, Gaussians with that
        of their task in its place, `mask` in one dataset only. "consistent" gives every column the model's name, and
        every dataset of constituents a `mask`.
    test_suff : str | None
        Added to the name of the file; None for that of `data.test_suff`.
    """

    def __init__(
        self,
        write_tracks: bool = False,
        write_objects: bool = False,
        half_precision: bool = False,
        extra_vars: dict[str, list[str]] | None = None,
        names: Literal["upstream", "consistent"] = "upstream",
        test_suff: str | None = None,
    ) -> None:
        self.write_tracks = write_tracks
        self.write_objects = write_objects
        self.half_precision = half_precision
        self.extra_vars = extra_vars
        self.names = names
        self.test_suff = test_suff
        self._token: str | None = None
        self._path_written: Path | None = None
        self._reader: Reader | None = None
        self._output: EvaluationFile | None = None
        self._tasks: dict[str, list[Any]] = {}
        self._fields: dict[str, list[str]] = {}
        self._longer: set[str] = set()
        self._objects: ObjectTables | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Agree with the other ranks on names of the parts, by which whoever is left can remove them."""
        if stage != "test" or trainer.world_size == 1:
            return
        if trainer.limit_test_batches != 1.0:
            raise ValueError(
                f"trainer.limit_test_batches is {trainer.limit_test_batches}, which would leave gaps in what "
                f"{trainer.world_size} ranks test\n  mend: give --data.num_test=JETS, or test in one process"
            )
        self._token = trainer.strategy.broadcast(secrets.token_hex(4))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file that is tested, and the one that is written."""
        is_trial: bool | int = trainer.fast_dev_run  # type: ignore[attr-defined]
        if is_trial or trainer.ckpt_path is None:
            reason = "this is a fast_dev_run" if is_trial else "no checkpoint is tested"
            info("PredictionWriter writes nothing: %s", reason)
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        found = data.options.mf_config if self.write_objects else None
        if self.write_objects and found is None:
            warn("PredictionWriter write_objects: data.mf_config is not set, so there are no objects")
        sample = open_sample(data.files["test"], "data.test_file")
        self._reader = Reader(sample, data.recipe("test"), sample.key)
        path = self._path(Path(str(trainer.ckpt_path)), Path(sample.files[0].path), self.test_suff or data.test_suff)
        self._tasks = self._written_tasks(pl_module)
        if found is not None:
            self._tasks.setdefault(found.constituent.name, [])
        self._fields = {stream: self._copied_fields(stream) for stream in self._tasks}
        self._say_ratios(data.test_columns(), sample.files[0].path)
        if path.exists():
            warn("overwriting %s", path)
        self._path_written = path
        part = None if self._token is None else f"{self._token}-{trainer.global_rank}"
        self._output = EvaluationFile(path, self._reader, part)
        self._output.note_tested(data.num_test_jets)
        if found is not None:
            objects = [task for task in pl_module.model.tasks if task.input_name == OBJECTS]  # type: ignore[union-attr]
            self._objects = ObjectTables(found, self._output, objects, self.extra_vars, self.half_precision)

    def _path(self, checkpoint: Path, test_file: Path, end: str | None) -> Path:
        """Name of the file that is written."""
        parts = test_file.stem.split("_")
        sample = parts[3] if len(parts) == 4 else test_file.stem  # as in user_x_y_ttbar_...: the habit of test files
        suffix = f"_{end}" if end else ""
        return checkpoint.with_name(f"{checkpoint.stem}__test_{sample}{suffix}.h5")

    def _written_tasks(self, pl_module: LightningModule) -> dict[str, list[Any]]:
        """Stream -> its tasks, of those that are written."""
        streams: dict[str, list[Any]] = {}
        for task in pl_module.model.tasks:  # type: ignore[union-attr]
            if task.input_name != OBJECTS and (self.write_tracks or "tracks" not in task.input_name):
                streams.setdefault(task.input_name, []).append(task)
        return streams

    def _say_ratios(self, columns: Mapping[str, Sequence[str]], file: str) -> None:
        """Warn of outputs that lack what they are to be multiplied by."""
        for stream, tasks in self._tasks.items():
            for task in tasks:
                missing = [name for name in task.required_columns() if name not in columns.get(stream, ())]
                if missing:
                    warn(
                        "%s (data.test_file) has no %s in %r: what task %r says is written as a ratio to it",
                        file,
                        ", ".join(missing),
                        stream,
                        task.name,
                    )

    def _copied_fields(self, stream: str) -> list[str]:
        """Fields of the stream's dataset that are copied."""
        assert self._reader is not None
        table = self._reader.streams[stream].table
        if self.extra_vars is None:
            return list(table.dtype.names or ())
        fields = list(dict.fromkeys(self.extra_vars.get(stream, [])))
        for field in fields:
            check_type(table.dtype, field, "field", f"{table.where}, PredictionWriter's extra_vars.{stream}")
        return fields

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the jets of a batch."""
        if self._output is None:
            return
        schema = trainer.datamodule.schema  # type: ignore[attr-defined]
        constituents = [stream for stream in schema.variables if isinstance(batch.inputs[stream], Ragged)]
        first = next((stream for stream in constituents if stream in self._tasks), None)
        index, model = batch.index.cpu().numpy(), str(pl_module.name)
        for stream, tasks in self._tasks.items():
            name = schema.dataset(stream)
            inputs = batch.inputs.get(stream)
            segments = inputs.segments if isinstance(inputs, Ragged) else None
            columns = self._columns(tasks, outputs, model)
            if self._objects is not None and stream == self._objects.constituents:
                columns |= self._objects.columns(outputs, model)
            mask = segments is not None and (stream == first == name or self.names == "consistent")
            new = {*columns, "mask"} if mask else {*columns}
            fields = [field for field in self._fields[stream] if field not in new]
            self._output.write(stream, fields, columns, index, segments, mask)
        if self._objects is not None:
            of = batch.inputs[self._objects.constituents]
            assert isinstance(of, Ragged)
            self._objects.write(outputs, model, index, of.segments)

    def _columns(self, tasks: list[Any], outputs: Mapping[str, Mapping[str, Tensor]], model: str) -> dict[str, Column]:
        """Name in the file -> predictions, of the tasks of one stream."""
        columns: dict[str, Column] = {}
        for task in tasks:
            for column, values in outputs[task.name].items():
                name = task.upstream_name(column, model) if self.names == "upstream" else f"{model}_{column}"
                if name in columns:
                    name = self._told_apart(name, f"{model}_{task.name}_{column}", task)
                columns[name] = Column(as_array(values, self.half_precision), task.padding)
        return columns

    def _told_apart(self, name: str, longer: str, task: Any) -> str:
        """Another name for a column that a task before this one has written."""
        if longer not in self._longer:
            warn("two tasks on %s write %r: that of %r is called %r", task.input_name, name, task.name, longer)
            self._longer.add(longer)
        return longer

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave no half of a file, not even of a rank that was killed."""
        self._close()
        if self._token is not None and self._path_written is not None:
            pattern = unfinished(Path(escape(self._path_written.name)), f"{self._token}-*")
            for part in self._path_written.parent.glob(pattern.name):
                part.unlink(missing_ok=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the file its name, once all ranks have come to the end."""
        if stage == "test":
            self._finish(trainer)
        self._close()

    def _finish(self, trainer: Trainer) -> None:
        """Join the parts of all ranks, some of which may have had no jet."""
        parts: list[Path | None] = [None]
        if trainer.world_size > 1:
            own = None if self._output is None or trainer.is_global_zero else self._output.close()
            parts = [None] * trainer.world_size
            dist.all_gather_object(parts, own)
        if self._output is not None and trainer.is_global_zero:
            for part in parts:
                if part is not None:
                    self._output.join(part)
            self._output.finish()
            info("predictions for %d jets are in %s", self._output.num_jets, self._output.path)
        self._output = None

    def _close(self) -> None:
        """Close what is open; what is not finished is removed."""
        if self._output is not None:
            self._output.discard()
        if self._reader is not None:
            self._reader.sample.close()
        self._output = self._reader = None
