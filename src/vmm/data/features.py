"""Counts of something else in the same cells: proteins (CITE-seq), peaks (multiome)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from vmm.data import checks


class RawFeatures(NamedTuple):
    """Counts (N, P) as their source gives them, names (P,), and what messages call them."""

    counts: Any
    names: Sequence[str]
    where: str


@dataclass(frozen=True, eq=False)
class Features:
    """Counts (N, P) of proteins or peaks, int32, and their names (P,) without repetition."""

    counts: sp.csr_matrix
    names: np.ndarray

    def rows(self, keep: np.ndarray) -> Features:
        """Return those of some cells."""
        return Features(self.counts[keep], self.names)

    def arrays(self, what: str) -> dict[str, np.ndarray]:
        """All content as arrays that need no pickle, by names that begin with `what` it is of."""
        parts = {part: getattr(self.counts, part) for part in ("data", "indices", "indptr")}
        return {f"{what}_{key}": value for key, value in (parts | {"names": self.names}).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], what: str) -> Features | None:
        """Build what `arrays` describes, None if there is none."""
        if f"{what}_names" not in arrays:
            return None
        names = arrays[f"{what}_names"]
        parts = tuple(arrays[f"{what}_{part}"] for part in ("data", "indices", "indptr"))
        return cls(sp.csr_matrix(parts, shape=(len(parts[2]) - 1, len(names))), names)


def read_features(
    raw: RawFeatures, cells: Sequence[str] | np.ndarray, what: str
) -> tuple[Features, list[str]]:
    """Check counts; features that no cell has are left out, and a note says so.

    `cells` are names, for messages; `what` is a value of :data:`vmm.data.source.BESIDE`.
    """
    names, notes = checks.unique_names(raw.names, what)
    counts = checks.counts(raw.counts, raw.where, cells, names, what=what)
    found = counts.getnnz(axis=0) > 0
    if not found.all():
        absent = ", ".join(names[~found][:5]) + (", …" if (~found).sum() > 5 else "")
        notes.append(f"{what.capitalize()}s without any count were left out: {absent}.")
        counts = counts[:, found]
    return Features(counts, names[found]), notes
