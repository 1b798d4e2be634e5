"""Clusters of an embedding that has none of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def leiden_clusters(embedding: ArrayLike, resolution: float = 1.0) -> np.ndarray:
    """Cluster an embedding as scanpy's users do: 15 nearest neighbours, then Leiden.

    Parameters
    ----------
    embedding : (N, p) array
    resolution : float
        The greater, the more clusters.

    Returns
    -------
    (N,) int array
        Largest cluster first. The same at every call.

    References
    ----------
    Traag, Waltman and van Eck (2019), *Scientific Reports* 9, 5233.
    """
    import scanpy as sc
    from anndata import AnnData

    cells = AnnData(np.asarray(embedding, dtype=np.float32))
    # Exact, like the neighbours of scIB's metrics; scanpy's default for 8192 cells and more is
    # not, and fails with pynndescent 0.7.
    sc.pp.neighbors(cells, use_rep="X", transformer="sklearn")
    return leiden_of_graph(cells.obsp["connectivities"], resolution)


def leiden_of_graph(graph: csr_matrix, resolution: float = 1.0) -> np.ndarray:
    """Cluster a graph of weights (N, N) as :func:`leiden_clusters` does that of an embedding."""
    import scanpy as sc
    from anndata import AnnData

    cells = AnnData(shape=graph.shape)
    options = {"flavor": "igraph", "n_iterations": 2, "directed": False}
    sc.tl.leiden(cells, resolution, random_state=0, adjacency=graph, **options)
    codes = cells.obs["leiden"].cat.codes.to_numpy()
    by_size = np.argsort(-np.bincount(codes), kind="stable")
    return np.argsort(by_size)[codes]
