"""How well clusters agree with known classes (SPEC section 5; the paper's Tables 2 and 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from vmm.errors import InputError

NO_MEMBERSHIP = "n/a: a hard assignment has no most probable member"


def clustering_scores(labels: ArrayLike, cluster_probs: ArrayLike) -> dict[str, float]:
    """Score cluster probabilities against true classes.

    *Unmerged* scores compare the classes with the assignments argmax_j q(c=j|x). *Merged* scores
    and the accuracy first let each cluster predict the true class of its most probable member over
    the data set (the first one where several share the highest probability), so that several
    clusters may stand for one class without penalty (the paper's section 4.3).

    Parameters
    ----------
    labels : (N,) array
        True classes, integers or strings.
    cluster_probs : (N, K) array
        q(c=j|x_i), rows summing to one.

    Returns
    -------
    dict
        ``Utilized clusters`` (the number of distinct assignments), ``Accuracy``, ``NMI (merged)``,
        ``NMI (unmerged)`` (arithmetic normalisation), ``ARI (merged)``, ``ARI (unmerged)``.

    Raises
    ------
    InputError
        If the shapes do not fit or a probability is not finite.
    """
    probs = np.asarray(cluster_probs)
    if probs.ndim != 2 or probs.shape[1] == 0:
        raise InputError(
            f"cluster probabilities have the shape {probs.shape} where (N, K) is expected"
        )
    classes = _codes(labels, len(probs))
    if not np.isfinite(probs).all():
        raise InputError("cluster probabilities contain NaN or infinite values")
    assignment = probs.argmax(axis=1)
    predicted = classes[probs.argmax(axis=0)][assignment]
    return {
        "Utilized clusters": float(len(np.unique(assignment))),
        "Accuracy": float(np.mean(predicted == classes)),
        "NMI (merged)": _nmi(classes, predicted),
        "NMI (unmerged)": _nmi(classes, assignment),
        "ARI (merged)": _ari(classes, predicted),
        "ARI (unmerged)": _ari(classes, assignment),
    }


def assignment_scores(
    labels: ArrayLike, assignment: ArrayLike
) -> dict[str, tuple[float | None, str]]:
    """Score a hard assignment, for example Leiden's, against true classes.

    Parameters
    ----------
    labels : (N,) array
        True classes.
    assignment : (N,) array
        Cluster of each observation, integers or strings.

    Returns
    -------
    dict
        For each metric of :func:`clustering_scores` its value and status. Accuracy and the merged
        scores need a most probable member of each cluster, which a hard assignment does not have:
        their value is None and their status ``n/a`` with this reason.

    Raises
    ------
    InputError
        If the lengths differ.
    """
    clusters = _codes(assignment, np.asarray(assignment).size)
    classes = _codes(labels, len(clusters))
    none = (None, NO_MEMBERSHIP)
    return {
        "Utilized clusters": (float(len(np.unique(clusters))), "ok"),
        "Accuracy": none,
        "NMI (merged)": none,
        "NMI (unmerged)": (_nmi(classes, clusters), "ok"),
        "ARI (merged)": none,
        "ARI (unmerged)": (_ari(classes, clusters), "ok"),
    }


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
    options = {"flavor": "igraph", "n_iterations": 2, "directed": False}
    sc.tl.leiden(cells, resolution, random_state=0, **options)
    codes = cells.obs["leiden"].cat.codes.to_numpy()
    by_size = np.argsort(-np.bincount(codes), kind="stable")
    return np.argsort(by_size)[codes]


def _codes(values: ArrayLike, n: int) -> np.ndarray:
    """Return integer codes (N,) of `values`, which must be as many as `n`."""
    array = np.asarray(values)
    if array.shape != (n,) or n == 0:
        raise InputError(
            f"labels have the shape {array.shape} where ({n},) with at least one is expected"
        )
    return np.unique(array, return_inverse=True)[1]


def _nmi(classes: np.ndarray, clusters: np.ndarray) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(classes, clusters, average_method="arithmetic"))


def _ari(classes: np.ndarray, clusters: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(classes, clusters))
