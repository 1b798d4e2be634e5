"""Synthetic data of the sizes of real ones: seeded, and made without a network."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import sparse

SIZES = {
    "cortex": dict(n_cells=3005, n_genes=558, n_batches=1, n_types=7, non_zero=0.18),
    "pbmc": dict(n_cells=11990, n_genes=3346, n_batches=2, n_types=9, non_zero=0.30),
}
"""Shares of non-zero counts as measured in the parts of these sets that tests have."""


@cache
def cells(
    n_cells: int, n_genes: int, n_batches: int, n_types: int, non_zero: float, seed: int = 0
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return counts (N, G) of cells of several types and batches, and the cells' batches (N,).

    Gamma-Poisson with θ = 2: log means normal over genes (sd 1.5) and over types within genes
    (sd 0.7), log library sizes normal (sd 0.4); one factor for all means gives the share of
    non-zero counts asked for.
    """
    rng = np.random.default_rng(seed)
    types = rng.integers(n_types, size=n_cells)
    log_mean = rng.normal(0, 1.5, n_genes) + rng.normal(0, 0.7, (n_types, n_genes))
    library = rng.normal(0, 0.4, n_cells)
    dispersion = 2.0
    sample = log_mean[types[:500]] + library[:500, None]
    level = _level(sample, dispersion, non_zero)
    blocks = []
    for start in range(0, n_cells, 1024):
        rows = slice(start, start + 1024)
        mean = np.exp(level + log_mean[types[rows]] + library[rows, None])
        counts = rng.poisson(mean * rng.gamma(dispersion, 1 / dispersion, mean.shape))
        blocks.append(sparse.csr_matrix(counts.astype(np.int32)))
    return sparse.vstack(blocks, format="csr"), rng.integers(n_batches, size=n_cells)


def _level(log_mean: np.ndarray, dispersion: float, non_zero: float) -> float:
    """Return by bisection what to add to log means for this expected share of non-zeros."""
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        zero = (1 + np.exp(log_mean + middle) / dispersion) ** -dispersion
        low, high = (middle, high) if 1 - zero.mean() < non_zero else (low, middle)
    return middle


def split(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return 90 % of the rows to train on and 10 % to validate on."""
    order = np.random.default_rng(seed).permutation(n)
    return order[: round(0.9 * n)], order[round(0.9 * n) :]
