from __future__ import annotations

import numpy as np
import pytest

from vmm.data.images import subset
from vmm.data.raw import RawImages
from vmm.errors import InputError


def numbered(n: int, n_train: int | None) -> RawImages:
    x = np.arange(n, dtype=np.float32)[:, None] / n
    return RawImages(x, np.arange(n) % 4, list("abcd"), (1, 1), n_train)


def test_a_subset_keeps_the_proportion_and_grows_by_addition() -> None:
    raw = numbered(700, 600)
    small, large = subset(raw, 70), subset(raw, 350)
    assert (small.n_train, len(small.x)) == (60, 70)
    assert (large.n_train, len(large.x)) == (300, 350)
    assert set(small.x[:60, 0]) < set(large.x[:300, 0]) <= set(raw.x[:600, 0])
    assert set(small.x[60:, 0]) < set(large.x[300:, 0]) <= set(raw.x[600:, 0])
    assert np.array_equal(subset(raw, 70).x, small.x)
    assert "70 of the 700 images" in small.notes[0]
    assert subset(raw, 700) is raw and subset(raw, 9999) is raw
    free = subset(numbered(700, None), 70)
    assert free.n_train is None and len(free.x) == 70


def test_a_subset_forgets_absent_classes() -> None:
    raw = numbered(100, None)
    raw.labels = np.where(np.arange(100) < 99, 0, 3)
    assert subset(raw, 10).label_names in (["a"], ["a", "d"])
    for size in (9, 20.0, True, "20"):
        with pytest.raises(InputError, match="n_subset"):
            subset(raw, size)
