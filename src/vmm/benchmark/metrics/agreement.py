"""How well clusters agree with classes: one function a metric (the paper's Tables 2 and 3).

*Unmerged* scores compare the classes with the clusters. *Merged* scores and the accuracy compare
them with the classes that the clusters predict (arXiv:2402.04412, section 4.3), so that several
clusters may stand for one class without penalty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vmm.benchmark.metrics.clustering import Clusters


def nmi_batch(clusters: Clusters) -> float:
    """Return the normalised mutual information of clusters and batches."""
    return nmi(clusters.batches, clusters.assignment)


def ari_batch(clusters: Clusters) -> float:
    """Return the adjusted Rand index of clusters and batches."""
    return ari(clusters.batches, clusters.assignment)


def utilized_clusters(clusters: Clusters) -> float:
    """Return the number of distinct assignments."""
    return len(np.unique(clusters.assignment))


def accuracy(clusters: Clusters) -> float:
    """Return the share of observations whose cluster predicts their class."""
    known = clusters.labelled
    return np.mean(known.predicted == known.labels)


def nmi_merged(clusters: Clusters) -> float:
    """Return the normalised mutual information with the predicted classes."""
    known = clusters.labelled
    return nmi(known.labels, known.predicted)


def nmi_unmerged(clusters: Clusters) -> float:
    """Return the normalised mutual information with the clusters."""
    known = clusters.labelled
    return nmi(known.labels, known.assignment)


def ari_merged(clusters: Clusters) -> float:
    """Return the adjusted Rand index with the predicted classes."""
    known = clusters.labelled
    return ari(known.labels, known.predicted)


def ari_unmerged(clusters: Clusters) -> float:
    """Return the adjusted Rand index with the clusters."""
    known = clusters.labelled
    return ari(known.labels, known.assignment)


def nmi(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Return the mutual information over the arithmetic mean of the two entropies.

    Vinh, Epps and Bailey (2010), *Journal of Machine Learning Research* 11, 2837-2854.
    """
    from sklearn.metrics import normalized_mutual_info_score

    return normalized_mutual_info_score(labels, clusters, average_method="arithmetic")


def ari(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Return the Rand index, adjusted for chance.

    Hubert and Arabie (1985), *Journal of Classification* 2, 193-218.
    """
    from sklearn.metrics import adjusted_rand_score

    return adjusted_rand_score(labels, clusters)
