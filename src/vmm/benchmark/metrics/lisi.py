"""Local inverse Simpson's index: how many batches, or classes, are around a cell.

Korsunsky et al. (2019), *Nature Methods* 16, 1289-1296; scaled as by Luecken et al. (2022),
*Nature Methods* 19, 41-50, with 90 nearest neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vmm.benchmark.metrics.neighbours import exact_neighbours
from vmm.benchmark.metrics.scoring import Undefined

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding

N_NEIGHBOURS = 90
LEAST_CELLS = 10
"""Cells of a class with fewer of which it does not count."""


def ilisi(embedding: Embedding, cells: Cells) -> float:
    """Return how well batches are mixed: 0 (one batch around each cell) to 1 (all alike)."""
    from scib_metrics import ilisi_knn

    return ilisi_knn(embedding.neighbours(N_NEIGHBOURS), cells.batch)


def clisi(embedding: Embedding, cells: Cells) -> float:
    """Return how well classes are kept apart: 1 where a cell has its own class around it."""
    from scib_metrics import clisi_knn

    return clisi_knn(embedding.neighbours(N_NEIGHBOURS), cells.labels)


def cilisi(embedding: Embedding, cells: Cells) -> float:
    """Return how well batches are mixed within classes, 0 to 1, mean over cells.

    Andreatta et al. (2024), *Nature Communications* 15, 872, as their package scIntegrationMetrics:
    (LISI - 1) / (B - 1) of each cell among those of its class, which is in B batches. Without
    classes of one batch or of fewer than 10 cells; of a class of fewer than 90, all cells are
    neighbours, and the perplexity is a third of that.
    """
    from scib_metrics import lisi_knn

    found = []
    for label in np.flatnonzero(cells.batches_of_classes > 1):
        members = cells.labels == label
        if (n := int(members.sum())) < LEAST_CELLS:
            continue
        neighbours = exact_neighbours(embedding.array[members], min(N_NEIGHBOURS, n))
        n_batches = cells.batches_of_classes[label]
        lisi = lisi_knn(neighbours, cells.batch[members])
        found.append((np.asarray(lisi) - 1) / (n_batches - 1))
    if not found:
        raise Undefined(f"no class of {LEAST_CELLS} cells in two batches")
    return np.concatenate(found).mean()
