"""Training from epoch to epoch: validation, early stopping, the best state, checkpoints."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from vmm.errors import InputError
from vmm.models.base import LatentVariableModel, Noise
from vmm.models.counts import ahead, on_device, sum_of_bits
from vmm.models.networks import matrix_products
from vmm.models.tensors import Tensors
from vmm.numerics.products import Precision, float32_products
from vmm.training.checkpoint import resume, save_checkpoint
from vmm.training.cuda_graph import Step, captured
from vmm.training.embedding import evaluated, evaluation_parts
from vmm.training.settings import FitResult, Row, Settings
from vmm.training.sleep import LOOK_EVERY, Awake, awake_next, wanted
from vmm.training.steps import adam, take_step

DRAWN_AT_ONCE = 32
"""Steps whose random numbers are drawn at once: more take fewer calls, and more memory."""


class Validated(NamedTuple):
    """What validation finds: the mean ELBO, clusters (n,) if any, whether all values are finite."""

    elbo: float
    clusters: np.ndarray | None
    finite: bool


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
        train_until_finished([trainer], *one_by_one, checkpoint, checkpoint_seconds, shown)
    except KeyboardInterrupt:
        if not keep_on_interrupt or not trainer.history:
            raise
        return replace(trainer.result(), status="interrupted")
    return trainer.result()


@float32_products()
def train_until_finished(
    trainers: list[Trainer],
    train: Callable[[list[Trainer]], list[float]],
    validate: Callable[[list[Trainer]], list[Validated]],
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
    validate : callable
        Validates those that have been trained.
    checkpoint, checkpoint_seconds
        See :func:`fit`; one file for all.
    progress : sequence of callable, optional
        One for each of the trainers.
    """
    if checkpoint is not None:
        resume(trainers, Path(checkpoint), trainers[0].data.device)
    saved = time.monotonic()
    while running := [trainer for trainer in trainers if not trainer.finished]:
        start = time.monotonic()
        elbos, found = train(running), validate(running)
        seconds = (time.monotonic() - start) / len(running)
        for trainer, elbo, validated in zip(running, elbos, found, strict=True):
            row = trainer.add(elbo, validated, seconds)
            if progress is not None:
                progress[trainers.index(trainer)](row)
        due = time.monotonic() - saved >= checkpoint_seconds
        if checkpoint is not None and due and not all(trainer.finished for trainer in trainers):
            save_checkpoint(trainers, Path(checkpoint))
            saved = time.monotonic()


def _train_each(trainers: list[Trainer]) -> list[float]:
    return [trainer.train() for trainer in trainers]


def _validate_each(trainers: list[Trainer]) -> list[Validated]:
    return [trainer.validate() for trainer in trainers]


one_by_one = _train_each, _validate_each
"""Train each for an epoch, and validate each; see :func:`train_until_finished`."""


def step_by_step(blocks: Iterable[tuple[Tensor, Noise]]) -> Iterator[tuple[Tensor, Noise]]:
    """Return what is drawn for several steps at once, for one step after another."""
    for rows, noise in blocks:
        for step, *values in zip(rows, *noise.values(), strict=True):
            yield step, dict(zip(noise, values, strict=True))


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
    if not 0 <= settings.sleep_below < 1:
        raise InputError(
            f"sleep_below is {settings.sleep_below}; it must be a part of one point, from 0 to "
            "below 1"
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
        can_sleep = model.prior.can_sleep and len(self.optimizers) > 1
        self.sleeps = can_sleep and settings.sleep_below > 0
        self.components = tuple(range(model.prior.n_components)) if self.sleeps else ()
        self._take_steps_on(Awake(model, self.optimizers))
        self.valid_parts = evaluation_parts(data, valid, model.latent_dim, settings.seed + 1)
        self.evaluate = self.captured(
            partial(evaluated, model, data, self.valid_parts, settings.kl_weight)
        )
        self.history: list[Row] = []
        self.diverged = False
        self.best_score, self.best_epoch = -math.inf, 0
        self.finite_state = _copy(model.state_dict())
        self.best_state = self.finite_state
        self.spare_state: dict[str, Tensor] | None = None
        self.initial_sum = sum(sum_of_bits(value) for value in self.finite_state.values())

    def _take_steps_on(self, awake: Awake) -> None:
        """Take the next steps on these parts of the model."""
        self.awake = awake
        # Not a bound method: see `CapturedStep`.
        own = (awake.model, self.data, awake.optimizers, self.settings.kl_weight)
        self.step = self.captured(partial(_step, *own))

    def captured(self, step: Step) -> Step:
        """Return `step` as it is best called, by the settings and the device."""
        can = self.settings.cuda_graph and on_device(self.data)
        return captured(step, self.data.device) if can else step

    def look(self) -> None:
        """Before an epoch, every few: decide which components are awake."""
        if self.sleeps and self.history and len(self.history) % LOOK_EVERY == 0:
            rows, below, seed = self.train_rows, self.settings.sleep_below, self.settings.seed + 1
            found = wanted(self.model, self.data, rows, below, seed)
            self.components = awake_next(self.components, found)

    def narrowed_to(self, width: int | None) -> bool:
        """Whether steps are taken on the components that are awake and so many in all."""
        computed = self._to_compute(width)
        return computed == self.awake.components and (not computed or width == self.awake.width)

    def narrow(self, width: int | None = None) -> None:
        """Take the next steps on the components that are awake, and so many in all."""
        if not self.narrowed_to(width):
            self.awake.write_moments_back()
            computed = self._to_compute(width)
            self._take_steps_on(Awake(self.model, self.optimizers, computed, width))

    def _to_compute(self, width: int | None) -> tuple[int, ...]:
        """Return the components to choose, none where all are computed."""
        all_awake = len(self.components) == self.model.prior.n_components
        return () if all_awake and width is None else self.components

    @property
    def finished(self) -> bool:
        """Whether training is over: diverged, out of patience or of epochs."""
        patience, done = self.settings.patience, len(self.history)
        waited = patience is not None and done - self.best_epoch >= patience
        return self.diverged or waited or done >= self.settings.max_epochs

    def draws(self) -> Iterator[tuple[Tensor, Noise]]:
        """Draw an epoch: the rows of each step's batch, and its noise."""
        return ahead(self.data, step_by_step(self.blocks()))

    def blocks(self) -> Iterator[tuple[Tensor, Noise]]:
        """Draw an epoch: rows (B, M) and noise (B, M, …) of up to `DRAWN_AT_ONCE` steps at once."""
        rows = self.train_rows
        order = torch.randperm(len(rows), generator=self.generator, device=rows.device)
        size = min(self.settings.batch_size, len(order))
        batches = rows[order[: len(order) // size * size]].unflatten(0, (-1, size))
        for block in batches.split(DRAWN_AT_ONCE):
            noise = self.draw_noise(block.numel())
            yield block, {name: value.unflatten(0, block.shape) for name, value in noise.items()}

    def draw_noise(self, n: int) -> Noise:
        """Return the random numbers of steps on `n` rows in all, drawn on the device."""
        device = self.data.device
        noise = self.model.draw_noise(n, self.generator, device)
        if self.optimizers[1:]:
            shape = (n, self.model.latent_dim)
            noise["prior_step"] = torch.randn(shape, generator=self.generator, device=device)
        return noise

    def train(self) -> float:
        """Train for one epoch; return the mean ELBO."""
        self.look()
        self.narrow()
        with matrix_products(self.awake.model, self.settings.precision):
            elbo = float(mean_elbo(self.step, self.draws()))
        self.awake.write_back()
        return elbo

    def validate(self) -> Validated:
        """Validate, with the same noise after every epoch."""
        total, *clusters = self.evaluate()
        elbo = float(total) / len(self.valid_rows)
        assignment = clusters[0].cpu().numpy() if clusters else None
        return Validated(elbo, assignment, math.isfinite(largest(self.model)))

    def add(self, train_elbo: float, validated: Validated, seconds: float) -> Row:
        """Add an epoch that took `seconds` to the history, and keep its state; return its row."""
        valid_elbo, clusters, finite = validated
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
        row["seconds"] = seconds
        self.history.append(row)
        # A parameter may be NaN and the ELBO not: α, which only the hyperprior knows.
        self._keep(score, finite and math.isfinite(train_elbo) and math.isfinite(valid_elbo))
        return row

    def _keep(self, score: float, finite: bool) -> None:
        if not finite:
            self.diverged = True
            return
        better, before = score > self.best_score, self.finite_state
        self.finite_state = _copy(self.model.state_dict(), self.spare_state)
        self.spare_state = before if better or before is not self.best_state else None
        if better:
            self.best_score, self.best_epoch = score, len(self.history)
            self.best_state = self.finite_state

    def forget_moments(self) -> None:
        """Let go of what only further steps would need."""
        for optimizer in (*self.optimizers, *self.awake.optimizers):
            optimizer.state.clear()
        if self.awake.components:
            self._take_steps_on(Awake(self.model, self.optimizers))

    def result(self) -> FitResult:
        """Restore the best state (after a divergence the last finite one) and return the result."""
        self.model.load_state_dict(self.finite_state if self.diverged else self.best_state)
        best_epoch = len(self.history) - 1 if self.diverged else self.best_epoch
        return FitResult("diverged" if self.diverged else "ok", self.history, best_epoch)

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed training needs."""
        self.awake.write_moments_back()
        return {
            "model": self.finite_state,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "generator": self.generator.get_state(),
            "history": self.history,
            "diverged": self.diverged,
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
            "components": list(self.components),
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
        self.finite_state, self.spare_state = _copy(self.model.state_dict()), None
        self.components = tuple(state.get("components", self.components))

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What must agree for a checkpoint to belong to this training.

        A CUDA graph changes no result; the state of a generator, with which the noise goes on, is
        of one kind of device.
        """
        rows = (self.train_rows, self.valid_rows)
        settings = asdict(self.settings)
        del settings["cuda_graph"]
        if not settings["sleep_below"]:
            del settings["sleep_below"]  # as before there was one
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


@torch.no_grad()
def largest(model: LatentVariableModel) -> Tensor:
    """Return the largest absolute value of a model's tensors; it is not finite if one is not."""
    tensors = (*model.parameters(), *model.buffers())
    values = [value for value in tensors if value.is_floating_point()]
    return torch.stack(torch._foreach_norm(values, math.inf)).amax()


def _copy(state: dict[str, Tensor], to: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return a copy, in tensors that are there already if some are given."""
    if to is None:
        return {name: value.detach().clone() for name, value in state.items()}
    torch._foreach_copy_(list(to.values()), list(state.values()))
    return to
