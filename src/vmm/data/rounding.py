"""Corrected or estimated counts rounded to whole numbers, for who asks for it."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from vmm.data.checks import TOLERANCE, cell_totals, normalised
from vmm.errors import InputError


class Rounding:
    """Rounds a matrix block by block, of two whole numbers that are equally near to the even one.

    Negative, missing and infinite values are left to :func:`vmm.data.checks.counts`, which refuses
    them. `where` is what messages call the matrix.
    """

    def __init__(self, where: str):
        self.where = where
        self._values = self._moved = self._lost = 0
        self._before = self._after = 0.0
        self._totals: list[np.ndarray] = []

    def __call__(self, csr: sp.csr_matrix) -> sp.csr_matrix:
        """Return rows rounded; they are left alone."""
        usable = np.isfinite(csr.data) & (csr.data >= 0)
        near = np.where(usable, np.rint(csr.data), csr.data)
        moved = np.zeros(len(near), dtype=bool)
        moved[usable] = np.abs(csr.data[usable] - near[usable]) > TOLERANCE
        self._values += len(near)
        self._moved += int(moved.sum())
        self._lost += int((moved & (near == 0)).sum())
        self._before += float(csr.data[usable].sum(dtype=np.float64))
        self._after += float(near[usable].sum(dtype=np.float64))
        self._totals.append(cell_totals(csr))
        return sp.csr_matrix((near, csr.indices, csr.indptr), shape=csr.shape)

    def told(self) -> str:
        """Return how much all this changed, a sentence.

        Normalised values are refused: rounding would not make counts of them.
        """
        if not self._moved:
            return f"There was nothing to round: {self.where} has whole numbers."
        if said := normalised(np.concatenate(self._totals, axis=1)):
            raise InputError(
                f"{self.where} cannot be rounded to counts: {said}; give raw counts, of which some "
                "were corrected or estimated."
            )
        change = 100 * (self._after / self._before - 1)
        return (
            f"Counts in {self.where} were rounded to the nearest whole number: {self._moved:,} of "
            f"{self._values:,} values that are not zero changed, {self._lost:,} of them to zero, "
            f"and the sum of all by {change:+.2g} %."
        )
