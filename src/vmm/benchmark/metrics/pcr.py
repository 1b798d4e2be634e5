"""How much less of the variance the batch explains than in the counts.

Büttner et al. (2019), *Nature Methods* 16, 43-49.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.metrics.scoring import Undefined

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding

N_COMPONENTS = 50
SMALLEST = 1e-9
"""Of less variance than this part, batches explain none."""


def pcr_comparison(embedding: Embedding, cells: Cells) -> float:
    """Return the relative reduction, 0 where there is none.

    Against the raw counts, as in the paper (arXiv:2402.04412, section 5): their first 50 principal
    components, neither normalised nor logarithmised, which is what scib-metrics' ``Benchmarker``
    takes when its ``adata.X`` holds the counts, as in the paper's published code.
    """
    from scib_metrics import pcr_comparison

    before = cells.once(_components)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PCR comparison score is negative")
        return pcr_comparison(before, embedding.array, cells.batch, categorical=True)


def pcr_within_types(embedding: Embedding, cells: Cells) -> float:
    """Return the relative reduction of the part of the variance within classes, 0 where none is.

    :func:`pcr_comparison` takes all variance: where batches have other classes, the batch explains
    part of that between classes, the more the better an embedding keeps these apart, and the
    classes themselves do not score 1. Here it is 1 − R²(embedding) / R²(counts), with the R² of the
    batch in what the classes leave over (:func:`explained_within`).
    """
    before = cells.once(_explained_in_counts)
    if before < SMALLEST:
        raise Undefined("no class varies between batches")
    return max(0.0, 1 - explained_within(embedding.array, cells.batch, cells.labels) / before)


def explained_within(values: np.ndarray, batch: np.ndarray, labels: np.ndarray) -> float:
    """Return the part of the variance within classes that batches explain, by least squares.

    Parameters
    ----------
    values : (N, p) array
    batch, labels : (N,) int arrays
        0, 1, ….

    Returns
    -------
    float
        (SS(classes and batches) − SS(classes)) / (SS − SS(classes)), each the sum of squares that
        an additive fit explains of the p columns; 0 if nothing is left over.
    """
    centred = np.asarray(values - values.mean(0), dtype=float)
    batches, classes = (np.eye(codes.max() + 1)[codes] for codes in (batch, labels))
    total, between = float((centred**2).sum()), _fitted(centred, classes)
    left = total - between
    if left <= SMALLEST * total:
        return 0.0
    return max(0.0, (_fitted(centred, np.hstack([classes, batches])) - between) / left)


def _fitted(values: np.ndarray, by: np.ndarray) -> float:
    """Return the sum of squares of the fit of `values` by the columns of `by`."""
    return float(((by @ np.linalg.lstsq(by, values, rcond=None)[0]) ** 2).sum())


def _explained_in_counts(cells: Cells) -> float:
    return explained_within(cells.once(_components), cells.batch, cells.labels)


def count_components(counts: Any) -> np.ndarray:
    """Return the first 50 principal components of counts, (N, min(50, N - 1, G - 1)).

    The same as ``scanpy.pp.pca(adata, svd_solver="arpack")`` of the counts, without scanpy.
    """
    from scipy.sparse import issparse
    from sklearn.decomposition import PCA

    matrix = counts.tocsr().astype(np.float32) if issparse(counts) else np.asarray(counts, "f4")
    n_components = min(N_COMPONENTS, min(matrix.shape) - 1)
    pca = PCA(n_components=n_components, svd_solver="arpack", random_state=0)
    return pca.fit_transform(matrix).astype(np.float32)


def _components(cells: Cells) -> np.ndarray:
    if cells.counts.shape[1] < 2:
        raise Undefined("single gene")
    return count_components(cells.counts)
