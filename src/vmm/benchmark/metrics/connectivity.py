"""Whether the cells of a class hang together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding


def graph_connectivity(embedding: Embedding, cells: Cells) -> float:
    """Return the largest connected share of each class' neighbour graph, mean over classes.

    Luecken et al. (2022), *Nature Methods* 19, 41-50, with 15 nearest neighbours, or with the graph
    of a method that embeds nothing.
    """
    from scib_metrics import graph_connectivity

    if embedding.graph is not None:
        near = SimpleNamespace(knn_graph_distances=embedding.graph)  # what of it is looked at
        return graph_connectivity(near, cells.labels)
    return graph_connectivity(embedding.neighbours(15), cells.labels)
