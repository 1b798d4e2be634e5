"""Names and colours of clusters, taken from the cell types that they hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np

from vmm.plots.colours import UNLABELLED, category_colours, tint

UNKNOWN = "?"
"""Stands for the cell type of a cluster without labelled cells."""


class Cluster(NamedTuple):
    """A cluster as it is drawn."""

    code: int
    """Its value in the assignment."""
    size: int
    """Number of its cells."""
    label: int
    """Code of its most frequent cell type (the lower one of a tie); -1 if none has a label."""
    rank: int
    """Its place, by size, among the clusters of that cell type; from 0."""
    name: str
    """Mark of the cell type and a letter for the rank, such as ``3a``."""
    colour: str


def describe_clusters(
    assignment: np.ndarray,
    labels: np.ndarray,
    label_colours: Sequence[str],
    marks: Sequence[str] | None = None,
) -> list[Cluster]:
    """Name and colour the clusters after their most frequent cell types; the largest first.

    The largest cluster of a cell type has exactly the type's colour, the next ones tints of it. Of
    equal size, the one with the lower code comes first. Cells without a label have no say; a
    cluster of such cells alone is grey, and called ``?a``. Where no cell has one, all clusters have
    colours of their own.

    `assignment` and `labels` are of each cell (N,): clusters, integers without order or gaps of
    meaning, and codes into `label_colours`, -1 of no label. `marks` stand for the cell types, by
    default numbers from 1.
    """
    marks = [str(i + 1) for i in range(len(label_colours))] if marks is None else marks
    codes, index = np.unique(assignment, return_inverse=True)
    table = np.zeros((len(codes), len(label_colours) + 1), dtype=int)
    np.add.at(table, (index, labels), 1)  # those without a label in the last column
    sizes, known = table.sum(axis=1), table[:, :-1]
    majority = [int(row.argmax()) if row.any() else -1 for row in known]
    taken = [0] * (len(label_colours) + 1)
    nothing_known = not known.any()
    alone = [*category_colours([str(code) for code in codes]).values()] if nothing_known else []
    clusters = []
    for i in np.lexsort((codes, -sizes)):
        label = majority[i]
        rank, taken[label] = taken[label], taken[label] + 1
        name = f"{[*marks, UNKNOWN][label]}{letters(rank)}"
        colour = alone[rank] if alone else tint([*label_colours, UNLABELLED][label], rank)
        clusters.append(Cluster(int(codes[i]), int(sizes[i]), label, rank, name, colour))
    return clusters


def type_marks(names: Sequence[str]) -> list[str]:
    """Return what stands for each cell type in panels: a number, its own where it is called by one.

    The others get the numbers from 1 that no type is called by: "3" is never another type's.
    """
    called = {name: _number(name) for name in names}
    taken = set(called.values()) - {None}
    free = (number for number in count(1) if number not in taken)
    return [str(next(free)) if called[name] is None else name for name in names]


def _number(name: str) -> float | None:
    """Return what number a name reads as, None for other names."""
    try:
        number = float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def letters(rank: int) -> str:
    """Count in letters: a to z, then aa, ab and so on."""
    before, last = divmod(rank, 26)
    return (letters(before - 1) if before else "") + ascii_lowercase[last]
