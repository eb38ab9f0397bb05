"""The training loop that all families share, on Lightning Fabric.

What a family brings is a :class:`Task`: its batches, its loss, its metric. What the loop adds is
the same for all: devices, processes and mixed precision (Fabric), cosine schedule and EMA (timm),
accumulated and clipped gradients, early stopping, logs and curves, and checkpoints from which a
killed run continues bit for bit.

Under ``torchrun`` every process takes its share of each batch, and the first one alone evaluates
and writes.

A run is reproducible because nothing random crosses an epoch's border: every epoch begins by
seeding all generators with (seed, epoch). So the state between two epochs is the weights, the
optimizer, the EMA and the history.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric, seed_everything
from timm.optim._param_groups import param_groups_weight_decay
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..core.crash_log import is_of_ctrl_c
from ..errors import EdgearkError
from ..zoo.transfer import Transfer
from ..zoo.weights import save_weights
from .checkpoint import (
    CheckpointError,
    atomic_path,
    load_checkpoint,
    only_writer,
    save_checkpoint,
)
from .config import Recipe
from .data.findings import Finding
from .distributed import is_distributed, leave_group, local_processes, machines
from .fitting import supported_precision
from .logs import DEFAULT_LOGS, Log, open_logs
from .plots import save_curves
from .progress import Progress
from .qat import plain_network

Batch = tuple[Tensor, Tensor]


class Task(Protocol):
    """One family's part of a training."""

    metric: str  # its name; more is better

    def train_batches(self, batch_size: int, epoch: int) -> DataLoader:
        """The batches of an epoch, which are counted from 0."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor: ...

    def evaluate(self, model: nn.Module, device: torch.device) -> float:
        """The metric on the validation data."""
        ...


class TrainingError(EdgearkError):
    """The training cannot go on; the last complete checkpoint is kept."""


@dataclass
class FitResult:
    """How a training ended. ``weights`` holds the EMA weights of the best epoch."""

    weights: Path
    best_metric: float
    best_epoch: int
    epochs: int
    interrupted: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What a family's script hands back: how the training ended, and the test of its best weights.

    ``test`` is the figure called ``metric`` on ``n`` test images, None for an interrupted run.
    ``details`` are further figures of that test, by name. All are shares in 0..1. ``verdicts`` say
    what the figure is worth, ``transfer`` which weights the training began with.
    """

    result: FitResult
    metric: str
    test: float | None = None
    n: int = 0
    details: dict[str, float] = field(default_factory=dict)
    verdicts: Sequence[Finding] = ()
    transfer: Transfer | None = None


def fit(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    accelerator: str = "auto",
    log: Sequence[str] = DEFAULT_LOGS,
) -> FitResult:
    """Train ``model``; ``out`` then holds ``best.safetensors``, ``last.ckpt``, curves, and logs.

    With ``resume`` the run continues after the last complete epoch, with the weights that an
    uninterrupted run would have had. Ctrl-C ends the run in the same state as a kill would, but
    in good order: the result says ``interrupted``.

    Raises:
        CheckpointError: nothing to resume, the checkpoint is of another recipe, or a new run
            would overwrite one, or another process trains into ``out``.
        TrainingError: the loss became infinite or NaN, or there is not even one batch.
    """
    fabric = Fabric(
        accelerator=accelerator,
        devices=local_processes(),
        num_nodes=machines(),
        strategy="ddp" if is_distributed() else "auto",
        precision=supported_precision(recipe, accelerator),  # type: ignore[arg-type]
    )
    fabric.launch()
    run = _Run(fabric, model, task, recipe, out)
    if resume:
        run.load()
    elif run.checkpoint_path.exists():
        raise CheckpointError(
            f"{out} holds a training already; go on with --resume, or name another folder"
        )
    fabric.barrier()  # before the first process writes what the others have looked for
    bar = progress if progress and fabric.is_global_zero else Progress(enabled=False)
    interrupted = False
    first = fabric.is_global_zero
    alone = only_writer(out) if first else nullcontext()
    with alone, bar.training(recipe.epochs, run.epoch, recipe.model):
        try:
            with open_logs(log if first else (), out, recipe) as logs:
                while run.epoch < recipe.epochs and not run.out_of_patience():
                    run.train_epoch(bar)
                    run.finish_epoch(logs)
                    bar.epoch_done(run.history[-1])
            fabric.barrier()  # the others read the weights that the first process writes
            leave_group()
        except BaseException as error:
            if not is_of_ctrl_c(error):
                raise
            interrupted = True
    return FitResult(
        run.weights_path, run.best_metric, run.best_epoch, run.epoch, interrupted, run.history
    )


class _Run:
    """The state of one training between two epochs, and the steps that advance it."""

    def __init__(self, fabric: Fabric, model: nn.Module, task: Task, recipe: Recipe, out: Path):
        self.fabric, self.task, self.recipe, self.out = fabric, task, recipe, out
        self.weights_path = out / "best.safetensors"
        self.checkpoint_path = out / "last.ckpt"
        self.epoch, self.best_metric, self.best_epoch = 0, -math.inf, 0
        self.history: list[dict[str, float]] = []

        seed_everything(recipe.seed, verbose=False)
        self.ema = ModelEmaV3(model, decay=recipe.optim.ema_decay, use_warmup=True)
        if recipe.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = _make_optimizer(model, recipe)
        self.batch_size = recipe.batch_size // fabric.world_size
        self.batches = len(self.make_loader())
        self.steps = -(-self.batches // recipe.accumulate)  # of the optimizer, in an epoch
        if self.batches == 0:
            raise TrainingError("fewer images to train on than batch_size: lower it in the recipe")
        self.schedule = CosineLRScheduler(
            optimizer,
            t_initial=recipe.epochs * self.steps,
            warmup_t=round(recipe.optim.warmup_epochs * self.steps),
            warmup_lr_init=recipe.optim.lr / 100,
            warmup_prefix=True,
            t_in_epochs=False,
        )
        self.plain = model
        self.model, self.optimizer = fabric.setup(model, optimizer)
        self.ema.to(fabric.device)

    def make_loader(self) -> Any:
        return self.fabric.setup_dataloaders(self.task.train_batches(self.batch_size, self.epoch))

    def train_epoch(self, progress: Progress) -> None:
        """One pass over the training data; a row of the log is begun with its loss."""
        seed = self.recipe.seed * 100_003 + self.epoch
        seed_everything(seed, verbose=False)
        loader = self.make_loader()
        torch.manual_seed(seed + 7919 * self.fabric.global_rank)  # each its own distortions
        started, losses, seen = time.perf_counter(), [], 0
        self.model.train()
        for index, batch in enumerate(loader):
            losses.append(self.train_step(batch, index))
            seen += len(batch[0]) * self.fabric.world_size
            progress.batch_done(index + 1, self.batches)
        loss = self.fabric.all_reduce(torch.stack(losses).mean())
        assert isinstance(loss, Tensor)  # as one was given
        self.history.append(
            {
                "epoch": self.epoch + 1,
                "loss": loss.item(),
                "lr": self.optimizer.param_groups[0]["lr"],
                "samples_per_s": seen / (time.perf_counter() - started),
            }
        )

    def train_step(self, batch: Batch, index: int) -> Tensor:
        """Add one batch's gradients; every ``accumulate`` batches, and at the end, use them."""
        step = self.epoch * self.steps + index // self.recipe.accumulate
        self.schedule.step_update(step)
        last = index + 1 == self.batches
        use = (index + 1) % self.recipe.accumulate == 0 or last
        with self.fabric.no_backward_sync(self.model, enabled=not use and is_distributed()):
            loss = self.task.loss(self.model, batch)
            self.require_finite(loss, "loss", index)
            self.fabric.backward(loss / self.recipe.accumulate)
        if use:
            if self.recipe.optim.clip_norm:
                norm = self.fabric.clip_gradients(
                    self.model,
                    self.optimizer,
                    max_norm=self.recipe.optim.clip_norm,
                    error_if_nonfinite=False,
                )
                assert norm is not None
                self.require_finite(norm, "gradient's norm", index)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.ema.update(self.plain, step=step)
        return loss.detach()

    def require_finite(self, value: Tensor, what: str, index: int) -> None:
        if not torch.isfinite(value):
            raise TrainingError(
                f"the {what} is {value.item()} in epoch {self.epoch + 1}, batch {index + 1}; "
                "lower optim.lr or look at the data"
            )

    def finish_epoch(self, logs: Sequence[Log]) -> None:
        """Evaluate the EMA weights, keep them if they are the best, and make the epoch durable."""
        first = self.fabric.is_global_zero
        found = self.task.evaluate(self.ema.module, self.fabric.device) if first else math.nan
        metric = self.fabric.broadcast(found)
        self.history[-1][self.task.metric] = metric
        self.epoch += 1
        better = metric >= self.best_metric  # of equals the later one: its learning rate is lower
        if better:
            self.best_metric, self.best_epoch = metric, self.epoch
        if first:
            if better:
                self.keep_best(metric)
            save_checkpoint(self.state(), self.checkpoint_path)
            for log in logs:
                log.write(self.history)
            with atomic_path(self.out / "curves.png") as path:
                save_curves(self.history, self.task.metric, path)

    def keep_best(self, metric: float) -> None:
        info = {
            "seed": str(self.recipe.seed),
            "epoch": str(self.epoch),
            f"val_{self.task.metric}": f"{metric:.6f}",
        }
        if self.recipe.qat.scheme:
            info["qat"] = self.recipe.qat.scheme
        save_weights(plain_network(self.ema.module), self.weights_path, info)

    def out_of_patience(self) -> bool:
        patience = self.recipe.patience
        return bool(patience) and self.epoch - self.best_epoch >= patience

    def state(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.model_dump_json(),
            "model": self.plain.state_dict(),
            "ema": self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "best_metric": self.best_metric,
            "best_epoch": self.best_epoch,
            "history": self.history,
        }

    def load(self) -> None:
        state = load_checkpoint(self.checkpoint_path)
        if not self.recipe.equals(state.get("recipe", "")):
            raise CheckpointError(
                f"{self.checkpoint_path} is of another recipe; train it with that one, "
                "or start anew in another folder"
            )
        self.plain.load_state_dict(state["model"])
        self.ema.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history = state["epoch"], state["history"]
        self.best_metric, self.best_epoch = state["best_metric"], state["best_epoch"]


def _make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Decays what multiplies (matrices, kernels); leaves normalization and biases alone.
    groups = param_groups_weight_decay(model, recipe.optim.weight_decay)
    if recipe.optim.name == "sgd":
        return torch.optim.SGD(groups, lr=recipe.optim.lr, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe.optim.lr)
