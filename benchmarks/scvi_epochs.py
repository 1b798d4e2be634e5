"""An epoch of scVI, validation included: scvi-tools' own against ours, N(0, I) and VMM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import SIZES, cells, split
from benchmarks.harness import Benchmark, Comparison
from vmm.benchmark.job import Job
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.ours import build_model, training_settings
from vmm.benchmark.setting import CHOSEN
from vmm.benchmark.spec import PriorSpec, Spec
from vmm.models.records import CellNetworks
from vmm.training.settings import Settings

LIBRARY, NORMAL, MIXTURE = "scvi-tools N(0, I)", "ours N(0, I)", "ours VMM"
AWAKE = 15
LATE = f"ours VMM, {AWAKE} components awake"
RATIO, EPOCHS = 5.0, 100_000


def spec(method: str, trial: int = 0, kind: str = "cells") -> Spec:
    """Return what a method of the pipeline is trained with."""
    record = METHODS[kind][method]
    prior = record.prior_record
    own = PriorSpec(name=prior.name, n_components=100) if prior else None
    return Spec(
        job=Job(kind, "synthetic", method, CHOSEN, trial),
        seed=0,
        networks=CellNetworks(n_latent=10, n_layers=1, n_hidden=128, likelihood="zinb"),
        learning_rate=4e-4,
        batch_size=128,
        max_epochs=EPOCHS,
        patience=EPOCHS,
        monitor="elbo",
        ours=own,
        prior_learning_ratio=RATIO,
        precision="float32",
    )


def settings_of(spec: Spec, **changes: Any) -> Settings:
    """Return how a specification's model is trained."""
    return replace(training_settings(spec), **changes)


def _benchmark(size: str, targets: tuple[float, float, float], repeats: int) -> Benchmark:
    shape = SIZES[size]
    normal, mixture, between = targets
    return Benchmark(
        name=f"scvi_epoch_{size}",
        work=f"scVI epoch, {shape['n_cells']} cells × {shape['n_genes']} genes, batch 128",
        contenders={
            LIBRARY: f"benchmarks.scvi_epochs:library_{size}",
            NORMAL: f"benchmarks.scvi_epochs:normal_{size}",
            MIXTURE: f"benchmarks.scvi_epochs:mixture_{size}",
            LATE: f"benchmarks.scvi_epochs:late_{size}",
        },
        comparisons=(
            Comparison(NORMAL, normal, LIBRARY),
            Comparison(MIXTURE, mixture, LIBRARY),
            Comparison(MIXTURE, between, NORMAL),
            Comparison(LATE, 0.6, LIBRARY),
            Comparison(LATE, 1.3, NORMAL),
        ),
        repeats=repeats,
    )


BENCHMARKS = [
    _benchmark("cortex", (0.35, 0.60, 1.6), repeats=11),
    _benchmark("pbmc", (0.60, 0.80, 1.3), repeats=5),
]


def library_cortex(lap) -> None:
    """Run scvi-tools at the size of cortex."""
    _library("cortex", lap)


def library_pbmc(lap) -> None:
    """Run scvi-tools at the size of pbmc."""
    _library("pbmc", lap)


def normal_cortex(lap) -> None:
    """Run ours with N(0, I) at the size of cortex."""
    _ours("cortex", "normal", lap)


def normal_pbmc(lap) -> None:
    """Run ours with N(0, I) at the size of pbmc."""
    _ours("pbmc", "normal", lap)


def mixture_cortex(lap) -> None:
    """Run ours with the VMM at the size of cortex."""
    _ours("cortex", "vmm", lap)


def mixture_pbmc(lap) -> None:
    """Run ours with the VMM at the size of pbmc."""
    _ours("pbmc", "vmm", lap)


def late_cortex(lap) -> None:
    """Run ours as late in a training, when most components sleep, at the size of cortex."""
    _ours("cortex", "vmm", lap, sleep_below=0.1)


def late_pbmc(lap) -> None:
    """Run ours as late in a training, when most components sleep, at the size of pbmc."""
    _ours("pbmc", "vmm", lap, sleep_below=0.1)


def _ours(size: str, method: str, lap, **changes: float) -> None:
    import torch

    from vmm.models.tensors import CellTensors
    from vmm.training.loop import Trainer, one_by_one, train_until_finished

    torch.set_num_threads(1)
    counts, batch = cells(**SIZES[size])
    data = CellTensors(counts, batch, SIZES[size]["n_batches"])
    train, valid = split(len(data))
    model = build_model(spec(method), data, train)
    trainer = Trainer(model, data, train, valid, settings_of(spec(method), **changes))
    if trainer.sleeps:
        trainer.train()  # so that Adam has what those asleep keep
        with torch.no_grad():
            model.prior.weight_logits[AWAKE:] = -50.0
        trainer.components = tuple(range(AWAKE))
    train_until_finished([trainer], *one_by_one, progress=[lambda row: lap()])


def _library(size: str, lap) -> None:
    import torch

    torch.set_num_threads(1)
    counts, batch = cells(**SIZES[size])
    train_library(counts, batch, spec("scvi_tools"), torch.device("cpu"), lambda row: lap())


def train_library(counts, batch: np.ndarray, own: Spec, device, progress) -> None:
    """Train scvi-tools as the pipeline does; call `progress` with the row of each epoch."""
    from vmm.benchmark.baselines.scvi_tools import train_scvi_tools
    from vmm.data import CellData

    n_cells, n_genes = counts.shape
    data = CellData(
        name="synthetic",
        counts=counts,
        batch=batch,
        batch_names=[str(code) for code in range(batch.max() + 1)],
        labels=np.zeros(n_cells, dtype=np.int64),
        label_names=["unknown"],
        genes=np.arange(n_genes).astype(str),
        cells=np.arange(n_cells).astype(str),
    )
    train_scvi_tools(data, [split(n_cells)], [own], Path(), device, [progress])
