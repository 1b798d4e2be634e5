"""An epoch of scVI, validation included: scvi-tools' own against ours, N(0, I) and VMM."""

from __future__ import annotations

import numpy as np

from benchmarks.data import SIZES, cells, split
from benchmarks.harness import Benchmark, Comparison

LIBRARY, NORMAL, MIXTURE = "scvi-tools N(0, I)", "ours N(0, I)", "ours VMM"
SPEC = {
    "model": "scVI",
    "dataset": "synthetic",
    "trial": 0,
    "seed": 0,
    "latent_dim": 10,
    "n_layers": 1,
    "n_hidden": 128,
    "likelihood": "zinb",
    "n_components": 100,
    "learning_rate": 4e-4,
    "batch_size": 128,
    "max_epochs": 100_000,
    "patience": 100_000,
}


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
        },
        comparisons=(
            Comparison(NORMAL, normal, LIBRARY),
            Comparison(MIXTURE, mixture, LIBRARY),
            Comparison(MIXTURE, between, NORMAL),
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
    _ours("cortex", "StandardNormal", lap)


def normal_pbmc(lap) -> None:
    """Run ours with N(0, I) at the size of pbmc."""
    _ours("pbmc", "StandardNormal", lap)


def mixture_cortex(lap) -> None:
    """Run ours with the VMM at the size of cortex."""
    _ours("cortex", "VampPriorMixture", lap)


def mixture_pbmc(lap) -> None:
    """Run ours with the VMM at the size of pbmc."""
    _ours("pbmc", "VampPriorMixture", lap)


def _ours(size: str, prior: str, lap) -> None:
    import torch

    from vmm.models.build import build_model
    from vmm.models.tensors import CellTensors
    from vmm.training.loop import fit
    from vmm.training.settings import Settings

    torch.set_num_threads(1)
    counts, batch = cells(**SIZES[size])
    data = CellTensors(counts, batch, SIZES[size]["n_batches"])
    train, valid = split(len(data))
    model = build_model(SPEC | {"prior": prior}, data, train)
    settings = Settings(
        SPEC["learning_rate"],
        SPEC["batch_size"],
        SPEC["max_epochs"],
        prior_learning_ratio=5.0,
        patience=SPEC["patience"],
    )
    fit(model, data, train, valid, settings, progress=lambda row: lap())


def _library(size: str, lap) -> None:
    """Run scvi-tools as the pipeline does."""
    import torch

    from vmm.benchmark.baselines.scvi_tools import train_scvi_tools
    from vmm.data import CellData

    torch.set_num_threads(1)
    counts, batch = cells(**SIZES[size])
    n_cells, n_genes = counts.shape
    data = CellData(
        name=size,
        counts=counts,
        batch=batch,
        batch_names=[str(code) for code in range(SIZES[size]["n_batches"])],
        labels=np.zeros(n_cells, dtype=np.int64),
        label_names=["unknown"],
        genes=np.arange(n_genes).astype(str),
        cells=np.arange(n_cells).astype(str),
    )
    train, valid = split(n_cells)
    train_scvi_tools(data, train, valid, SPEC, 0, "cpu", progress=lambda row: lap())
