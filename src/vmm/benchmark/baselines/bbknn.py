"""BBKNN: a graph in which each cell has neighbours in every batch; there is no embedding."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from vmm.data.containers import CellData

WITHIN_BATCH = 3
"""Neighbours that a cell has in each batch, itself among those of its own."""
KEPT = 10
"""Of a cell's edges, those of the greatest weights are kept: so many for each neighbour."""


def bbknn(components: np.ndarray, data: CellData, seed: int = 0) -> sp.csr_matrix:
    """Return the graph of batch-balanced neighbours (Polański et al. 2020), (N, N) weights.

    As the package of its authors makes it with exact neighbours: those of each cell in each batch
    by principal components, their weights as in UMAP, and of each cell's edges the strongest.
    """
    from sklearn.neighbors import NearestNeighbors
    from umap.umap_ import fuzzy_simplicial_set

    n = len(components)
    k = min(WITHIN_BATCH, int(np.bincount(data.batch).min()))
    distances, indices = [], []
    for batch in range(data.n_batches):
        members = np.flatnonzero(data.batch == batch)
        search = NearestNeighbors(n_neighbors=k).fit(components[members])
        found = members[search.kneighbors(components, return_distance=False)]
        # The search's own distances are not 0 of a cell to itself, by which weights are scaled.
        between = components[:, None].astype(np.float64) - components[found]
        distances.append(np.sqrt((between**2).sum(-1)))
        indices.append(found)
    near, who = np.concatenate(distances, axis=1), np.concatenate(indices, axis=1)
    order = near.argsort(axis=1, kind="stable")
    near, who = (np.take_along_axis(array, order, axis=1) for array in (near, who))
    nothing = sp.coo_matrix((n, 1))
    graph, *_ = fuzzy_simplicial_set(
        nothing, near.shape[1], None, None, knn_indices=who, knn_dists=near.astype(np.float32)
    )
    return strongest(graph.tocsr(), KEPT * near.shape[1])


def strongest(graph: sp.csr_matrix, most: int) -> sp.csr_matrix:
    """Keep of a symmetric graph the edges that are among the `most` strongest of both their ends.

    As strong as the last of these counts too.
    """
    least = np.zeros(graph.shape[0], dtype=graph.dtype)
    for row, (start, end) in enumerate(zip(graph.indptr, graph.indptr[1:], strict=False)):
        if end - start > most:
            least[row] = np.partition(graph.data[start:end], -most)[-most]
    edges = graph.tocoo()
    kept = edges.data >= np.maximum(least[edges.row], least[edges.col])
    places = (edges.row[kept], edges.col[kept])
    return sp.csr_matrix((edges.data[kept], places), shape=graph.shape)
