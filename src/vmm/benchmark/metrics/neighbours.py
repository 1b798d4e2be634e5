"""Exact nearest neighbours, in the form that scib-metrics takes."""

from __future__ import annotations

from typing import Any

import numpy as np


def exact_neighbours(array: np.ndarray, n_neighbors: int, n_jobs: int = 1, **_: Any) -> Any:
    """Return the exact nearest neighbours of each row, itself among them.

    Faster than the library's approximate search up to some 1e5 cells, whose compilation alone
    costs a minute in each process, and reproducible. Can be given to
    ``Benchmarker.prepare(neighbor_computer=...)``.

    Parameters
    ----------
    array : (N, p) array
    n_neighbors : int
        There are at most N of them.
    n_jobs : int

    Returns
    -------
    scib_metrics.nearest_neighbors.NeighborsResults
    """
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(array)), n_jobs=n_jobs).fit(array)
    distances, indices = search.kneighbors(array)
    return NeighborsResults(indices=indices, distances=distances)
