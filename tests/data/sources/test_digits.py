from __future__ import annotations

import numpy as np

from vmm.data.sources.digits import read


def test_digits_are_scikit_learns() -> None:
    raw = read({}, {})
    assert raw.x.shape == (1797, 64) and raw.x.dtype == np.float32 and raw.n_train is None
    assert raw.x.min() == -1 and raw.x.max() == 1
    np.testing.assert_allclose(raw.x[0, :8], np.array([0, 0, 5, 13, 9, 1, 0, 0]) / 8 - 1)
    assert np.bincount(raw.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
