"""Trials trained at once: their parameters stacked, each step one call for all.

Small models spend their time on calls, not on arithmetic. The parameters of the trials, which have
the same shapes, are stacked in a new first dimension, and `torch.func.vmap` maps the losses of
:mod:`vmm.models` over it; Adam works element by element, so on stacks as on single parameters. Each
trial keeps its own split, order of batches, noise, early stopping and best state, and comes to
what it would alone, up to rounding. A trial that is over leaves the stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_map

from vmm.errors import InputError
from vmm.models.base import LatentVariableModel, Noise
from vmm.models.counts import ahead
from vmm.models.networks import matrix_products, with_stackable_layers
from vmm.models.tensors import Tensors
from vmm.training.embedding import evaluated
from vmm.training.loop import (
    CHECKPOINT_SECONDS,
    Trainer,
    Validated,
    fit,
    largest,
    mean_elbo,
    step_by_step,
    train_until_finished,
)
from vmm.training.settings import FitResult, Row, Settings
from vmm.training.steps import MOMENTS, adam, take_step


def fit_stacked(
    models: Sequence[LatentVariableModel],
    data: Tensors,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: Sequence[Settings],
    labels: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: Sequence[Callable[[Row], None]] | None = None,
) -> list[FitResult]:
    """Train several models at once, each as :func:`vmm.training.loop.fit` would.

    Parameters
    ----------
    models : sequence of LatentVariableModel
        T models of the same shape, on the device of `data`.
    data : ImageTensors or CellTensors
        Of all of them.
    splits : sequence of (array of int, array of int)
        Rows to train and to validate on, for each model; equally many to train on.
    settings : sequence of Settings
        For each model; they differ in nothing but the seed.
    labels, checkpoint, checkpoint_seconds
        See :func:`vmm.training.loop.fit`. One checkpoint holds all trainings.
    progress : sequence of callable, optional
        One for each model.

    Returns
    -------
    list of FitResult
        Where trainings ran together, each epoch's seconds are shared out evenly.

    Raises
    ------
    InputError
        If one model cannot be trained, or they cannot be trained at once.
    """
    trainers = [
        Trainer(model, data, *split, own, labels)
        for model, split, own in zip(models, splits, settings, strict=True)
    ]
    _check_alike(trainers)
    together = _Together()
    steps = together.train, together.validate
    train_until_finished(trainers, *steps, checkpoint, checkpoint_seconds, progress)
    together.part()
    return [trainer.result() for trainer in trainers]


def fit_all(
    models: Sequence[LatentVariableModel],
    data: Tensors,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: Sequence[Settings],
    labels: np.ndarray | None = None,
    checkpoint: str | Path | None = None,
    progress: Sequence[Callable[[Row], None]] | None = None,
) -> list[FitResult]:
    """Train one model alone, by :func:`vmm.training.loop.fit`, or several at once."""
    if len(models) > 1:
        return fit_stacked(models, data, splits, settings, labels, checkpoint, progress=progress)
    show = None if progress is None else progress[0]
    return [fit(models[0], data, *splits[0], settings[0], labels, checkpoint, progress=show)]


def _check_alike(trainers: list[Trainer]) -> None:
    """Refuse trainings that are not alike."""

    def what_is_shared(trainer: Trainer) -> dict[str, Any]:
        return {
            "settings": replace(trainer.settings, seed=0),
            "number of training rows": len(trainer.train_rows),
            "model's parameters": [
                (name, v.shape) for name, v in trainer.model.state_dict().items()
            ],
        }

    first, *others = map(what_is_shared, trainers)
    for trial, other in enumerate(others, 1):
        for what in (key for key in first if first[key] != other[key]):
            raise InputError(
                f"training {trial} of those to train at once differs from the first in its {what}; "
                "train it by itself"
            )


class _Together:
    """Trainers that train as one stack, which is made anew when one of them is finished."""

    def __init__(self) -> None:
        self.stack: Stack | None = None

    def train(self, trainers: list[Trainer]) -> list[float]:
        """Train for one epoch; return the mean ELBOs."""
        if len(trainers) == 1:
            self.part()
            return [trainers[0].train()]
        for trainer in trainers:
            trainer.look()
        width = _width(trainers)
        changed = not all(trainer.narrowed_to(width) for trainer in trainers)
        if self.stack is None or self.stack.trainers != trainers or changed:
            self.part()
            for trainer in trainers:
                trainer.narrow(width)
            self.stack = Stack(trainers)
        return self.stack.train()

    def validate(self, trainers: list[Trainer]) -> list[Validated]:
        """Validate those that have been trained."""
        if self.stack is None:
            return [trainers[0].validate()]
        return self.stack.validate()

    def part(self) -> None:
        """Give each trainer tensors of its own."""
        if self.stack is not None:
            self.stack.part()
            self.stack = None


def _width(trainers: list[Trainer]) -> int | None:
    """Return how many components the neediest has; None where none sleeps in any."""
    numbers = [len(trainer.components) for trainer in trainers]
    n_components = trainers[0].model.prior.n_components
    return None if min(numbers) in (0, n_components) else max(numbers)


class StackedModel:
    """Models of the same shape as one: each loss is that of all T of them.

    The models' own parameters and buffers become views of the stacked ones.

    Parameters
    ----------
    models : list of LatentVariableModel
    others : StackedModel, optional
        Of models with which these share tensors; they are stacked there already.

    Attributes
    ----------
    tensors : dict of torch.Tensor
        Stacked parameters and buffers (T, ...) by their names in a model.
    """

    def __init__(self, models: list[LatentVariableModel], others: StackedModel | None = None):
        known = {} if others is None else others.stacks()
        self.models = models
        self.skeleton = with_stackable_layers(models[0])
        self.tensors: dict[str, Tensor] = {}
        states = [model.state_dict(keep_vars=True) for model in models]
        for name, first in states[0].items():
            own = [state[name] for state in states]
            if id(first) in known:
                self.tensors[name] = known[id(first)]
                continue
            stacked = torch.stack([tensor.detach() for tensor in own])
            for tensor, view in zip(own, stacked.unbind(), strict=True):
                tensor.data = view
            self.tensors[name] = stacked.requires_grad_(first.requires_grad)

    def elbo(
        self, batch: Any, noise: Noise, training: bool = False, kl_weight: float = 1.0
    ) -> Tensor:
        """Return the ELBOs, shape (T, n); batch and noise have a first dimension T too."""
        return self.map(
            lambda model, *inputs: model.elbo(*inputs, training, kl_weight), batch, noise
        )

    def prior_loss(self, batch: Any, noise: Tensor) -> Tensor:
        """Return the losses of the Empirical Bayes step, shape (T,)."""
        return self.map(lambda model, *inputs: model.prior_loss(*inputs), batch, noise)

    def map(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Return ``function(model, *inputs)`` of each model and its part of the inputs."""

        def one(tensors: dict[str, Tensor], *inputs: Any) -> Any:
            return functional_call(self.skeleton, tensors, (function, *inputs))

        return vmap(one)(self.tensors, *inputs)

    def named(self, parameters: list[Tensor]) -> list[Tensor]:
        """Return the stacks that parameters of the first model are in."""
        stacks = self.stacks()
        return [stacks[id(parameter)] for parameter in parameters]

    def stacks(self) -> dict[int, Tensor]:
        """Return the stacks by the identity of what the first model has of them."""
        first = self.models[0].state_dict(keep_vars=True)
        return {id(value): self.tensors[name] for name, value in first.items()}

    def part(self) -> None:
        """Give each model tensors of its own."""
        for model in self.models:
            for tensor in model.state_dict(keep_vars=True).values():
                tensor.data = tensor.detach().clone()


EVALUATED_AT_ONCE = 4096
"""Images or cells of all trials together: bounds memory, changes no result but by rounding."""


class Stack:
    """Trainers whose models and optimizers are stacked.

    Parameters
    ----------
    trainers : list of Trainer
        After equally many epochs.
    """

    def __init__(self, trainers: list[Trainer]):
        self.trainers, self.settings = trainers, trainers[0].settings
        self.whole = StackedModel([trainer.model for trainer in trainers])
        awake = [trainer.awake.model for trainer in trainers]
        asleep = awake[0] is not trainers[0].model
        self.model = StackedModel(awake, self.whole) if asleep else self.whole
        by_step = zip(*(trainer.awake.optimizers for trainer in trainers), strict=True)
        self.optimizers = [self._stacked(own) for own in by_step]
        data = trainers[0].data
        # No bound methods: see `CapturedStep`.
        step = partial(_step, self.model, data, self.optimizers, self.settings.kl_weight)
        self.step = trainers[0].captured(step)
        numbers = {len(trainer.valid_rows) for trainer in trainers}
        self.evaluate = None
        if len(numbers) == 1:
            own = (self.whole, data, _joint_parts(trainers), self.settings.kl_weight)
            self.evaluate = trainers[0].captured(partial(_evaluated, *own))

    def _stacked(self, own: tuple[torch.optim.Adam, ...]) -> torch.optim.Adam:
        """Return one Adam for the stacks; the moments of the trials' own become views."""
        groups = [optimizer.param_groups[0] for optimizer in own]
        parameters = self.model.named(groups[0]["params"])
        optimizer = adam(parameters, groups[0]["lr"], groups[0]["eps"])
        by_parameter = zip(*(group["params"] for group in groups), strict=True)
        for stacked, singles in zip(parameters, by_parameter, strict=True):
            states = [one.state[single] for one, single in zip(own, singles, strict=True)]
            step = states[0].get("step", torch.zeros((), device=stacked.device)).clone()
            optimizer.state[stacked] = {"step": step}
            for moment in MOMENTS:
                none_yet = torch.zeros_like(singles[0])
                joint = torch.stack([state.get(moment, none_yet) for state in states])
                optimizer.state[stacked][moment] = joint
                for state, view in zip(states, joint.unbind(), strict=True):
                    state |= {"step": step, moment: view}
        return optimizer

    def train(self) -> list[float]:
        """Train for one epoch; return the mean ELBO of each trial."""
        with matrix_products(self.model.skeleton, self.settings.precision):
            elbos = mean_elbo(self.step, self.draws()).tolist()
        for trainer in self.trainers:
            trainer.awake.write_back()
        return elbos

    def validate(self) -> list[Validated]:
        """Validate each trial, all K components of it."""
        if self.evaluate is None:  # their numbers of rows differ
            return [trainer.validate() for trainer in self.trainers]
        totals, *clusters = self.evaluate()
        n_rows = len(self.trainers[0].valid_rows)
        each = list(clusters[0].cpu().numpy()) if clusters else [None] * len(self.trainers)
        sizes = torch.stack([largest(trainer.model) for trainer in self.trainers]).tolist()
        return [
            Validated(total / n_rows, own, math.isfinite(size))
            for total, own, size in zip(totals.tolist(), each, sizes, strict=True)
        ]

    def draws(self) -> Iterator[tuple[Tensor, Noise]]:
        """Draw an epoch: rows (T, M) and noise of each step, stacked."""
        each = zip(*(trainer.blocks() for trainer in self.trainers), strict=True)
        joint = (tree_map(lambda *own: torch.stack(own, 1), *drawn) for drawn in each)
        return ahead(self.trainers[0].data, step_by_step(joint))

    def part(self) -> None:
        """Give each trainer tensors of its own; of the optimizers only to those that go on."""
        self.whole.part()
        self.model.part()
        for trainer in self.trainers:
            if trainer.finished:
                trainer.forget_moments()
            for optimizer in trainer.awake.optimizers:
                for state in optimizer.state.values():
                    state.update({key: value.clone() for key, value in state.items()})


def _joint_parts(trainers: list[Trainer]) -> list[tuple[Tensor, Tensor]]:
    """Return rows (T, n) and noise (T, n, p) of validation, in parts that are evaluated at once."""
    rows = torch.stack([trainer.valid_rows for trainer in trainers])
    noise = [torch.cat([noise for _, noise in trainer.valid_parts]) for trainer in trainers]
    size = max(EVALUATED_AT_ONCE // len(trainers), 1)
    return list(zip(rows.split(size, 1), torch.stack(noise).split(size, 1), strict=True))


def _evaluated(
    model: StackedModel, data: Tensors, parts: list[tuple[Tensor, Tensor]], kl_weight: float
) -> list[Tensor]:
    """Return the sums (T,) of the ELBO, and the clusters (T, n) if there are any."""
    return model.map(lambda one, parts: evaluated(one, data, parts, kl_weight), parts)


def _step(
    model: StackedModel,
    data: Tensors,
    optimizers: list[torch.optim.Adam],
    kl_weight: float,
    rows: Tensor,
    noise: Noise,
) -> Tensor:
    flat = data.batch(rows.flatten())
    batch = tree_map(lambda values: values.unflatten(0, rows.shape), flat)
    return take_step(model, optimizers, batch, noise, kl_weight)
