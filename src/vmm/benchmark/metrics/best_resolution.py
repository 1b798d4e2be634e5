"""How well Leiden's clusters could agree with classes, at the resolution that fits these best."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding

N_NEIGHBOURS = 15
"""As in scIB."""


def leiden_nmi(embedding: Embedding, cells: Cells) -> float:
    """Return the normalised mutual information of classes and clusters."""
    return embedding.once(_at_best_resolution, cells)["nmi"]


def leiden_ari(embedding: Embedding, cells: Cells) -> float:
    """Return the adjusted Rand index of classes and clusters."""
    return embedding.once(_at_best_resolution, cells)["ari"]


def _at_best_resolution(embedding: Embedding, cells: Cells) -> dict[str, float]:
    """Return the scores at that resolution of 0.2, 0.4, …, 2 which has the best NMI.

    As scib-metrics computes it: what a user would reach who knew the classes.
    """
    from scib_metrics import nmi_ari_cluster_labels_leiden

    neighbours = embedding.neighbours(N_NEIGHBOURS)
    return nmi_ari_cluster_labels_leiden(neighbours, cells.labels, n_jobs=1)
