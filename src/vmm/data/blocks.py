"""Matrices of counts a block of rows at a time: such as stay in their files, being large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any

import numpy as np
import scipy.sparse as sp

from vmm import memory
from vmm.data import checks
from vmm.data.raw import RawCells
from vmm.data.rounding import Rounding
from vmm.data.select import highly_variable
from vmm.data.supplied import reading
from vmm.errors import InputError
from vmm.progress import counted

VALUES = 1 << 22
"""Stored values of a block; several arrays of so many are needed beside the result."""


@dataclass
class Stored:
    """A matrix (N, G) in a file, sparse by rows or dense.

    Blocks of rows begin and end at `bounds`, from 0 to N. `opened` opens the matrix, which gives
    rows by ``matrix[start:stop]``.
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

    `ends` (N + 1,) are the stored values before each row, and in all.
    """
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], VALUES), side="left")
    return np.unique([0, *cuts.tolist(), len(ends) - 1])


@dataclass
class Whole:
    """A matrix in one piece, in memory or mapped, that is gone through in blocks of rows."""

    matrix: sp.csr_matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.matrix.shape

    def __iter__(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        for start, stop in pairwise(bounds_of(self.matrix.indptr).tolist()):
            yield start, self.matrix[start:stop]

    def part(self, rows: np.ndarray, columns: np.ndarray) -> sp.csr_matrix:
        """Return some rows and columns, given as truth values; all of them are no copy."""
        if rows.all() and columns.all():
            return self.matrix
        kept = Rows(int(columns.sum()))
        for start, block in self:
            kept.add(block[rows[start : start + block.shape[0]]][:, columns])
        return kept.joined()


class Counts:
    """Counts that were checked, in blocks: (N, G) int32 without stored zeros.

    Iterated over, it gives the first row of each block and the block, as often as one likes; what
    is no count is refused at once or, where the matrix stays in its file, when its block is read.
    `told` is what rounding changed, once all rows were gone through; `rounding` tells users how to
    round, and `copy` whether somebody else has the matrix too.
    """

    def __init__(
        self,
        raw: RawCells,
        cells: checks.Names,
        genes: checks.Names,
        rounding: str = "(numpy.rint)",
        rounded: bool = False,
        copy: bool = True,
    ):
        matrix, hint = raw.counts, raw.hint
        self.raw, self.said = raw, (raw.where, cells, genes, hint, rounding)
        self.rounded, self.told = rounded, ""
        self.stored = matrix if isinstance(matrix, Stored) else None
        self.whole: sp.csr_matrix | None = None
        if self.stored is None:
            if rounded:
                change = Rounding(raw.where)
                matrix, copy = change(checks.as_csr(matrix, raw.where, copy)), False
                self.told = change.told()
            self.whole = checks.counts(matrix, *self.said, copy)
        else:
            checks.refuse_shape(self.stored.shape, raw.where, cells, genes)
        self.shape = (len(cells), len(genes))

    def __iter__(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        if self.whole is not None:
            yield from Whole(self.whole)
            return
        assert self.stored is not None
        change = Rounding(self.raw.where) if self.rounded else None
        with (
            reading(self.raw.file, "cannot be read, it is truncated or damaged"),
            counted(f"Reading {self.raw.where}", self.shape[0], "cells") as advance,
        ):
            for start, matrix in self.stored.blocks():
                csr = checks.as_csr(matrix, self.raw.where, copy=False)
                csr = csr if change is None else change(csr)
                yield start, checks.whole_numbers(csr, *self.said, first=start)
                advance(csr.shape[0])
        self.told = "" if change is None else change.told()

    def of(self, genes: np.ndarray) -> sp.csr_matrix:
        """Return the counts of some genes, given as truth values (G,).

        What is read from a file is held one and a half times, and no gene that is not wanted; what
        does not fit into memory stays in a file (:class:`Rows`).
        """
        if self.whole is not None:
            return self.whole if genes.all() else self.whole[:, genes]
        rows = Rows(int(genes.sum()))
        for _, block in self:
            rows.add(block if genes.all() else block[:, genes])
        return rows.joined()


class Rows:
    """Counts of `n_genes` that grow by blocks of rows: in memory, or in files if that is short."""

    def __init__(self, n_genes: int):
        self._n_genes, self._sizes = n_genes, [np.zeros(0, np.int64)]
        self._parts: tuple[list[np.ndarray], ...] = ([], [])  # values, columns
        self._files: tuple[IO[bytes], ...] = ()

    def add(self, block: sp.csr_matrix) -> None:
        """Add the rows that come next, int32."""
        self._sizes.append(np.diff(block.indptr).astype(np.int64))
        new = block.data, block.indices.astype(np.int32, copy=False)
        for part, own in zip(self._parts, new, strict=True):
            part.append(own)
        held = 2 * sum(part.nbytes for part in self._parts[0])
        if not self._files and not memory.fits(held):
            self._files = memory.scratch(), memory.scratch()
        if self._files:
            for part, file in zip(self._parts, self._files, strict=True):
                for own in part:
                    memory.write(file, np.ascontiguousarray(own))
                part.clear()

    def joined(self) -> sp.csr_matrix:
        """Return all rows, and let go of them."""
        ends = np.concatenate([[0], np.cumsum(np.concatenate(self._sizes), dtype=np.int64)])
        kind = np.int32 if ends[-1] <= np.iinfo(np.int32).max else np.int64
        if self._files and ends[-1]:
            values, columns = (_mapped(file, np.int32, int(ends[-1])) for file in self._files)
            if kind is np.int64:
                narrow, columns = columns, _mapped(memory.scratch(), kind, int(ends[-1]), new=True)
                for start in range(0, len(narrow), VALUES):
                    columns[start : start + VALUES] = narrow[start : start + VALUES]
        else:
            values = np.concatenate([np.zeros(0, np.int32), *self._parts[0]])
            self._parts[0].clear()
            columns = np.concatenate([np.zeros(0, np.int32), *self._parts[1]])
            self._parts[1].clear()
            columns = columns.astype(kind, copy=False)
        shape = (len(ends) - 1, self._n_genes)
        return sp.csr_matrix((values, columns, ends.astype(kind)), shape=shape)


def _mapped(file: IO[bytes], dtype: type, size: int, new: bool = False) -> np.ndarray:
    return np.memmap(file, dtype, "w+" if new else "r+", shape=(size,))


def as_floats(counts: sp.csr_matrix) -> None:
    """Make float32 of int32 in the same place, in memory or in a file."""
    floats = counts.data.view(np.float32)
    for start in range(0, len(floats), VALUES):
        floats[start : start + VALUES] = counts.data[start : start + VALUES]
    counts.data = floats


def chosen_counts(
    counts: Counts, batch: np.ndarray, n_top_genes: int | None
) -> tuple[sp.csr_matrix, np.ndarray, list[str]]:
    """Return the counts of the most variable genes, which genes these are, and notes.

    `batch` (N,) are codes; all else as for :func:`vmm.data.select.highly_variable`, None: all
    genes.
    """
    chosen = np.ones(counts.shape[1], dtype=bool)
    notes: list[str] = []
    if n_top_genes is not None:
        chosen, notes = highly_variable(counts, batch, n_top_genes, counts.raw.file)
    found = counts.of(chosen)
    if found.nnz == 0:
        raise InputError(f"all counts in {counts.raw.where} are zero.")
    return found, chosen, [counts.told, *notes] if counts.told else notes
