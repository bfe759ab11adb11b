"""Resume: what a checkpoint holds besides Lightning's own, and how a run goes on from it as if it had never stopped.

checkpoint["salt"]
format, version     of this layout, and of the program
position            where the run is: see `salt.training.position`
jets                the order of the jets that this position counts in
rng                 the random states of each rank
losses              each rank's sums of the losses of the epoch so far: task -> [sum, count]
gradients           each rank's, between two batches of an accumulated step only
optimizer           name of the optimiser's class
ema                 decay and updates of the average of the weights, which is in `state_dict`
raw_state_dict      the weights themselves, where there is an average
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch.distributed as dist
from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from salt import __version__
from salt.data.loader import Loader
from salt.data.order import Order
from salt.training.checkpoints import FORMAT, SALT, is_foreign
from salt.training.losses import LossSums
from salt.training.position import Position, loops_at, position_in
from salt.training.randomness import random_states, set_random_states

info = rank_zero_only(logging.getLogger(__name__).info)
warn = rank_zero_only(logging.getLogger(__name__).warning)

STATE_OF_A_GROUP = {"lr", "betas", "params"}
"""What a checkpoint says of the optimiser's groups and the config does not."""


class Resume:
    """Keeps where a run is in its checkpoints, and takes a run from there.

    Parameters
    ----------
    module : LightningModule
        What is trained.
    losses : LossSums
        Sums of the losses of the training epoch.
    """

    def __init__(self, module: LightningModule, losses: LossSums) -> None:
        self._module = module
        self._losses = losses
        self._validated_after = -1
        self._checkpoint: dict[str, Any] | None = None
        self._own: dict[str, Any] | None = None

    def validated(self) -> None:
        """A validation has come to its end."""
        if not self._trainer.sanity_checking:
            loops = self._trainer.fit_loop.state_dict()
            self._validated_after = loops["epoch_loop.batch_progress"]["total"]["processed"]

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Add to a checkpoint where the run is; all ranks take part."""
        kept = checkpoint.setdefault(SALT, {})
        kept |= {"format": FORMAT, "version": __version__}
        trainer = self._trainer
        if trainer.state.fn != TrainerFn.FITTING or "optimizer_states" not in checkpoint:
            return
        position = position_in(checkpoint["loops"]["fit_loop"], trainer.num_training_batches, self._validated_after)
        kept["position"] = position.state()
        if (order := _order(trainer)) is not None:
            kept["jets"] = {"sequence": order.sequence(), "global_batch_size": order.global_batch_size}
            kept["jets"]["num_batches"] = trainer.num_training_batches
        ranks = _gathered(
            {"rng": random_states(), "losses": self._losses.state(), "gradients": self._gradients(position)}
        )
        kept |= {name: [of_rank[name] for of_rank in ranks] for name in ("rng", "losses")}
        if any(of_rank["gradients"] for of_rank in ranks):
            kept["gradients"] = [of_rank["gradients"] for of_rank in ranks]

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Remember the checkpoint from which the run goes on, until `place` can tell its trainer where that is."""
        if is_foreign(checkpoint):
            raise ValueError(
                f"{self._trainer.ckpt_path} (--ckpt_path) was not written by this program: a training cannot go on "
                "from it, for its optimiser and its order of jets are others\n"
                "  mend: begin a new training with its weights: --model.init_from.ckpt FILE in place of --ckpt_path"
            )
        kept = checkpoint.get(SALT, {})
        if kept.get("format", FORMAT) > FORMAT:
            raise ValueError(
                f"this checkpoint was written by salt {kept.get('version')} in format {kept['format']}; "
                f"salt {__version__} reads formats up to {FORMAT}\n  mend: use that version, or a newer one"
            )
        self._checkpoint = checkpoint

    def place(self) -> None:
        """Write Lightning's part of the checkpoint anew: it reads its loops, optimiser and schedule after this."""
        if self._checkpoint is None:
            return
        checkpoint, self._checkpoint = self._checkpoint, None
        trainer, kept = self._trainer, checkpoint.get(SALT, {})
        trainer.fit_loop.setup_data()  # the batches of an epoch are to be counted
        loops = checkpoint["loops"]["fit_loop"]
        position = Position(**kept["position"]) if "position" in kept else position_in(loops, math.inf, -1)
        if not kept.get("rng"):
            warn("%s holds no random states: what follows is not exactly what would have followed", trainer.ckpt_path)
        there = self._same_place(position, kept.get("jets"))
        _check_length(trainer, there)
        self._validated_after = there.batches if there.validated else -1
        checkpoint["loops"] = {**checkpoint["loops"], "fit_loop": loops_at(loops, there, trainer)}
        self._own = {**kept, "position": there.state()}
        if there != position:
            self._own["gradients"] = []
        _renew_groups(trainer, checkpoint)
        self._renew_cycle(checkpoint, position, there, kept.get("jets"))

    def start(self) -> None:
        """Go on with the order, the sums and the random numbers: the last thing before the first batch."""
        if self._own is None:
            return
        own, self._own, trainer = self._own, None, self._trainer
        if isinstance(trainer.train_dataloader, Loader):
            trainer.train_dataloader.start_at(own["position"]["epoch"], own["position"]["step"])
        rank, states = trainer.global_rank, own.get("rng", [])
        if states and len(states) != trainer.world_size:
            warn(
                "%s was written by %d ranks, and there are %d now: jets and losses are as they were, dropout is not",
                trainer.ckpt_path, len(states), trainer.world_size,
            )  # fmt: skip
        if own["position"]["step"] > 0:
            # ranks that are no more leave their sums to the first
            self._losses.load(own.get("losses", [])[rank :: trainer.world_size], self._module.device)
        gradients = own.get("gradients", [])
        if len(gradients) == trainer.world_size:
            self._set_gradients(gradients[rank])
        if rank < len(states):
            set_random_states(states[rank])

    @property
    def _trainer(self) -> Trainer:
        return self._module.trainer

    def _same_place(self, position: Position, before: dict[str, Any] | None) -> Position:
        """The position among the batches that there are now, where they are others than before."""
        order, num_batches = _order(self._trainer), self._trainer.num_training_batches
        if position.step == 0 or order is None or before is None:
            return position
        same = order.sequence() == before["sequence"]
        if same and order.global_batch_size == before["global_batch_size"]:
            return position
        epoch, batches = position.epoch, position.batches
        if position.step >= before["num_batches"]:
            return Position(epoch, int(num_batches), batches, position.validated)
        if not same:
            now = order.sequence()
            changed = [
                f"{key} {old}, now {now.get(key)}" for key, old in before["sequence"].items() if now.get(key) != old
            ]
            warn("the jets come in another order than before (%s): epoch %d begins anew", "; ".join(changed), epoch)
            return Position(epoch, 0, batches, False)
        jets = position.step * before["global_batch_size"]
        step, again = divmod(jets, order.global_batch_size)
        warn(
            "a global batch has %d jets, not %d as before: going on after %d jets of epoch %d%s",
            order.global_batch_size, before["global_batch_size"], jets - again, epoch,
            f", {again} of which are seen again" if again else "",
        )  # fmt: skip
        return Position(epoch, step, batches, position.validated and not again)

    def _renew_cycle(
        self, checkpoint: dict[str, Any], position: Position, there: Position, before: dict[str, Any] | None
    ) -> None:
        """Say where the learning rate goes on, if the cycle is another than before."""
        trainer = self._trainer
        if not checkpoint.get("lr_schedulers") or not trainer.lr_scheduler_configs:
            return
        saved, schedule = dict(checkpoint["lr_schedulers"][0]), trainer.lr_scheduler_configs[0].scheduler
        if before is not None and before["num_batches"] != trainer.num_training_batches:
            each = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
            saved["last_epoch"] = there.epoch * each + there.step // trainer.accumulate_grad_batches
            checkpoint["lr_schedulers"] = [saved]
        old, new = saved.get("total_steps"), schedule.state_dict().get("total_steps")
        if old != new:
            info(
                "the cycle of the learning rate has %s steps, not %s: going on at its step %d, as if it always had",
                new or "no", old or "no", saved["last_epoch"],
            )  # fmt: skip

    def _gradients(self, position: Position) -> dict[str, Any]:
        """Gradients that the next batches add to, where a step of the optimiser takes several."""
        trainer = self._trainer
        if position.step % trainer.accumulate_grad_batches == 0 or position.step >= trainer.num_training_batches:
            return {}
        return {name: weight.grad for name, weight in self._module.named_parameters() if weight.grad is not None}

    def _set_gradients(self, gradients: dict[str, Any]) -> None:
        for name, weight in self._module.named_parameters():
            if name in gradients:
                weight.grad = gradients[name].to(weight.device)


def _order(trainer: Trainer) -> Order | None:
    """The order of the training jets; None where another loader gives them."""
    loader = trainer.train_dataloader
    return loader.feed.order if isinstance(loader, Loader) else None


def _check_length(trainer: Trainer, position: Position) -> None:
    """Raise where the run is longer already than it is to become."""
    last = trainer.max_epochs
    if last is not None and last != -1 and position.epoch > last:
        raise ValueError(
            f"{trainer.ckpt_path} has {position.epoch} epochs behind it; trainer.max_epochs is {last}\n"
            f"  mend: raise --trainer.max_epochs"
        )


def _renew_groups(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Let what the config says of the optimiser win over what it said when the run began."""
    for optimizer, saved in zip(trainer.optimizers, checkpoint.get("optimizer_states", []), strict=False):
        for group, old in zip(optimizer.param_groups, saved["param_groups"], strict=False):
            old |= {key: value for key, value in group.items() if key not in STATE_OF_A_GROUP}


def _gathered(value: Any) -> list[Any]:
    """The values of all ranks."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
