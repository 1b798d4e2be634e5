"""All scIB metrics of six embeddings, in a process of their own from its start."""

from __future__ import annotations

import time

import numpy as np
from scipy import sparse

from benchmarks.harness import ROOT, Benchmark, Comparison

OURS, BRAS, CACHED = "ours", "ours, with BRAS", "ours, compiled programs kept"
LIBRARY = "scib_metrics.Benchmarker"
TYPES = (235, 448, 1187, 209, 139, 134, 24, 42, 127)
BATCHES = (0.78, 0.22)
N_GENES = 390
"""Cells of each type, shares of the batches, genes: as of the part of *pbmc* that tests have."""

BENCHMARKS = [
    Benchmark(
        name="evaluation",
        work=f"all scIB metrics of six embeddings, {sum(TYPES)} cells, one process from its start",
        contenders={
            OURS: "benchmarks.evaluation:ours",
            BRAS: "benchmarks.evaluation:ours_with_bras",
            CACHED: "benchmarks.evaluation:ours_with_programs_kept",
            LIBRARY: "benchmarks.evaluation:library",
        },
        comparisons=tuple(Comparison(label, 0.4, LIBRARY) for label in (OURS, BRAS, CACHED)),
        repeats=3,
        processes=True,
    )
]


def ours(lap) -> None:
    """Score them as the pipeline does, with the classic batch silhouette."""
    from vmm.benchmark.metrics.integration import integration_scores

    integration_scores(*data())
    lap()


def ours_with_bras(lap) -> None:
    """Score them with BRAS, the Benchmarker's default batch silhouette."""
    from vmm.benchmark.metrics.integration import integration_scores

    integration_scores(*data(), bras=True)
    lap()


def ours_with_programs_kept(lap) -> None:
    """Score new embeddings of the same cells with what jax compiled before, as later trials do."""
    from vmm.benchmark.metrics.integration import integration_scores

    folder = ROOT / "results" / "benchmarks" / "jax"
    integration_scores(*data(seed=time.time_ns()), compilation_cache=folder)
    lap()


def library(lap) -> None:
    """Score them by the library, with its defaults: approximate neighbours, BRAS."""
    from anndata import AnnData
    from scib_metrics.benchmark import Benchmarker

    embeddings, counts, batch, types = data()
    cells = AnnData(counts.astype(np.float32), obsm=embeddings)
    cells.obs["batch"], cells.obs["type"] = batch.astype(str), types.astype(str)
    benchmarker = Benchmarker(cells, "batch", "type", list(embeddings), progress_bar=False)
    benchmarker.benchmark()
    benchmarker.get_results()
    lap()


def data(seed: int = 1) -> tuple[dict[str, np.ndarray], sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Return six embeddings, counts, batches and types.

    Four embeddings have ten dimensions, as models' have, two have fifty, as principal components
    have. A type is a cloud of its own, a batch a shift, by another distance in each embedding.
    `seed` changes the embeddings only.
    """
    rng = np.random.default_rng(0)
    types = rng.permutation(np.repeat(np.arange(len(TYPES)), TYPES))
    batch = rng.choice(len(BATCHES), size=len(types), p=BATCHES)
    rates = rng.gamma(0.5, 1, (len(TYPES), N_GENES))[types] * (1 + 0.5 * batch[:, None])
    counts = sparse.csr_matrix(rng.poisson(rates).astype(np.int32))
    embeddings, rng = {}, np.random.default_rng(seed)
    for name, dim in enumerate((10, 10, 10, 10, 50, 50)):
        shift = 0.3 * name * batch[:, None] * rng.normal(size=dim)
        place = rng.normal(0, 1.5, (len(TYPES), dim))[types]
        noise = rng.normal(size=(len(types), dim))
        embeddings[str(name)] = (place + shift + noise).astype(np.float32)
    return embeddings, counts, batch, types
