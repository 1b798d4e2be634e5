"""Algorithm 1: variational steps alternating with Empirical Bayes steps.

Stirn and Knowles, arXiv:2402.04412, Algorithm 1. Per batch: (1) one Adam step on the networks for
the ELBO; (2) samples of z from the updated posterior; (3) one Adam step on the prior's parameters.
Priors without Empirical Bayes parameters have only (1).
"""

from __future__ import annotations

import math
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from vmm.cuda_graph import captured
from vmm.errors import InputError
from vmm.gaussians import Normal
from vmm.io import read_tensors, write_tensors
from vmm.models.base import LatentVariableModel, Noise
from vmm.models.networks import matrix_products
from vmm.products import Precision
from vmm.progress import say
from vmm.tensors import Tensors

Row = dict[str, float]
EVALUATION_ROWS = 1024
"""Images or cells evaluated at once: bounds memory, changes no result."""

CHECKPOINT_SECONDS = 30.0
"""Time between checkpoints: what a training that is killed loses at most, and an epoch."""


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    learning_rate : float
        Rate γ₁ of the variational steps.
    batch_size : int
        M. An incomplete last batch is left out (another one every epoch), since the prior's
        weight against the likelihood depends on M.
    max_epochs : int
    prior_learning_ratio : float
        γ₂ / γ₁.
    patience : int, optional
        Stop after so many epochs without a better `monitor`; without it, never.
    monitor : {"elbo", "unmerged_nmi", "none"}
        The validation metric whose best epoch is kept; with "none", the last epoch is.
    seed : int
        Of the order of the batches and of all noise.
    kl_weight : float
        0 leaves the prior out of the variational steps.
    epsilon : float
        Adam's.
    precision : {"float32", "tf32", "bf16"}
        Of the networks' matrix products in training; all else is float32, and so is validation.
    cuda_graph : bool
        On a GPU, record the step once and replay it; results are the same.
    """

    learning_rate: float
    batch_size: int
    max_epochs: int
    prior_learning_ratio: float = 1.0
    patience: int | None = None
    monitor: Literal["elbo", "unmerged_nmi", "none"] = "elbo"
    seed: int = 0
    kl_weight: float = 1.0
    epsilon: float = 1e-7
    precision: Precision = "float32"
    cuda_graph: bool = False


@dataclass
class FitResult:
    """What came of a training; the model holds the state of the best epoch.

    Attributes
    ----------
    status : {"ok", "diverged", "interrupted"}
        "diverged": NaN or infinity was met; the model holds its last finite state.
        "interrupted": by Ctrl-C, where `fit` was asked to keep what there was.
    history : list of dict
        A row an epoch: epoch, train_elbo, valid_elbo, utilized_clusters, seconds and, where it is
        monitored, valid_unmerged_nmi.
    best_epoch : int
        The epoch whose state the model holds, from 1; 0 for the initial state.
    """

    status: str
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0


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
        _resume(trainers, Path(checkpoint))
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
            _save(trainers, Path(checkpoint))
            saved = time.monotonic()


def one_by_one(trainers: list[Trainer]) -> list[float]:
    """Train each for an epoch; return the mean ELBOs."""
    return [trainer.train() for trainer in trainers]


def mean_elbo(step: Callable[..., Tensor], draws: Iterable[tuple[Tensor, Noise]]) -> Tensor:
    """Take a step for each of the draws of an epoch; return the mean ELBO over them."""
    return torch.stack([step(*drawn) for drawn in draws]).mean(0)


def take_step(
    model: LatentVariableModel,
    optimizers: list[torch.optim.Optimizer],
    batch: Any,
    noise: Noise,
    kl_weight: float = 1.0,
) -> Tensor:
    """Take the steps (1) to (3) on a batch; return its mean ELBO. Nothing waits for the GPU.

    Parameters
    ----------
    model : LatentVariableModel
        Or stacked ones, :class:`vmm.stacked.StackedModel`, each with a batch of its own.
    optimizers : list of torch.optim.Optimizer
        Of step (1) and, where the prior has Empirical Bayes parameters, of step (3).
    batch, noise
        See :meth:`Trainer.draw_noise`.
    kl_weight : float
    """
    with held_fixed(optimizers[1:]):
        elbo = variational_step(model, optimizers[0], batch, noise, kl_weight)
    for optimizer in optimizers[1:]:
        prior_step(model, optimizer, batch, noise["prior_step"])
    return elbo


def variational_step(
    model: LatentVariableModel,
    optimizer: torch.optim.Optimizer,
    batch: Any,
    noise: Noise,
    kl_weight: float = 1.0,
) -> Tensor:
    """Take step (1), on φ and θ with ψ fixed; return the mean ELBO, detached, a scalar."""
    elbo = model.elbo(batch, noise, training=True, kl_weight=kl_weight).mean(-1)
    _descend(optimizer, -elbo)
    return elbo.detach()


def prior_step(
    model: LatentVariableModel, optimizer: torch.optim.Optimizer, batch: Any, noise: Tensor
) -> None:
    """Take steps (2) and (3): z from the updated posterior, one step on ψ with φ and θ fixed."""
    _descend(optimizer, model.prior_loss(batch, noise))


@contextmanager
def held_fixed(optimizers: list[torch.optim.Optimizer]) -> Iterator[None]:
    """Let the parameters of these optimizers be constants, which take part in no derivative."""
    parameters = [p for optimizer in optimizers for p in optimizer.param_groups[0]["params"]]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_()


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step on the optimizer's parameters; no other parameter gets a gradient.

    The losses of stacked trials (T,) each depend on parameters of their own only.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = torch.autograd.grad(loss, parameters, torch.ones_like(loss), allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        # Fused Adam on the CPU reads the gradient's memory in the parameter's order.
        parameter.grad = None if gradient is None else gradient.contiguous()
    optimizer.step()


@torch.no_grad()
def evaluate(
    model: LatentVariableModel,
    data: Tensors,
    index: np.ndarray | Tensor,
    seed: int = 0,
    kl_weight: float = 1.0,
) -> tuple[float, np.ndarray | None]:
    """Return the mean ELBO (nats) and the clusters (n,) of the rows of `index`.

    The noise depends on `seed` only, so that epochs are compared with the same noise.
    """
    generator = torch.Generator(data.device).manual_seed(seed)
    encode = encode_once(model)
    total, clusters = 0.0, []
    for rows in torch.as_tensor(index, device=data.device).split(EVALUATION_ROWS):
        batch = data.batch(rows)
        noise = torch.randn((len(rows), model.latent_dim), generator=generator, device=data.device)
        q = model.posterior(batch)
        z = q.rsample(noise)
        elbo = model.log_likelihood(batch, z)
        if kl_weight:
            elbo = elbo - kl_weight * model.prior.kl(q, z, encode)
        total += elbo.double().sum()
        if model.prior.n_components:
            point = z if model.cluster_by_sample else q.mean
            clusters.append(model.prior.cluster_log_probs(point, encode).argmax(-1))
    assignment = torch.cat(clusters).cpu().numpy() if clusters else None
    return float(total) / len(index), assignment


@torch.no_grad()
def embed(
    model: LatentVariableModel, data: Tensors, seed: int = 0, sample: bool | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the means of q(z|x) and the cluster probabilities of all rows.

    Parameters
    ----------
    model : LatentVariableModel
    data : ImageTensors or CellTensors
    seed : int
        Of the noise, where clusters are those of a sample.
    sample : bool, optional
        Whether cluster probabilities are those of a sample of z or of its mean; by default as the
        paper's published code: a sample for images, the mean for cells.

    Returns
    -------
    embedding : array of float32, shape (N, p)
    cluster_probs : array of float32, shape (N, K), or None
        None where the prior does not cluster.
    """
    generator = torch.Generator(data.device).manual_seed(seed)
    sample = model.cluster_by_sample if sample is None else sample
    encode = encode_once(model)
    means, probabilities = [], []
    for rows in torch.arange(len(data), device=data.device).split(EVALUATION_ROWS):
        q = model.posterior(data.batch(rows))
        means.append(q.mean)
        if model.prior.n_components:
            noise = torch.randn(q.mean.shape, generator=generator, device=data.device)
            point = q.rsample(noise) if sample else q.mean
            probabilities.append(model.prior.cluster_log_probs(point, encode).exp())
    embedding = torch.cat(means).cpu().numpy()
    return embedding, torch.cat(probabilities).cpu().numpy() if probabilities else None


def encode_once(model: LatentVariableModel) -> Callable[[Tensor], Normal]:
    """Return an `encode` for fixed parameters: the pseudo-inputs are encoded only once."""
    known: list[Normal] = []

    def encode(pseudo_inputs: Tensor) -> Normal:
        if not known:
            known.append(model.encode_pseudo_inputs(pseudo_inputs))
        return known[0]

    return encode


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
        self.step = captured(self._step, data.device) if settings.cuda_graph else self._step
        self.history: list[Row] = []
        self.diverged = False
        self.best_score, self.best_epoch = -math.inf, 0
        self.finite_state = _copy(model.state_dict())
        self.best_state = self.finite_state
        self.initial_sum = float(sum(v.double().sum() for v in self.finite_state.values()))

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

    def _step(self, rows: Tensor, noise: Noise) -> Tensor:
        batch, kl_weight = self.data.batch(rows), self.settings.kl_weight
        return take_step(self.model, self.optimizers, batch, noise, kl_weight)

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
        """What must agree for a checkpoint to belong to this training."""
        rows = (self.train_rows, self.valid_rows)
        return {
            "settings": asdict(self.settings),
            "shapes": {name: list(value.shape) for name, value in self.finite_state.items()},
            "initial": self.initial_sum,
            "data": self.data.total(),
            "rows": [zlib.crc32(part.cpu().numpy().tobytes()) for part in rows],
        }


def _save(trainers: list[Trainer], path: Path) -> None:
    """Write a checkpoint of trainings, whole or not at all."""
    fingerprints = [trainer.fingerprint for trainer in trainers]
    states = [trainer.state() for trainer in trainers]
    write_tensors(path, {"fingerprint": fingerprints, "trainings": states})


def _resume(trainers: list[Trainer], path: Path) -> None:
    """Continue from `path` if it holds a checkpoint of these very trainings."""
    fingerprint = [trainer.fingerprint for trainer in trainers]
    saved = _read_checkpoint(path, fingerprint, trainers[0].data.device)
    if saved is None:
        return
    for trainer, state in zip(trainers, saved["trainings"], strict=True):
        trainer.restore(state)
    epochs = max(len(trainer.history) for trainer in trainers)
    say(f"{path}: resumed after epoch {epochs}")


def _read_checkpoint(
    path: Path, fingerprint: list[dict[str, Any]], device
) -> dict[str, Any] | None:
    """Return the checkpoint, or None if there is none or (with a warning) it is not usable."""
    if not path.exists():
        return None
    try:
        saved = read_tensors(path, device)
    except InputError as error:
        saved, reason = {}, str(error.__cause__).partition("\n")[0]
    else:
        reason = "it is of another training"
    if isinstance(saved, dict) and saved.get("fingerprint") == fingerprint:
        return saved
    warnings.warn(f"{path}: checkpoint not used, training starts anew; {reason}", stacklevel=4)
    return None


def adam(parameters: list[Tensor], rate: float, epsilon: float) -> torch.optim.Adam:
    """Return the optimizer of either step."""
    on_gpu = parameters[0].is_cuda  # capturable: a CUDA graph may hold its steps
    return torch.optim.Adam(parameters, lr=rate, eps=epsilon, fused=True, capturable=on_gpu)


def _fitted(parameters: list[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


def _is_finite(state: dict[str, Tensor]) -> bool:
    """Whether every value is finite; the device is waited for once."""
    return math.isfinite(torch.stack([(value * 0).sum().float() for value in state.values()]).sum())


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
