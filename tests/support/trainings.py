"""Small problems and trainings, for tests of models and of training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from vmm.data.covariates import Covariates
from vmm.models.base import LatentVariableModel
from vmm.models.count_vae import CountVAE
from vmm.models.image_vae import ImageVAE
from vmm.models.tensors import CellTensors, ImageTensors
from vmm.priors import make_prior
from vmm.training.loop import fit
from vmm.training.settings import FitResult, Settings

P, K = 2, 6
PRIORS = ["normal", "vampprior", "gmm", "vmm"]
MIXTURES = ["gmm", "vmm"]
KINDS = ["image", "cells"]


# ---------------------------------------------------------------------------- small problems


def make_data(kind: str, n: int = 120) -> tuple[ImageTensors | CellTensors, np.ndarray]:
    """Return three clearly different classes of images or cells, and their labels.

    Cells of the kind "informed" have covariates.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    if kind == "image":
        centres = rng.uniform(-0.8, 0.8, (3, 12))
        pixels = np.clip(centres[labels] + 0.1 * rng.normal(size=(n, 12)), -1, 1)
        return ImageTensors(pixels.astype(np.float32)), labels
    rates = 4 * np.exp(rng.normal(size=(3, 10)))
    counts = rng.poisson(rates[labels])
    batch = rng.integers(0, 2, n)
    if kind == "cells":
        return CellTensors(counts, batch, 2), labels
    known = Covariates(
        {"donor": (rng.integers(0, 3, n), ["a", "b", "c"])},
        {"age": rng.normal(size=n)},
    )
    return CellTensors(counts, batch, 2, covariates=known), labels


class Doubles:
    """Data in double precision: rounding, which training amplifies, is then out of sight."""

    def __init__(self, data):
        self.data, self.device, self.total = data, data.device, data.total

    def batch(self, rows: Tensor):
        return tree_map(Tensor.double, self.data.batch(rows))


def data_of(kind: str):
    """Return the data in the default precision, and their labels."""
    data, labels = make_data(kind)
    return (Doubles(data) if torch.get_default_dtype() == torch.float64 else data), labels


def make_model(kind: str, prior: str, seed: int = 0, **options) -> LatentVariableModel:
    """Return a small model in its initial state."""
    data, _ = make_data(kind)
    generator = torch.Generator().manual_seed(seed)
    if kind == "image":
        model = ImageVAE(12, P, (16, 8), generator)
    else:
        told = {"n_categories": (3,), "n_continuous": 1}
        chosen = told | {"dispersion": "gene-batch"} if kind == "informed" else {}
        model = CountVAE(10, 2, P, 1, 16, "zinb", generator=generator, **chosen)
    rows = torch.randperm(len(data), generator=generator)[:K]
    u = model.initial_pseudo_inputs(data.batch(rows))
    model.prior = make_prior(prior, P, K, u, generator, **options)
    return model


SETTINGS = Settings(learning_rate=1e-2, batch_size=20, max_epochs=5, prior_learning_ratio=2.5)
TRAIN, VALID = np.arange(100), np.arange(100, 120)


def run(kind: str, prior: str, settings: Settings = SETTINGS, **options):
    """Train a small model; return it and the result."""
    data, labels = make_data(kind)
    model = make_model(kind, prior)
    return model, fit(model, data, TRAIN, VALID, settings, labels=labels, **options)


def snapshot(model: LatentVariableModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def assert_same(ours: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Assert equality to the bit."""
    assert changed(ours, other) == set()


def without_seconds(result: FitResult) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]


def noise_for(model, n: int, seed: int = 0):
    return model.draw_noise(n, torch.Generator().manual_seed(seed), "cpu")


class Killed(Exception):
    """Stands for a job's end at any moment."""


def killer(epoch: int):
    def progress(row):
        if row["epoch"] == epoch:
            raise Killed

    return progress


def finite(model) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


def poison(model, at_epoch: int):
    """Return a callback that breaks a weight after an epoch, as a NaN step would."""

    def progress(row):
        if row["epoch"] == at_epoch:
            with torch.no_grad():
                next(model.decoder.parameters()).fill_(float("nan"))

    return progress
