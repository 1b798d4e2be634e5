"""scGraph: whether types that are alike in each batch are neighbours in the embedding.

Wang, Leskovec and Regev (2024), bioRxiv 2024.04.02.587824, with the defaults of their package
scgraph-eval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.metrics.scoring import Undefined

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding

TRIMMED = 0.05
"""Part of the cells that is left out at either end, in each dimension, where centres are means."""
LEAST_BATCH, LEAST_TYPE = 100, 10
"""Cells of a batch, and of a type, with fewer of which it is left out."""
N_GENES, N_COMPONENTS = 1000, 10


def scgraph(embedding: Embedding, cells: Cells) -> float:
    """Return the weighted correlation of distances between types with those within batches.

    Distances are those between trimmed means of types, divided by the greatest from the same type.
    The consensus is the mean over batches, each with principal components of its own, of the
    logarithms of its counts. For each type, its distances in the embedding are correlated with
    those of the consensus, weighted by the inverse of the latter: close types count most. The mean
    over types is returned. Of three types each has two others, and so the correlation 1 or -1.
    """
    types, consensus = cells.once(_consensus)
    known = np.isin(cells.labels, types)
    found = _distances(embedding.array[known], cells.labels[known], types)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = [_correlation(*pair) for pair in zip(found.T, consensus.T, strict=True)]
        return float(np.nanmean(each))


def _consensus(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """Return the types (T,) that count, and the distances (T, T) that batches agree on."""
    if cells.counts.shape[1] < 2:
        raise Undefined("single gene")
    types = np.flatnonzero(np.bincount(cells.labels) >= LEAST_TYPE)
    if len(types) < 3:
        raise Undefined(f"fewer than 3 classes of {LEAST_TYPE} cells")
    batches = np.flatnonzero(np.bincount(cells.batch) >= LEAST_BATCH)
    if len(batches) == 0:
        raise Undefined(f"no batch of {LEAST_BATCH} cells")
    each = []
    for batch in batches:
        own = cells.batch == batch
        components, labels = _components(cells.counts[own], cells.intensities), cells.labels[own]
        each.append(_distances(components, labels, types))
    stacked = np.stack(each)
    there = np.isfinite(stacked).sum(0)
    total = np.nansum(stacked, axis=0)
    mean = np.divide(total, there, out=np.full_like(total, np.nan), where=there > 0)
    return types, _scaled(mean)


def _components(counts: Any, intensities: bool = False) -> np.ndarray:
    """Return principal components of the most variable genes' logarithms, or of intensities."""
    import scanpy as sc
    from anndata import AnnData

    batch = AnnData(counts.astype(np.float32))
    if not intensities:
        sc.pp.normalize_total(batch, target_sum=1e4)
        sc.pp.log1p(batch)
    if batch.n_vars > N_GENES:
        sc.pp.highly_variable_genes(batch, n_top_genes=N_GENES)
        batch = batch[:, batch.var["highly_variable"]].copy()
    sc.pp.pca(batch, n_comps=min(N_COMPONENTS, min(batch.shape) - 1))
    return batch.obsm["X_pca"]


def _distances(array: np.ndarray, labels: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Return the scaled distances of types' centres, (T, T); NaN of those without cells."""
    from scipy.spatial.distance import cdist
    from scipy.stats import trim_mean

    centres = np.full((len(types), array.shape[1]), np.nan)
    for place, label in enumerate(types):
        if (labels == label).any():
            centres[place] = trim_mean(array[labels == label], TRIMMED, axis=0)
    return _scaled(cdist(centres, centres))


def _scaled(distances: np.ndarray) -> np.ndarray:
    """Divide each column by its greatest value."""
    most = np.where(np.isfinite(distances), distances, 0).max(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return distances / most


def _correlation(found: np.ndarray, expected: np.ndarray) -> float:
    """Return Pearson's correlation of what is known in both, weighted by 1 / `expected`."""
    both = np.isfinite(found) & np.isfinite(expected)
    x, y = found[both], expected[both]
    weights = np.divide(1.0, y, out=np.zeros_like(y), where=y != 0)
    if not weights.sum():
        return np.nan
    dx, dy = x - np.average(x, weights=weights), y - np.average(y, weights=weights)
    return (weights * dx * dy).sum() / np.sqrt((weights * dx**2).sum() * (weights * dy**2).sum())
