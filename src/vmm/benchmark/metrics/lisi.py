"""Local inverse Simpson's index: how many batches, or classes, are around a cell.

Korsunsky et al. (2019), *Nature Methods* 16, 1289-1296; scaled as by Luecken et al. (2022),
*Nature Methods* 19, 41-50, with 90 nearest neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding

N_NEIGHBOURS = 90


def ilisi(embedding: Embedding, cells: Cells) -> float:
    """Return how well batches are mixed: 0 (one batch around each cell) to 1 (all alike)."""
    from scib_metrics import ilisi_knn

    return ilisi_knn(embedding.neighbours(N_NEIGHBOURS), cells.batch)


def clisi(embedding: Embedding, cells: Cells) -> float:
    """Return how well classes are kept apart: 1 where a cell has its own class around it."""
    from scib_metrics import clisi_knn

    return clisi_knn(embedding.neighbours(N_NEIGHBOURS), cells.labels)
