"""What the checks train: data made here, the models and priors of the registries, trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor

from benchmarks.data import SIZES, cells, split
from vmm.lazy import resolve
from vmm.models.base import LatentVariableModel
from vmm.models.build import start_prior
from vmm.models.records import MODELS, CellNetworks, ImageNetworks, Networks
from vmm.models.tensors import CellTensors, ImageTensors, Tensors
from vmm.priors.records import clustering_priors, priors_of
from vmm.training.loop import Trainer
from vmm.training.pretraining import pretrain
from vmm.training.settings import FitResult, Settings
from vmm.training.stacked import fit_stacked

Array = np.ndarray
NETWORKS: dict[str, tuple[Networks, Networks]] = {
    "images": (ImageNetworks(10, (500, 500, 2000)), ImageNetworks(2, (8, 6))),
    "cells": (CellNetworks(10, 1, 128, "zinb"), CellNetworks(2, 1, 8, "zinb")),
}
"""Of each kind of data: the paper's, and toys."""
SMALL = 1000
"""Images or cells where their number does not matter: few steps, enough to record one."""


@dataclass(frozen=True)
class Work:
    """A model to be trained on data.

    Attributes
    ----------
    kind, prior : str
    networks : ImageNetworks or CellNetworks
    data : ImageTensors or CellTensors
    n_components : int
    settings : Settings
    valid : array of int, optional
        Rows of validation; by default a tenth, another one in each trial.
    n_unused : int
        How many components start without a part in any point, one more in each trial.
    """

    kind: str
    prior: str
    networks: Networks
    data: Tensors
    n_components: int
    settings: Settings
    valid: Array | None = None
    n_unused: int = 0

    def splits(self, n_trials: int, n_steps: int | None = None) -> list[tuple[Array, Array]]:
        """Return the rows of each trial to train, for `n_steps` of an epoch, and to validate on."""
        if self.valid is None:
            own = [split(len(self.data), trial) for trial in range(n_trials)]
        else:
            own = [(np.setdiff1d(np.arange(len(self.data)), self.valid), self.valid)] * n_trials
        rows = None if n_steps is None else n_steps * self.settings.batch_size
        return [(train[:rows], valid) for train, valid in own]

    def models(self, n_trials: int) -> list[LatentVariableModel]:
        """Return untrained models, the same on every device."""
        made = []
        for trial, (train, _) in enumerate(self.splits(n_trials)):
            generator = torch.Generator().manual_seed(trial)
            cls = resolve(MODELS[self.kind].cls)
            model = cls.for_data(self.data, self.networks, generator).to(self.data.device)
            start_prior(model, self.prior, self.n_components, self.data, train, 0, trial)
            if self.n_unused:
                with torch.no_grad():
                    model.prior.weight_logits[-self.n_unused - trial :] = -50.0
            made.append(model.to(self.data.device))
        return made

    def trainers(self, n_trials: int, n_steps: int | None = None) -> list[Trainer]:
        """Return the trainings, with an epoch of `n_steps` if given."""
        return [
            Trainer(model, self.data, train, valid, replace(self.settings, seed=trial))
            for trial, (model, (train, valid)) in enumerate(
                zip(self.models(n_trials), self.splits(n_trials, n_steps), strict=True)
            )
        ]

    def fit(
        self,
        n_trials: int,
        checkpoint: Path | None = None,
        progress: Callable[[int, LatentVariableModel, dict], None] | None = None,
        pretraining: bool = True,
        checkpoint_seconds: float = math.inf,
        n_steps: int | None = None,
        **changes: Any,
    ) -> tuple[list[LatentVariableModel], list[FitResult]]:
        """Train trials at once.

        `progress` is called with the trial, its model and the row of an epoch. A pre-trained prior
        is started by scikit-learn, and without that from what was drawn for it.
        """
        models, splits = self.models(n_trials), self.splits(n_trials, n_steps)
        own = [replace(self.settings, seed=trial, **changes) for trial in range(n_trials)]
        show = None
        if progress is not None:
            show = [
                lambda row, trial=trial, model=model: progress(trial, model, row)
                for trial, model in enumerate(models)
            ]
        if pretraining and find_spec("sklearn") is not None:
            pretrain(models, self.data, splits, own)
        return models, fit_stacked(
            models,
            self.data,
            splits,
            own,
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            progress=show,
        )


class Enough(Exception):
    """Raised after an epoch to end a training, as a kill would."""


def works(toy: bool, device: Any, each: bool = True) -> Iterator[tuple[str, Work]]:
    """Return every kind of data with every prior and variant of the networks, with their names.

    Few data give few steps; networks have the paper's sizes, but where all is a toy. With `each`
    false there is one variant of the networks.
    """
    for kind in MODELS:
        data, usual = small_data(kind, toy, device), NETWORKS[kind][toy]
        for networks in variants(usual) if each else [usual]:
            for prior in priors_of(kind):
                what = [kind, *(str(v) for v in vars(networks).values() if isinstance(v, str))]
                yield ", ".join([*what, prior]), work_on(kind, prior, networks, data, toy)


def one_a_kind(toy: bool, device: Any) -> list[tuple[str, Work]]:
    """Return one training of each kind of data, of the prior that a run has by default."""
    return [
        (kind, work_on(kind, None, NETWORKS[kind][toy], small_data(kind, toy, device), toy))
        for kind in MODELS
    ]


def one_a_prior(toy: bool, device: Any) -> Iterator[tuple[str, Work]]:
    """Return one training of each prior and kind of data; as toys, of each kind of data."""
    return iter(one_a_kind(toy, device)) if toy else works(toy, device, each=False)


def small_data(kind: str, toy: bool, device: Any) -> Tensors:
    """Return a few images or cells."""
    return images(toy, device) if kind == "images" else cell_tensors(toy, device)


def work_on(kind: str, prior: str | None, networks: Networks, data: Tensors, toy: bool) -> Work:
    """Return the training of a prior, by default the last that clusters, at the paper's rates."""
    rate, batch_size, ratio = (1e-4, 256, 1.0) if kind == "images" else (4e-4, 128, 5.0)
    settings = Settings(rate, 16 if toy else batch_size, max_epochs=4, prior_learning_ratio=ratio)
    if toy:
        settings = replace(settings, learning_rate=1e-2)
    prior = prior or clustering_priors(kind)[0]
    return Work(kind, prior, networks, data, 6 if toy else 100, settings)


def variants(networks: Networks) -> Iterator[Networks]:
    """Return networks with each of the values that a field of theirs may have, such as ZINB, NB."""
    hints = get_type_hints(type(networks))
    named = [f.name for f in fields(networks) if get_origin(hints[f.name]) is Literal]
    yield networks
    for name in named:
        for value in get_args(hints[name]):
            if value != getattr(networks, name):
                yield replace(networks, **{name: value})


def images(toy: bool, device: Any, small: bool = True) -> ImageTensors:
    """Return images of ten classes, 8 bits: as many as MNIST's, or `small`."""
    n, side = (100, 4) if toy else (SMALL if small else 70_000, 28)
    return ImageTensors(pixels(n, side)[0], device)


@cache
def pixels(n: int, side: int) -> tuple[Array, Array]:
    """Return images (n, side²) of ten classes, and the classes."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 10
    centres = random.integers(30, 225, (10, side * side), dtype=np.int16)
    noise = random.integers(-30, 31, (n, side * side), dtype=np.int8)
    return (centres[labels] + noise).astype(np.uint8), labels


def cell_tensors(toy: bool, device: Any, small: bool = True, size: str = "cortex") -> CellTensors:
    """Return cells like those of a set, or `small` ones with as many genes."""
    shape = SIZES[size]
    if toy:
        shape = shape | {"n_cells": 100, "n_genes": 12}
    elif small:
        shape = shape | {"n_cells": SMALL}
    counts, batch = cells(**(shape | {"n_batches": 2} if small else shape))
    return CellTensors(counts, batch, 2 if small else shape["n_batches"], device)


def states_equal(first: list[LatentVariableModel], second: list[LatentVariableModel]) -> bool:
    """Return whether models are equal to the bit, wherever they are."""
    return all(
        torch.equal(value.cpu(), other.state_dict()[name].cpu())
        for one, other in zip(first, second, strict=True)
        for name, value in one.state_dict().items()
    )


def histories(results: list[FitResult]) -> str:
    """Return the histories as text, in which NaN is NaN; the seconds are nobody's."""
    return str(
        [[{k: v for k, v in row.items() if k != "seconds"} for row in r.history] for r in results]
    )


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def norm(values: list[Tensor]) -> float:
    """Return the norm of all values together."""
    return float(torch.cat([v.detach().double().cpu().flatten() for v in values]).norm())
