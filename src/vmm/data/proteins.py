"""Counts of proteins in the cells of a CITE-seq experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vmm.data import checks


class RawProteins(NamedTuple):
    """Proteins as their source gives them.

    Attributes
    ----------
    counts
        N × P matrix of any kind.
    names
        P names.
    where
        What the counts are, for messages ("obsm 'protein' of my.h5ad").
    """

    counts: Any
    names: Sequence[str]
    where: str


@dataclass(frozen=True, eq=False)
class Proteins:
    """Counts of P proteins in N cells.

    Parameters
    ----------
    counts
        N × P, non-negative whole numbers (int32).
    names
        (P,) strings, each without repetition.
    """

    counts: np.ndarray
    names: np.ndarray

    def rows(self, keep: np.ndarray) -> Proteins:
        """Return the proteins of some cells."""
        return Proteins(self.counts[keep], self.names)

    def arrays(self) -> dict[str, np.ndarray]:
        """All content as arrays that need no pickle."""
        return {"protein_counts": self.counts, "protein_names": self.names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Proteins | None:
        """Build the proteins that `arrays` describes, None if there are none."""
        if "protein_counts" not in arrays:
            return None
        return cls(arrays["protein_counts"], arrays["protein_names"])


def read_proteins(
    raw: RawProteins, cells: Sequence[str] | np.ndarray
) -> tuple[Proteins, list[str]]:
    """Check the counts of proteins; those that no cell has are left out, and a note says so.

    Parameters
    ----------
    raw
        What the source gave.
    cells
        Names of the cells, for messages.

    Raises
    ------
    InputError
        If they are no counts.
    """
    names, notes = checks.unique_names(raw.names, "protein")
    counts = checks.counts(raw.counts, raw.where, cells, names, what="protein").toarray()
    found = counts.any(0)
    if not found.all():
        absent = ", ".join(names[~found][:5]) + (", …" if (~found).sum() > 5 else "")
        notes.append(f"Proteins without any count were left out: {absent}.")
    return Proteins(counts[:, found], names[found]), notes
