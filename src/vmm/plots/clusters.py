"""Names and colours of clusters, taken from the cell types that they hold."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np

from vmm.plots.colours import tint


class Cluster(NamedTuple):
    """A cluster as it is drawn."""

    code: int
    """Its value in the assignment."""
    size: int
    """Number of its cells."""
    label: int
    """Code of its most frequent cell type (the lower one of a tie)."""
    rank: int
    """Its place, by size, among the clusters of that cell type; from 0."""
    name: str
    """Number of the cell type (from 1) and a letter for the rank, such as ``3a``."""
    colour: str


def describe_clusters(
    assignment: np.ndarray, labels: np.ndarray, label_colours: Sequence[str]
) -> list[Cluster]:
    """Name and colour the clusters after their most frequent cell types.

    The largest cluster of a cell type has exactly the type's colour, the next ones tints of it.

    Parameters
    ----------
    assignment
        Cluster of each cell, integers without order or gaps of meaning, (N,).
    labels
        Cell type of each cell, (N,), codes into `label_colours`.
    label_colours
        Colour of each cell type.

    Returns
    -------
    list of Cluster
        Largest first; of equal size, the lower code first.
    """
    codes, index = np.unique(assignment, return_inverse=True)
    table = np.zeros((len(codes), len(label_colours)), dtype=int)
    np.add.at(table, (index, labels), 1)
    sizes, majority = table.sum(axis=1), table.argmax(axis=1)
    taken = [0] * len(label_colours)
    clusters = []
    for i in np.lexsort((codes, -sizes)):
        label = int(majority[i])
        rank, taken[label] = taken[label], taken[label] + 1
        clusters.append(
            Cluster(
                int(codes[i]),
                int(sizes[i]),
                label,
                rank,
                f"{label + 1}{letters(rank)}",
                tint(label_colours[label], rank),
            )
        )
    return clusters


def letters(rank: int) -> str:
    """Count in letters: a to z, then aa, ab and so on."""
    before, last = divmod(rank, 26)
    return (letters(before - 1) if before else "") + ascii_lowercase[last]
