"""Matrices of counts a block of rows at a time: such as stay in their files, being large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from vmm.data import checks
from vmm.data.raw import RawCells
from vmm.data.select import highly_variable
from vmm.data.supplied import reading
from vmm.errors import InputError
from vmm.progress import counted

VALUES = 1 << 22
"""Stored values of a block; several arrays of so many are needed beside the result."""


@dataclass
class Stored:
    """A matrix in a file, sparse by rows or dense.

    Parameters
    ----------
    shape
        N, G.
    bounds
        Rows at which blocks begin and end, from 0 to N.
    opened
        Opens the matrix, which gives rows by ``matrix[start:stop]``.
    """

    shape: tuple[int, int]
    bounds: np.ndarray
    opened: Callable[[], AbstractContextManager[Any]]

    def blocks(self) -> Iterator[tuple[int, Any]]:
        """Go through the rows: the first of each block, and the block."""
        with self.opened() as matrix:
            for start, stop in pairwise(self.bounds.tolist()):
                yield start, matrix[start:stop]

    def to_memory(self) -> Any:
        """Read all of it."""
        with self.opened() as matrix:
            return matrix.to_memory() if hasattr(matrix, "to_memory") else matrix[:]


def in_memory(matrix: Any) -> Any:
    """Return a matrix, read if it is still in its file."""
    return matrix.to_memory() if isinstance(matrix, Stored) else matrix


def bounds_of(ends: np.ndarray) -> np.ndarray:
    """Return where to cut rows into blocks of some :data:`VALUES`, a row at least.

    Parameters
    ----------
    ends
        (N + 1,) stored values before each row, and in all.
    """
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], VALUES), side="left")
    return np.unique([0, *cuts.tolist(), len(ends) - 1])


class Counts:
    """Counts that were checked, in blocks: (N, G) int32 without stored zeros.

    Iterated over, it gives the first row of each block and the block, as often as one likes.

    Parameters
    ----------
    raw
        What they are of.
    cells, genes
        Names, for messages.
    rounding
        How to round, as for :func:`vmm.data.checks.counts`.
    copy
        Whether somebody else has the matrix too.

    Raises
    ------
    InputError
        If they are no counts; of what stays in its file, when the block is read.
    """

    def __init__(
        self,
        raw: RawCells,
        cells: checks.Names,
        genes: checks.Names,
        rounding: str = "(numpy.rint)",
        copy: bool = True,
    ):
        matrix, hint = raw.counts, raw.hint
        self.raw, self.said = raw, (raw.where, cells, genes, hint, rounding)
        self.stored = matrix if isinstance(matrix, Stored) else None
        self.whole: sp.csr_matrix | None = None
        if self.stored is None:
            self.whole = checks.counts(matrix, *self.said, copy)
        else:
            checks.refuse_shape(self.stored.shape, raw.where, cells, genes)
        self.shape = (len(cells), len(genes))

    def __iter__(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        if self.whole is not None:
            for start, stop in pairwise(bounds_of(self.whole.indptr).tolist()):
                yield start, self.whole[start:stop]
            return
        assert self.stored is not None
        with (
            reading(self.raw.file, "cannot be read, it is truncated or damaged"),
            counted(f"Reading {self.raw.where}", self.shape[0], "cells") as advance,
        ):
            for start, matrix in self.stored.blocks():
                csr = checks.as_csr(matrix, self.raw.where, copy=False)
                yield start, checks.whole_numbers(csr, *self.said, first=start)
                advance(csr.shape[0])

    def of(self, genes: np.ndarray) -> sp.csr_matrix:
        """Return the counts of some genes, given as truth values (G,), in memory.

        What is read from a file is held one and a half times, and no gene that is not wanted.
        """
        if self.whole is not None:
            return self.whole if genes.all() else self.whole[:, genes]
        data, indices, sizes = [], [], []
        for _, block in self:
            part = block if genes.all() else block[:, genes]
            data.append(part.data)
            indices.append(part.indices.astype(np.int32, copy=False))
            sizes.append(np.diff(part.indptr))
        ends = np.concatenate([[0], np.cumsum(np.concatenate(sizes), dtype=np.int64)])
        kind = np.int32 if ends[-1] <= np.iinfo(np.int32).max else np.int64
        values = np.concatenate(data)
        data.clear()
        columns = np.concatenate(indices).astype(kind, copy=False)
        shape = (self.shape[0], int(genes.sum()))
        return sp.csr_matrix((values, columns, ends.astype(kind)), shape=shape)


def chosen_counts(
    counts: Counts, batch: np.ndarray, n_top_genes: int | None
) -> tuple[sp.csr_matrix, np.ndarray, list[str]]:
    """Return the counts of the most variable genes, which genes these are, and notes.

    Parameters
    ----------
    counts
        N × G.
    batch
        (N,) codes.
    n_top_genes
        How many, as for :func:`vmm.data.select.highly_variable`; None: all.
    """
    chosen = np.ones(counts.shape[1], dtype=bool)
    notes: list[str] = []
    if n_top_genes is not None:
        chosen, notes = highly_variable(counts, batch, n_top_genes, counts.raw.file)
    found = counts.of(chosen)
    if found.nnz == 0:
        raise InputError(f"all counts in {counts.raw.where} are zero.")
    return found, chosen, notes
