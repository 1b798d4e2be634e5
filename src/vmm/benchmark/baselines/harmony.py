"""Harmony: principal components moved until clusters of cells mix the batches."""

from __future__ import annotations

import numpy as np

from vmm.data.containers import CellData


def harmony(components: np.ndarray, data: CellData, seed: int = 0) -> np.ndarray:
    """Return the components corrected by Harmony (Korsunsky et al. 2019), (N, n) float32."""
    import harmonypy
    import pandas as pd

    batches = pd.DataFrame({"batch": pd.Categorical.from_codes(data.batch, data.batch_names)})
    result = harmonypy.run_harmony(
        components.astype(np.float64),
        batches,
        "batch",
        random_state=seed % 2**31,  # it takes no greater one
        verbose=False,
    )
    corrected = np.asarray(result.Z_corr)
    # harmonypy 2 gives cells × components, older releases the transpose.
    corrected = corrected if corrected.shape == components.shape else corrected.T
    return np.ascontiguousarray(corrected, dtype=np.float32)
