"""Training from epoch to epoch: validation, early stopping, the best state, checkpoints."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from vmm.errors import InputError
from vmm.models.base import LatentVariableModel, Noise
from vmm.models.counts import sum_of_bits
from vmm.models.networks import matrix_products
from vmm.models.tensors import Tensors
from vmm.numerics.products import Precision, float32_products
from vmm.training.checkpoint import resume, save_checkpoint
from vmm.training.cuda_graph import captured
from vmm.training.embedding import evaluate
from vmm.training.settings import FitResult, Row, Settings
from vmm.training.steps import adam, take_step

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints: what a training that is killed loses at most, and an epoch."""


def fit(
    model: LatentVariableModel,
    data: Tensors,
    train: np.ndarray,
    valid: np.ndarray,
    settings: Settings,
    labels: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Callable[[Row], None] | None = None,
    keep_on_interrupt: bool = False,
) -> FitResult:
    """Train `model` by Algorithm 1, and leave it in the state of its best epoch.

    Parameters that require no gradient stay as they are.

    Parameters
    ----------
    model : LatentVariableModel
        On the device of `data`.
    data : ImageTensors or CellTensors
    train, valid : array of int
        Rows to train and to validate on.
    settings : Settings
    labels : array of int, shape (N,), optional
        True classes of all rows, for the monitor "unmerged_nmi".
    checkpoint : path, optional
        Written every `checkpoint_seconds` at the end of an epoch, and resumed from: the result is
        that of an uninterrupted training. The caller removes it.
    checkpoint_seconds : float
    progress : callable, optional
        Called with the row of each epoch.
    keep_on_interrupt : bool
        Whether Ctrl-C ends the training as its end would, once an epoch is complete. A job of a
        pipeline must not take an interrupted training for a finished one.

    Returns
    -------
    FitResult

    Raises
    ------
    InputError
        If there is nothing to train or to validate on, or no labels for the monitor.
    """
    trainer = Trainer(model, data, train, valid, settings, labels)
    shown = None if progress is None else [progress]
    try:
        train_until_finished([trainer], one_by_one, checkpoint, checkpoint_seconds, shown)
    except KeyboardInterrupt:
        if not keep_on_interrupt or not trainer.history:
            raise
        return replace(trainer.result(), status="interrupted")
    return trainer.result()


@float32_products()
def train_until_finished(
    trainers: list[Trainer],
    train: Callable[[list[Trainer]], list[float]],
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Sequence[Callable[[Row], None]] | None = None,
) -> None:
    """Train epoch by epoch until each training is finished.

    Parameters
    ----------
    trainers : list of Trainer
    train : callable
        Trains those given, which are not finished, for one epoch, and returns the mean ELBO of
        each.
    checkpoint, checkpoint_seconds
        See :func:`fit`; one file for all.
    progress : sequence of callable, optional
        One for each of the trainers.
    """
    if checkpoint is not None:
        resume(trainers, Path(checkpoint))
    saved = time.monotonic()
    while running := [trainer for trainer in trainers if not trainer.finished]:
        start = time.monotonic()
        elbos = train(running)
        seconds = (time.monotonic() - start) / len(running)
        for trainer, elbo in zip(running, elbos, strict=True):
            row = trainer.validate(elbo, seconds)
            if progress is not None:
                progress[trainers.index(trainer)](row)
        due = time.monotonic() - saved >= checkpoint_seconds
        if checkpoint is not None and due and not all(trainer.finished for trainer in trainers):
            save_checkpoint(trainers, Path(checkpoint))
            saved = time.monotonic()


def one_by_one(trainers: list[Trainer]) -> list[float]:
    """Train each for an epoch; return the mean ELBOs."""
    return [trainer.train() for trainer in trainers]


def mean_elbo(step: Callable[..., Tensor], draws: Iterable[tuple[Tensor, Noise]]) -> Tensor:
    """Take a step for each of the draws of an epoch; return the mean ELBO over them."""
    return torch.stack([step(*drawn) for drawn in draws]).mean(0)


def _check(model, train, valid, settings: Settings, labels) -> None:
    if len(train) < 2 or len(valid) < 1:
        raise InputError(
            f"the split has {len(train)} training and {len(valid)} validation rows; "
            "training needs at least 2 and 1"
        )
    if settings.monitor not in ("elbo", "unmerged_nmi", "none"):
        raise InputError(
            f"monitor is {settings.monitor!r}; it must be 'elbo', 'unmerged_nmi' or 'none'"
        )
    if settings.precision not in get_args(Precision):
        raise InputError(
            f"precision is {settings.precision!r}; it must be 'float32', 'tf32' or 'bf16'"
        )
    if settings.monitor == "unmerged_nmi":
        if labels is None:
            raise InputError("monitor is 'unmerged_nmi', which needs labels; use 'elbo'")
        if not model.prior.n_components:
            raise InputError(
                "monitor is 'unmerged_nmi', but the prior N(0, I) has no clusters; use 'elbo'"
            )


class Trainer:
    """One training between epochs: whose turn it is, what is best, when it is over.

    Parameters
    ----------
    model, data, train, valid, settings, labels
        See :func:`fit`.

    Raises
    ------
    InputError
        If there is nothing to train or to validate on, or no labels for the monitor.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        data: Tensors,
        train: np.ndarray,
        valid: np.ndarray,
        settings: Settings,
        labels: np.ndarray | None = None,
    ):
        _check(model, train, valid, settings, labels)
        self.model, self.data, self.settings = model, data, settings
        self.train_rows = torch.as_tensor(train, device=data.device)
        self.valid_rows = torch.as_tensor(valid, device=data.device)
        self.valid_labels = None if labels is None else np.asarray(labels)[valid]
        self.generator = torch.Generator(data.device).manual_seed(settings.seed)
        rate = settings.learning_rate
        self.optimizers = [adam(_fitted(model.variational_parameters()), rate, settings.epsilon)]
        empirical_bayes = _fitted(model.prior.empirical_bayes_parameters())
        if empirical_bayes and settings.kl_weight:
            ratio = settings.prior_learning_ratio
            self.optimizers.append(adam(empirical_bayes, rate * ratio, settings.epsilon))
        # Not a bound method: see `CapturedStep`.
        step = partial(_step, model, data, self.optimizers, settings.kl_weight)
        self.step = captured(step, data.device) if settings.cuda_graph else step
        self.history: list[Row] = []
        self.diverged = False
        self.best_score, self.best_epoch = -math.inf, 0
        self.finite_state = _copy(model.state_dict())
        self.best_state = self.finite_state
        self.initial_sum = sum(sum_of_bits(value) for value in self.finite_state.values())

    @property
    def finished(self) -> bool:
        """Whether training is over: diverged, out of patience or of epochs."""
        patience, done = self.settings.patience, len(self.history)
        waited = patience is not None and done - self.best_epoch >= patience
        return self.diverged or waited or done >= self.settings.max_epochs

    def draws(self) -> Iterator[tuple[Tensor, Noise]]:
        """Draw an epoch: the rows of each step's batch, and its noise."""
        rows = self.train_rows
        order = torch.randperm(len(rows), generator=self.generator, device=rows.device)
        size = min(self.settings.batch_size, len(order))
        for positions in order[: len(order) // size * size].split(size):
            yield rows[positions], self.draw_noise(size)

    def draw_noise(self, n: int) -> Noise:
        """Return the random numbers of one step on a batch of `n`, drawn on the device."""
        device = self.data.device
        noise = self.model.draw_noise(n, self.generator, device)
        if self.optimizers[1:]:
            shape = (n, self.model.latent_dim)
            noise["prior_step"] = torch.randn(shape, generator=self.generator, device=device)
        return noise

    def train(self) -> float:
        """Train for one epoch; return the mean ELBO."""
        with matrix_products(self.model, self.settings.precision):
            return float(mean_elbo(self.step, self.draws()))

    def validate(self, train_elbo: float, seconds: float) -> Row:
        """Validate after an epoch that took `seconds`; return its row of the history."""
        start = time.monotonic()
        valid_elbo, clusters = evaluate(
            self.model, self.data, self.valid_rows, self.settings.seed + 1, self.settings.kl_weight
        )
        row: Row = {
            "epoch": len(self.history) + 1,
            "train_elbo": train_elbo,
            "valid_elbo": valid_elbo,
            "utilized_clusters": 0 if clusters is None else len(np.unique(clusters)),
        }
        score = valid_elbo
        if self.settings.monitor == "unmerged_nmi":
            from sklearn.metrics import normalized_mutual_info_score

            score = float(normalized_mutual_info_score(self.valid_labels, clusters))
            row["valid_unmerged_nmi"] = score
        elif self.settings.monitor == "none":
            score = len(self.history)
        row["seconds"] = seconds + time.monotonic() - start
        self.history.append(row)
        self._keep(score, math.isfinite(train_elbo) and math.isfinite(valid_elbo))
        return row

    def _keep(self, score: float, finite: bool) -> None:
        state = _copy(self.model.state_dict())
        # A parameter may be NaN and the ELBO not: α, which only the hyperprior knows.
        if not finite or not _is_finite(state):
            self.diverged = True
            return
        self.finite_state = state
        if score > self.best_score:
            self.best_score, self.best_epoch = score, len(self.history)
            self.best_state = self.finite_state

    def result(self) -> FitResult:
        """Restore the best state (after a divergence the last finite one) and return the result."""
        self.model.load_state_dict(self.finite_state if self.diverged else self.best_state)
        best_epoch = len(self.history) - 1 if self.diverged else self.best_epoch
        return FitResult("diverged" if self.diverged else "ok", self.history, best_epoch)

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed training needs."""
        return {
            "model": self.finite_state,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "history": self.history,
            "diverged": self.diverged,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state`."""
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.generator.set_state(state["generator"].cpu())
        self.history, self.diverged = state["history"], state["diverged"]
        self.best_score, self.best_epoch = state["best_score"], state["best_epoch"]
        self.best_state = state["best_state"]
        self.finite_state = _copy(self.model.state_dict())

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What must agree for a checkpoint to belong to this training.

        A CUDA graph changes no result; the state of a generator, with which the noise goes on, is
        of one kind of device.
        """
        rows = (self.train_rows, self.valid_rows)
        settings = asdict(self.settings)
        del settings["cuda_graph"]
        return {
            "device": self.data.device.type,
            "settings": settings,
            "shapes": {name: list(value.shape) for name, value in self.finite_state.items()},
            "initial": self.initial_sum,
            "data": self.data.total(),
            "rows": [zlib.crc32(part.cpu().numpy().tobytes()) for part in rows],
            "switches": _switches(self.model),
        }


def _step(
    model: LatentVariableModel,
    data: Tensors,
    optimizers: list[torch.optim.Adam],
    kl_weight: float,
    rows: Tensor,
    noise: Noise,
) -> Tensor:
    return take_step(model, optimizers, data.batch(rows), noise, kl_weight)


def _fitted(parameters: list[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


def _switches(model: LatentVariableModel) -> dict[str, Any]:
    """Return what decides a training and is in no tensor.

    These are plain attributes of a model's modules, and which of its parameters are fitted.
    """
    own = {
        f"{module}.{key}": value
        for module, part in model.named_modules()
        for key, value in vars(part).items()
        if isinstance(value, bool | int | float | str) and key not in ("training", "precision")
    }
    return own | {f"{name}.fitted": p.requires_grad for name, p in model.named_parameters()}


def _is_finite(state: dict[str, Tensor]) -> bool:
    """Whether every value is finite; the device is waited for once."""
    return math.isfinite(torch.stack([(value * 0).sum().float() for value in state.values()]).sum())


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
