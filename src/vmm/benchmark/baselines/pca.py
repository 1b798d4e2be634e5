"""Principal components of scaled log-normalised counts: what Harmony and Scanorama start from."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from vmm.data.containers import CellData

N_COMPONENTS = 50
MAX_VALUE = 10
"""Scaled values are cut here, on both sides."""


def principal_components(data: CellData) -> np.ndarray:
    """Return the principal components of scaled log-normalised counts, (N, ≤ 50) float32.

    Scanpy's usual recipe: counts scaled to 10 000 a cell, log1p, each gene scaled to unit variance
    and clipped at 10, PCA. The scaled matrix is dense, since a zero becomes -mean / sd of its gene;
    what is made here is its difference from the value of a zero in the same gene. That has the same
    principal components, for it is the same but for a constant a gene, and is as sparse as counts.
    Intensities of proteins are scaled and clipped as they are.
    """
    import scanpy as sc
    from anndata import AnnData

    adata = AnnData(data.counts.astype(np.float32))
    if not data.intensities:
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
    adata.X = scaled_from_zero(adata.X)
    n_components = min(N_COMPONENTS, min(adata.shape) - 1)
    sc.pp.pca(adata, n_comps=n_components, svd_solver="arpack", random_state=0)
    return np.ascontiguousarray(adata.obsm["X_pca"], dtype=np.float32)


def scaled_from_zero(values: sp.csr_matrix) -> sp.csr_matrix:
    """Scale each gene, (x - mean) / sd clipped at ± 10, less what a zero comes to.

    `values` (N, G), float32, are overwritten; the result is zero where they were. The sd is the
    sample's, and 1 of a gene that does not vary.
    """
    from sklearn.utils.sparsefuncs import mean_variance_axis

    n = values.shape[0]
    mean, variance = mean_variance_axis(values.astype(np.float64), axis=0)
    sd = np.sqrt(variance * (n / max(1, n - 1)))
    sd[sd == 0] = 1
    of_zero = np.maximum(-mean / sd, -MAX_VALUE)
    genes = values.indices
    scaled = (values.data - mean[genes]) / sd[genes]
    values.data = (np.clip(scaled, -MAX_VALUE, MAX_VALUE) - of_zero[genes]).astype(np.float32)
    return values


def pca(components: np.ndarray, data: CellData, seed: int = 0) -> np.ndarray:
    """Return the embedding of a data set: what every method without training is like.

    Parameters
    ----------
    components : array of float32, shape (N, n)
        From :func:`principal_components`.
    data : CellData
        The cells, with their batches.
    seed : int
        Of one method in one trial; below 2³².

    Returns
    -------
    array of float32, shape (N, n)
        Here the components as they are.
    """
    return components
