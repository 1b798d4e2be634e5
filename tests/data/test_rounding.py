"""Corrected counts rounded, at once or in blocks; what is normalised is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from vmm.data import checks
from vmm.data.rounding import Rounding
from vmm.errors import InputError


def rounded(matrix, rows: int = 1) -> tuple[np.ndarray, str]:
    """Round so many rows at once; return all, and what is told."""
    change, matrix = Rounding("X of my.h5ad"), sp.csr_matrix(matrix)
    starts = range(0, matrix.shape[0], rows)
    parts = [change(matrix[start : start + rows]).toarray() for start in starts]
    return np.concatenate(parts), change.told()


@pytest.mark.parametrize("rows", [1, 2])
def test_the_nearest_whole_number_is_taken_and_told_what_that_changed(rows):
    matrix = sp.csr_matrix(np.array([[0.4, 1.5, 0.0], [2.5, 3.0, 8.6]]))
    found, told = rounded(matrix, rows)
    np.testing.assert_array_equal(found, [[0, 2, 0], [2, 3, 9]])
    assert told == (
        "Counts in X of my.h5ad were rounded to the nearest whole number: 4 of 5 values that are "
        "not zero changed, 1 of them to zero, and the sum of all by +0 %."
    )
    assert matrix[0, 0] == 0.4
    whole, told = rounded(np.eye(3), rows)
    np.testing.assert_array_equal(whole, np.eye(3))
    assert told.startswith("There was nothing to round")


@pytest.mark.parametrize("rows", [1, 7, 20])
def test_it_makes_no_counts_of_normalised_values(rows):
    """Known by all cells together, of however many at once."""
    counts = np.random.default_rng(0).poisson(3, (20, 30)) + 1.0
    normalised = 1e4 * counts / counts.sum(1, keepdims=True)
    for values in (normalised, np.log1p(normalised)):
        with pytest.raises(InputError, match=r"cannot be rounded to counts: they are normalised"):
            rounded(values.astype(np.float32), rows)
    rounded(0.93 * counts, rows)


@pytest.mark.parametrize("value", [-0.3, np.nan, np.inf])
def test_it_hides_nothing_that_is_refused(value):
    found, _ = rounded(np.array([[0.4, 1.5], [value, 3.0]]))
    with pytest.raises(InputError, match=r"negative|missing or infinite"):
        checks.counts(found, "X", ["a", "b"], ["A", "B"])
