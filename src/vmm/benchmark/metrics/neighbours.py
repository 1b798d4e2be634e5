"""Nearest neighbours, in the form that scib-metrics takes."""

from __future__ import annotations

from typing import Any

import numpy as np

EXACT_UP_TO = 100_000
"""Cells from which on neighbours are approximate: exact ones take time with their square."""


def nearest_neighbours(array: np.ndarray, n_neighbors: int) -> Any:
    """Return the nearest neighbours of each row (N, p), itself among them; the same at every call.

    Exact up to :data:`EXACT_UP_TO` cells. From there on as scib-metrics finds them, by descent
    along neighbours of neighbours (Dong, Moses and Li, 2011; PyNNDescent), whose compilation costs
    a minute in each process. There are at most N of them, as
    ``scib_metrics.nearest_neighbors.NeighborsResults``.
    """
    if len(array) <= EXACT_UP_TO:
        return exact_neighbours(array, n_neighbors)
    from scib_metrics.nearest_neighbors import pynndescent

    return pynndescent(array, n_neighbors, random_state=0, n_jobs=1)


def exact_neighbours(array: np.ndarray, n_neighbors: int, **_: Any) -> Any:
    """Return the exact nearest neighbours of each row, as :func:`nearest_neighbours`.

    Can be given to ``Benchmarker.prepare(neighbor_computer=...)``.
    """
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(array))).fit(array)
    distances, indices = search.kneighbors(array)
    return NeighborsResults(indices=indices, distances=distances)
