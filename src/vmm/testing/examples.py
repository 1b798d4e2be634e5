"""Tiny data sets and specifications: a training on them takes well under a second."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from vmm.benchmark.job import Job
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.setting import CHOSEN, Setting
from vmm.benchmark.spec import PriorSpec, Spec
from vmm.data.containers import CellData, ImageData
from vmm.data.splits import make_split
from vmm.models.records import CellNetworks, ImageNetworks

K, EPOCHS = 8, 3
"""Components, and epochs of a training."""


def make_images(n: int = 90) -> ImageData:
    """Return three classes of 4 × 4 images, 8 bits."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    centres = rng.uniform(20, 235, (3, 16))
    x = np.clip(centres[labels] + 20 * rng.normal(size=(n, 16)), 0, 255).astype(np.uint8)
    return ImageData("shapes", x, labels, ["a", "b", "c"], (4, 4))


def make_cells(n: int = 100, n_batches: int = 2) -> CellData:
    """Return three cell types in batches with a shift of their own."""
    rng = np.random.default_rng(0)
    labels, batch = np.arange(n) % 3, (np.arange(n) // 3) % n_batches
    rates = 3 * np.exp(rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(n_batches, 1, 12)))
    counts = rng.poisson(rates[batch, labels]).astype(np.int32)
    return CellData(
        name="cells",
        counts=scipy.sparse.csr_matrix(counts),
        batch=batch.astype(np.int64),
        batch_names=[f"donor {b}" for b in range(n_batches)],
        labels=labels.astype(np.int64),
        label_names=["T", "B", "NK"],
        genes=np.array([f"gene{g}" for g in range(12)]),
        cells=np.array([f"cell{i}" for i in range(n)]),
    )


def write(data: CellData | ImageData, folder: Path) -> tuple[Path, Path]:
    """Write data and the split of trial 0."""
    data_path, split_path = folder / f"{data.name}.npz", folder / f"{data.name}-split.npz"
    data.save(data_path)
    train, valid = make_split(data, 0, 0)
    np.savez(split_path, train=train, valid=valid)
    return data_path, split_path


def make_spec(kind: str, method: str, **changes: Any) -> Spec:
    """Return the specification of a tiny job.

    `changes` are fields of the specification, of its job, its networks or its prior, or options of
    the latter; of scvi-tools, of the method.
    """
    record = METHODS[kind][method]
    networks: ImageNetworks | CellNetworks
    if kind == "images":
        networks = ImageNetworks(n_latent=2, hidden=(10, 8))
        job = Job(kind, "shapes", method, Setting(16, stop="elbo"), 0)
    else:
        networks = CellNetworks(n_latent=2, n_layers=1, n_hidden=8, likelihood="zinb")
        job = Job(kind, "cells", method, CHOSEN, 0)
    spec = Spec(
        job=job,
        seed=5,
        networks=networks,
        learning_rate=3e-3,
        batch_size=16,
        max_epochs=EPOCHS,
        patience=10,
        monitor="elbo",
    )
    if record.n_clusters_key:
        spec = replace(spec, options={record.n_clusters_key: K})
    if record.prior_record is not None:
        prior = record.prior_record
        own = PriorSpec(name=prior.name, n_components=K if prior.clusters else None)
        ratio = 2.5 if prior.empirical_bayes else None
        spec = replace(spec, ours=own, precision="float32", prior_learning_ratio=ratio)
    for key, value in changes.items():
        spec = _changed(spec, key, value)
    return spec


def _changed(spec: Spec, key: str, value: Any) -> Spec:
    for name in ("job", "networks", "ours"):
        part = getattr(spec, name)
        if part is not None and key in {f.name for f in fields(part)}:
            return replace(spec, **{name: replace(part, **{key: value})})
    if key in {f.name for f in fields(spec)}:
        return replace(spec, **{key: value})
    if spec.ours is None:
        return replace(spec, options={**(spec.options or {}), key: value})
    return replace(spec, ours=replace(spec.ours, options={**spec.ours.options, key: value}))
