"""How well k-means finds the classes in an embedding, told how many there are.

Luecken et al. (2022), *Nature Methods* 19, 41-50.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding


def kmeans_ari(embedding: Embedding, cells: Cells) -> float:
    """Return the adjusted Rand index of classes and clusters."""
    return embedding.once(_agreement, cells)["ari"]


def kmeans_nmi(embedding: Embedding, cells: Cells) -> float:
    """Return the normalised mutual information of classes and clusters."""
    return embedding.once(_agreement, cells)["nmi"]


def _agreement(embedding: Embedding, cells: Cells) -> dict[str, float]:
    from scib_metrics import nmi_ari_cluster_labels_kmeans

    # a copy, because the library centres and uncentres its argument in place
    return nmi_ari_cluster_labels_kmeans(embedding.array.copy(), cells.labels)
