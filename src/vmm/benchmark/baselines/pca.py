"""Principal components of scaled log-normalised counts: what Harmony and Scanorama start from."""

from __future__ import annotations

import numpy as np

from vmm.data.containers import CellData

N_COMPONENTS = 50


def principal_components(data: CellData) -> np.ndarray:
    """Return the principal components of scaled log-normalised counts, (N, ≤ 50) float32.

    Scanpy's usual recipe: counts scaled to 10 000 a cell, log1p, each gene scaled to unit variance
    and clipped at 10, PCA.
    """
    import scanpy as sc

    adata = data.to_anndata()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.scale(adata, max_value=10)
    n_components = min(N_COMPONENTS, min(adata.shape) - 1)
    sc.pp.pca(adata, n_comps=n_components, random_state=0)
    return np.ascontiguousarray(adata.obsm["X_pca"], dtype=np.float32)


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
