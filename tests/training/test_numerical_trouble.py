"""Numerical trouble: a training ends with finite numbers, or diverges and says in which epoch."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from tiny_jobs import (
    IMAGES,
    OURS,
    make_cells,
    make_spec,
    read_history,
    read_latent,
    read_weights,
    train,
    write,
)

import vmm.training
from vmm.benchmark.ours import build_model
from vmm.data import CellData, ImageData
from vmm.errors import InputError
from vmm.models.tensors import ImageTensors
from vmm.training.loop import fit
from vmm.training.settings import Settings

PRIORS = [method for kind, method in OURS if kind == "cells"]


def cells(counts: np.ndarray) -> CellData:
    """Return cells with these counts."""
    like = make_cells(len(counts))
    genes = np.array([f"gene{g}" for g in range(counts.shape[1])])
    matrix = sp.csr_matrix(counts.astype(np.int32))
    columns = like.batch, like.batch_names, like.labels, like.label_names
    return CellData("cells", matrix, *columns, genes, like.cells)


def images(x: np.ndarray) -> ImageData:
    """Return 4 × 4 images of three classes."""
    return ImageData("shapes", x.astype(np.uint8), np.arange(len(x)) % 3, ["a", "b", "c"], (4, 4))


def changed(value: float, *where) -> np.ndarray:
    counts = POISSON.astype(np.int64)
    counts[where] = value
    return counts


POISSON = np.random.default_rng(0).poisson(2, (100, 12))
NOTHING_BUT_ONE = np.where(np.arange(1200).reshape(100, 12) == 17, 1, 0)
GREY = np.full((90, 16), 128)
THREE_IMAGES = (np.arange(90) % 3)[:, None] * np.full((1, 16), 100)

HARMLESS: dict[str, tuple[Callable, np.ndarray, list[str], dict]] = {
    "cells without counts": (cells, changed(0, slice(10)), PRIORS, {}),
    "a count of a million in every gene": (cells, changed(10**6, 0), PRIORS, {}),
    "the greatest count": (cells, changed(2**31 - 1, 50, 3), ["normal", "vmm"], {}),
    "counts of a million, nb": (cells, POISSON // 3 * 10**6, PRIORS, {"likelihood": "nb"}),
    "a single count in all": (cells, NOTHING_BUT_ONE, PRIORS, {}),
    "more dimensions than cells": (
        cells, POISSON[:12], PRIORS, {"n_latent": 40, "n_components": 4, "batch_size": 4}),
    "more components than cells": (
        cells, POISSON[:12], ["gmm"], {"n_components": 50, "batch_size": 4}),
    "as many components as cells": (
        cells, POISSON[:12], ["vmm", "vampprior"], {"n_components": 11, "batch_size": 4}),
    "two cells to train on": (cells, POISSON[:3], ["gmm", "vmm"], {"n_components": 2}),
    "clusters that die": (cells, POISSON, ["gmm", "vmm"], {"prior_learning_ratio": 1e3}),
    "more dimensions than images": (
        images, THREE_IMAGES[:15], IMAGES, {"n_latent": 30, "batch_size": 4}),
    "images that are all the same": (images, GREY, IMAGES, {"learning_rate": 0.03}),
    "three images again and again": (images, THREE_IMAGES, IMAGES, {}),
}  # fmt: skip
HOPELESS = {
    "a rate of 1000": (cells, POISSON, PRIORS, {"learning_rate": 1e3}),
    "a ratio of a million": (cells, POISSON, ["gmm", "vmm"], {"prior_learning_ratio": 1e6}),
    "a rate of 1e20 on images": (images, THREE_IMAGES, IMAGES, {"learning_rate": 1e20}),
}


def each(table: dict) -> list:
    """Return a case for each method of each row."""
    return [
        pytest.param(make(values), method, changes, id=f"{name}-{method}")
        for name, (make, values, methods, changes) in table.items()
        for method in methods
    ]


def run(data: CellData | ImageData, method: str, folder, **changes) -> dict:
    """Train one job; return its ``run.json`` once all that it wrote is known to be finite."""
    paths = write(data, folder)
    spec = make_spec(data.kind, method, **{"max_epochs": 15, "patience": 15} | changes)
    result = train(*paths, spec, folder / "job", device="cpu", progress=lambda row: None)
    for name, array in read_latent(folder / "job").items():
        assert np.isfinite(array).all(), name
    for name, value in read_weights(folder / "job").items():
        assert torch.isfinite(value.float()).all(), name
    return result


def epochs(folder) -> list[bool]:
    """Return for each epoch of the history whether all of it is finite."""
    history = read_history(folder / "job")
    assert [int(row["epoch"]) for row in history] == list(range(1, len(history) + 1))
    return [all(math.isfinite(float(value)) for value in row.values()) for row in history]


@pytest.mark.parametrize(("data", "method", "changes"), each(HARMLESS))
def test_extreme_data_do_not_diverge(data, method, changes, tmp_path):
    result = run(data, method, tmp_path, **changes)
    assert result["status"] == "ok" and 1 <= result["best_epoch"] <= result["epochs"] == 15
    assert epochs(tmp_path) == [True] * 15
    if method != "normal":
        assert 1 <= result["utilized_clusters"] <= changes.get("n_components", 8)


@pytest.mark.parametrize(("data", "method", "changes"), each(HOPELESS))
def test_what_diverges_says_in_which_epoch(data, method, changes, tmp_path):
    """The last row of the history, whose number run.json has; the model is that before it."""
    result = run(data, method, tmp_path, **changes)
    assert result["status"] == "diverged" and result["epochs"] < 15
    assert epochs(tmp_path) == [True] * (result["epochs"] - 1) + [False]
    assert result["best_epoch"] == result["epochs"] - 1


def test_dead_clusters_stay_finite(tmp_path):
    """All cells in one cluster: the others' weights go down, and no logarithm with them."""
    changes = {"prior_learning_ratio": 1e3, "max_epochs": 60, "patience": 60}
    result = run(cells(POISSON), "vmm", tmp_path, **changes)
    probabilities = read_latent(tmp_path / "job")["cluster_probs"]
    assert result["status"] == "ok" and result["utilized_clusters"] == 1
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert probabilities.min() >= 0


@pytest.mark.parametrize(("raw", "status"), [(-20.0, "ok"), (-200.0, "diverged")])
def test_a_likelihood_of_hardly_any_or_no_width(raw, status):
    """σ = 2e-9 is a number to go on from; σ = 0, below what softplus can say, is not."""
    data, rows = ImageTensors(THREE_IMAGES.astype(np.uint8)), np.arange(90)
    model = build_model(make_spec("images", "vmm"), data, rows)
    with torch.no_grad():
        model.scale_raw.fill_(raw)
    settings = Settings(learning_rate=1e-3, batch_size=16, max_epochs=3, seed=1)
    result = fit(model, data, rows[:70], rows[70:], settings)
    assert result.status == status
    assert len(result.history) == {"ok": 3, "diverged": 1}[status]
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_parameter_that_the_elbo_does_not_know_of_counts_too(monkeypatch):
    """The concentration α is in the hyperprior alone: NaN in it must not pass for a result."""
    data, rows = ImageTensors(THREE_IMAGES.astype(np.uint8)), np.arange(90)
    model = build_model(make_spec("images", "gmm"), data, rows)
    before = model.prior.concentration_raw.item()
    evaluated = vmm.training.embedding.evaluated

    def poisonous(*arguments, **options):
        found = evaluated(*arguments, **options)
        with torch.no_grad():
            model.prior.concentration_raw.fill_(math.nan)
        return found

    monkeypatch.setattr(vmm.training.loop, "evaluated", poisonous)
    settings = Settings(learning_rate=1e-3, batch_size=70, max_epochs=1, seed=1)
    result = fit(model, data, rows[:70], rows[70:], settings)
    assert math.isfinite(result.history[-1]["valid_elbo"])
    assert (result.status, result.best_epoch) == ("diverged", 0)
    assert model.prior.concentration_raw.item() == before


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (
            "vmm",
            "n_components is 8, but shapes has only 7 training rows to start the components",
        ),
        (
            "vampprior",
            "n_components is 8, but shapes has only 7 training rows to start the components",
        ),
        (
            "vade",
            "vade_clusters is 8, but shapes has only 7 training rows to start the components",
        ),
    ],
)
def test_more_clusters_than_rows_to_start_them_from(method, sentence, tmp_path):
    """Refused before training; the GMM starts from none."""
    data = images(THREE_IMAGES[:9])
    with pytest.raises(InputError, match=sentence):
        run(data, method, tmp_path, batch_size=4)
    assert list((tmp_path / "job").iterdir()) == []
    assert run(data, "gmm", tmp_path, batch_size=4)["status"] == "ok"
