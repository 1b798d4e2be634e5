"""Embeddings without training: PCA of scaled log-normalised counts, Harmony, Scanorama."""

from __future__ import annotations

import numpy as np

from vmm.data.containers import CellData
from vmm.errors import InputError

N_COMPONENTS = 50


def principal_components(data: CellData, seed: int = 0) -> np.ndarray:
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
    sc.pp.pca(adata, n_comps=n_components, random_state=seed)
    return np.ascontiguousarray(adata.obsm["X_pca"], dtype=np.float32)


def harmony(components: np.ndarray, data: CellData, seed: int = 0) -> np.ndarray:
    """Return the components corrected by Harmony (Korsunsky et al. 2019), (N, n) float32."""
    import harmonypy
    import pandas as pd

    batches = pd.DataFrame({"batch": pd.Categorical.from_codes(data.batch, data.batch_names)})
    result = harmonypy.run_harmony(
        components.astype(np.float64),
        batches,
        "batch",
        random_state=seed % 2**31,  # it takes no greater one
        verbose=False,
    )
    corrected = np.asarray(result.Z_corr)
    # harmonypy 2 gives cells × components, older releases the transpose.
    corrected = corrected if corrected.shape == components.shape else corrected.T
    return np.ascontiguousarray(corrected, dtype=np.float32)


def scanorama(components: np.ndarray, data: CellData, seed: int = 0) -> np.ndarray:
    """Return the components corrected by Scanorama (Hie et al. 2019), (N, n) float32."""
    import random

    import scanorama as library

    random.seed(seed)
    np.random.seed(seed)  # the library draws from global state
    rows = [np.flatnonzero(data.batch == batch) for batch in range(data.n_batches)]
    parts = library.assemble(
        [components[index].astype(np.float64) for index in rows], verbose=False
    )
    corrected = np.empty(components.shape, dtype=np.float32)
    corrected[np.concatenate(rows)] = np.concatenate(parts)
    return corrected


def baseline_embedding(
    method: str, data: CellData, components: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Return the embedding of a method: "pca", "harmony" or "scanorama".

    Parameters
    ----------
    method : str
    data : CellData
    components : array, shape (N, n)
        From :func:`principal_components`.
    seed : int
    """
    methods = {"pca": lambda *_: components, "harmony": harmony, "scanorama": scanorama}
    if method not in methods:
        raise InputError(f"baseline is {method!r}; it must be one of {', '.join(methods)}")
    return methods[method](components, data, seed)
