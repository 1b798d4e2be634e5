"""Silhouettes (Rousseeuw, 1987), of classes and of batches, scaled to 0 … 1.

Luecken et al. (2022), *Nature Methods* 19, 41-50, as scib-metrics computes them, but from
scikit-learn's silhouettes: the library's compile anew for each size of a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vmm.benchmark.metrics.scoring import Undefined

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding


def silhouette_label(embedding: Embedding, cells: Cells) -> float:
    """Return the mean over cells of (1 + s) / 2, s the silhouette among classes."""
    return embedding.once(_class_silhouettes, cells).mean()


def isolated_labels(embedding: Embedding, cells: Cells) -> float:
    """Return the mean over isolated classes of their mean (1 + s) / 2.

    Isolated are the classes that are in the fewest batches.
    """
    scaled = embedding.once(_class_silhouettes, cells)
    n_batches = cells.batches_of_classes
    isolated = np.flatnonzero(n_batches == n_batches.min())
    return np.mean([scaled[cells.labels == label].mean() for label in isolated])


def silhouette_batch(embedding: Embedding, cells: Cells) -> float:
    """Return the mean over classes of the mean ``1 - |s|``, s the silhouette by batches.

    Without the classes of one batch, or with as many batches as cells.
    """
    means = []
    for label in _mixed(cells):
        members = cells.labels == label
        silhouettes = _silhouettes(embedding.array[members], cells.batch[members])
        means.append((1 - np.abs(silhouettes)).mean())
    return np.mean(means)


def bras(embedding: Embedding, cells: Cells) -> float:
    """Return the batch silhouette by cosine distances to the mean of all other batches.

    Rautenstrauch and Ohler (2025), which newer releases of scib-metrics put in place of
    :func:`silhouette_batch`.
    """
    import scib_metrics

    _mixed(cells)
    return scib_metrics.bras(embedding.array, cells.labels, cells.batch)


def _mixed(cells: Cells) -> np.ndarray:
    """Return the classes within which batches can be compared."""
    n_batches = cells.batches_of_classes
    mixed = np.flatnonzero((n_batches > 1) & (n_batches < np.bincount(cells.labels)))
    if len(mixed) == 0:
        raise Undefined("no class with cells of two batches")
    return mixed


def _class_silhouettes(embedding: Embedding, cells: Cells) -> np.ndarray:
    """Return (1 + s) / 2 of each cell; two metrics take it."""
    return (_silhouettes(embedding.array, cells.labels) + 1) / 2


def _silhouettes(array: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the silhouette of each row, (N,); 0 of the only one of its group."""
    from sklearn.metrics import silhouette_samples

    if len(np.unique(groups)) == len(groups):
        return np.zeros(len(groups), dtype=array.dtype)  # scikit-learn refuses
    return silhouette_samples(array, groups)
