"""Scanorama: batches stitched together at mutual nearest neighbours."""

from __future__ import annotations

import numpy as np

from vmm.data.containers import CellData


def scanorama(components: np.ndarray, data: CellData, seed: int = 0) -> np.ndarray:
    """Return the components corrected by Scanorama (Hie et al. 2019), (N, n) float32."""
    import random

    import scanorama as library

    random.seed(seed)
    np.random.seed(seed)  # the library draws from global state
    rows = [np.flatnonzero(data.batch == batch) for batch in range(data.n_batches)]
    parts = library.assemble(
        [components[index].astype(np.float64) for index in rows], verbose=False
    )
    corrected = np.empty(components.shape, dtype=np.float32)
    corrected[np.concatenate(rows)] = np.concatenate(parts)
    return corrected
