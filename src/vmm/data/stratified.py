"""Samples of cells in which every batch and cell type keeps its share."""

from __future__ import annotations

import numpy as np


def stratified_sample(n: int | None, *codes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Choose `n` of N cells, of every combination of codes its share.

    Shares are rounded by largest remainders; a combination that would get none gets one cell where
    there is room, at the expense of the largest. Which cells follows from `seed`, `n` and the codes
    alone, so that all embeddings of a data set are compared on the same ones.

    Parameters
    ----------
    n : int or None
        How many cells; None, or no fewer than N: all of them.
    *codes : (N,) int arrays
        For example batches and cell types, -1 a value like any other.
    seed : int

    Returns
    -------
    (min(n, N),) int array
        Their rows, ascending.
    """
    total = len(codes[0])
    if n is None or n >= total:
        return np.arange(total)
    strata = np.unique(np.stack(codes), axis=1, return_inverse=True)[1].ravel()
    sizes = np.bincount(strata)
    taken = _shares(sizes, n)
    shuffled = np.random.default_rng(seed).permutation(total)
    grouped = shuffled[np.argsort(strata[shuffled], kind="stable")]
    within = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(grouped[within < np.repeat(taken, sizes)])


def _shares(sizes: np.ndarray, n: int) -> np.ndarray:
    """Divide `n` in proportion to sizes: whole numbers, at least 1 each if there is room."""
    exact = sizes * (n / sizes.sum())
    shares = np.floor(exact).astype(np.int64)
    first = np.argsort(shares - exact, kind="stable")[: n - shares.sum()]
    shares[first] += 1
    empty = np.flatnonzero(shares == 0)
    if len(empty) and n >= len(sizes):
        shares[empty] = 1
        for _ in empty:
            shares[np.argmax(shares)] -= 1
    return shares
