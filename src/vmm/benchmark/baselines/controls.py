"""Controls: embeddings whose quality is known, between which the scores of real ones should lie.

As in the open benchmarks of the field (Luecken et al., "Defining and benchmarking open problems in
single-cell analysis", Nature Biotechnology 43, 2025). Arguments are those of
:func:`vmm.benchmark.baselines.pca.pca`.
"""

from __future__ import annotations

import numpy as np

from vmm.data.containers import CellData

JITTER = 0.01
"""Standard deviation within a type: of cells in one place no nearest neighbours are defined."""


def perfect(components: np.ndarray, data: CellData, seed: int = 0) -> np.ndarray:
    """Return the cell types as an embedding: one dimension each, 1 for its own type.

    Cells without a label are at 0. Within a type chance alone decides who is next to whom.
    """
    labels = np.asarray(data.labels)
    types = np.zeros((len(labels), max(1, int(labels.max()) + 1)), dtype=np.float32)
    known = np.flatnonzero(labels >= 0)
    types[known, labels[known]] = 1
    noise = np.random.default_rng(seed).standard_normal(types.shape, dtype=np.float32)
    return types + JITTER * noise


def shuffled(components: np.ndarray, data: CellData, seed: int = 0) -> np.ndarray:
    """Return the components with the cells in random order: they have nothing to do with theirs."""
    return np.random.default_rng(seed).permutation(components)


def random(components: np.ndarray, data: CellData, seed: int = 0) -> np.ndarray:
    """Return samples of N(0, I), of the shape of the components."""
    return np.random.default_rng(seed).standard_normal(components.shape, dtype=np.float32)
