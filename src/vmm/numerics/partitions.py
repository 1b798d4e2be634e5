"""Partitions of the same cells compared: what comes back in another training, and what they share.

A partition is the cluster of each of N cells, as codes; it is no matter which codes. Memory goes
with the number of cells and with that of clusters, never with the number of pairs of cells.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.sparse import csr_matrix

STABLE, DOUBTFUL = 0.75, 0.6
"""Mean Jaccard similarities: from the first on a cluster is stable, below the second it is not to
be trusted (Hennig 2007, and his R package fpc)."""
SURE = 0.5
"""A cell is unsure that is in fewer trainings than this part together with its cluster's others."""


def jaccard(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Jaccard similarity of each cluster of one partition with each of another.

    J(A, B) = |A ∩ B| / |A ∪ B|.

    Parameters
    ----------
    one, other : array of int, shape (N,)
        Codes 0…K−1 and 0…L−1.

    Returns
    -------
    array of float, shape (K, L)
        0 for clusters without cells.
    """
    common = contingency(one, other)
    union = common.sum(1, keepdims=True) + common.sum(0) - common
    return common / np.maximum(union, 1)


def contingency(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the cells that each cluster of one partition has in common with each of another."""
    table = np.zeros((one.max() + 1, other.max() + 1), dtype=np.int64)
    np.add.at(table, (one, other), 1)
    return table


def comes_back(one: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Look for the clusters of a partition in others.

    Parameters
    ----------
    one : array of int, shape (N,)
        Codes 0…K−1.
    others : array of int, shape (N, R)

    Returns
    -------
    best : array of float, shape (K, R)
        Jaccard similarity of each cluster with the one most like it in each other partition;
        clusterwise stability is its mean over partitions (Hennig, "Cluster-wise assessment of
        cluster stability", Computational Statistics & Data Analysis 52, 2007).
    stays : array of float, shape (N,)
        In which part of the others each cell is in the cluster that is most like its own.
    """
    best, stays = [], np.zeros(len(one))
    for other in others.T:
        similarity = jaccard(one, other)
        best.append(similarity.max(1))
        stays += similarity.argmax(1)[one] == other
    return np.stack(best, axis=1), stays / others.shape[1]


def agreement(partitions: np.ndarray) -> np.ndarray:
    """Return the adjusted Rand index of each pair of R partitions (N, R), shape (R, R)."""
    from sklearn.metrics import adjusted_rand_score

    n = partitions.shape[1]
    result = np.eye(n)
    for i, j in combinations(range(n), 2):
        score = adjusted_rand_score(partitions[:, i], partitions[:, j])
        result[i, j] = result[j, i] = score
    return result


def consensus(partitions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the partition that others share, and how sure it is of each cell.

    Two cells' co-assignment is the part of the R partitions that have them in one cluster: the
    inner product of their rows in the stacked indicators of all partitions' clusters, over R. From
    the partition that agrees best with the others (mean adjusted Rand index), each cell goes to the
    cluster whose mean row is nearest to its own, until none moves: k-means of the rows, which lets
    each cell be with those that it is assigned with most often (Wu et al., "K-means-based
    consensus clustering", IEEE Transactions on Knowledge and Data Engineering 27, 2015). Cells
    that have the same clusters throughout are one row, so that it takes little of either time or
    memory. There is no chance in it.

    Parameters
    ----------
    partitions : array of int, shape (N, R)

    Returns
    -------
    codes : array of int, shape (N,)
        Clusters of the consensus, 0…K−1.
    together : array of float, shape (N,)
        Mean co-assignment of each cell with the others of its cluster; 0 if there are none.
    """
    rows, row_of, weight = np.unique(partitions, axis=0, return_inverse=True, return_counts=True)
    n_rows, n = rows.shape
    offsets = np.concatenate([[0], np.cumsum(rows.max(0)[:-1] + 1)])
    columns = rows + offsets
    n_columns = int(columns[:, -1].max()) + 1
    shape, begins = (n_rows, n_columns), np.arange(n_rows + 1) * n
    indicators = csr_matrix((np.ones(columns.size), columns.ravel(), begins), shape=shape)
    codes = rows[:, agreement(partitions).mean(0).argmax()]
    while True:
        codes = np.unique(codes, return_inverse=True)[1].ravel()
        counts, sizes = _members(codes, weight, indicators)
        centres = counts / sizes[:, None]
        distance = (centres**2).sum(1) - 2 * (indicators @ centres.T)
        stay = np.take_along_axis(distance, codes[:, None], axis=1)[:, 0]
        moves = distance.min(1) < stay - 1e-9
        if not moves.any():
            break
        codes = np.where(moves, distance.argmin(1), codes)
    with_others = np.asarray(counts[codes[:, None], columns].sum(1)) / n - 1
    together = with_others / np.maximum(sizes[codes] - 1, 1)
    return codes[row_of.ravel()], together[row_of.ravel()]


def _members(
    codes: np.ndarray, weight: np.ndarray, indicators: csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many cells of each cluster are in each of the stacked ones, and their number."""
    places = (codes, np.arange(len(codes)))
    cells = csr_matrix((weight.astype(float), places), shape=(codes.max() + 1, len(codes)))
    return (cells @ indicators).toarray(), np.bincount(codes, weights=weight)
