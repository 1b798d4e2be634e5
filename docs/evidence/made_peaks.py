"""Make counts of fragments in peaks, for what models of ATAC are compared on.

``python docs/evidence/made_peaks.py`` writes ``results/made_peaks.h5ad``: 1 000 cells of eight
types, two of each of four lineages, in two batches. A cell's counts are Poisson; most are zero.
"""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

N, PEAKS, TYPES, BATCHES = 1000, 500, 8, 2
OUT = Path("results/made_peaks.h5ad")


def made(seed: int = 0) -> anndata.AnnData:
    """Return the cells."""
    random = np.random.default_rng(seed)
    sizes = 0.75 ** np.arange(TYPES)
    types = random.choice(TYPES, N, p=sizes / sizes.sum())
    batch = random.integers(BATCHES, size=N)

    def effects(n: int, share: float, sd: float) -> np.ndarray:
        """Return effects on a share of the peaks, (n, PEAKS)."""
        touched = random.random((n, PEAKS)) < share
        return touched * random.normal(0, sd, (n, PEAKS))

    lineages, own = effects(TYPES // 2, 0.2, 0.9), effects(TYPES, 0.15, 0.8)
    log_rates = random.normal(-2.8, 0.8, PEAKS) + lineages[types % 4] + own[types]
    log_rates = log_rates + effects(BATCHES, 0.3, 0.5)[batch]
    depth = random.lognormal(0, 0.4, (N, 1))
    counts = random.poisson(depth * np.exp(log_rates))
    obs = pd.DataFrame(
        {"batch": batch.astype(str), "cell_type": [f"type {t}" for t in types]},
        index=[f"cell {i}" for i in range(N)],
    )
    peaks = pd.DataFrame(index=[f"chr1:{1000 * p}-{1000 * p + 500}" for p in range(PEAKS)])
    return anndata.AnnData(csr_matrix(counts.astype(np.float32)), obs, peaks)


if __name__ == "__main__":
    OUT.parent.mkdir(exist_ok=True)
    made().write_h5ad(OUT)
