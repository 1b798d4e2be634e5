"""Matrices that are sparse by columns, in blocks of rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import IO

import numpy as np
import scipy.sparse as sp

from vmm import memory
from vmm.data import blocks, checks

MOST = 16
"""Bytes of an entry with its row and column, at most."""


@dataclass
class ByColumns(blocks.Stored):
    """A matrix in a file, sparse by columns.

    Rows are had by sorting: first some columns after another are read, and their entries written to
    a file without a name, sorted by the block of rows that they belong to; then a block of rows
    takes its part of each of these runs. So never more is in memory than of one block.

    `where` is what messages call it; `ends` (G + 1,) are the stored values before each column, and
    in all.
    """

    where: str
    ends: np.ndarray

    def blocks(self) -> Iterator[tuple[int, sp.csr_matrix]]:
        """Go through the rows: the first of each block, and the block."""
        file, kind, runs = self._sorted
        for place, (start, stop) in enumerate(pairwise(self.bounds.tolist())):
            parts = [_read(file, kind, *run[place : place + 2].tolist()) for run in runs]
            own = np.concatenate(parts)
            entries = own["value"], (own["row"] - start, own["column"])
            yield start, sp.csr_matrix(entries, shape=(stop - start, self.shape[1]))

    @cached_property
    def _sorted(self) -> tuple[IO[bytes], np.dtype, list[np.ndarray]]:
        """Sort all entries; return their file, their type, and where in each run blocks begin."""
        file, runs, done = memory.scratch(MOST * int(self.ends[-1])), [], 0
        with self.opened() as matrix:
            group = matrix.group
            for first, last in pairwise(blocks.bounds_of(self.ends).tolist()):
                start, stop = int(self.ends[first]), int(self.ends[last])
                shape, ends = (self.shape[0], last - first), self.ends[first : last + 1] - start
                part = group["data"][start:stop], group["indices"][start:stop], ends
                csr = checks.as_csr(sp.csc_matrix(part, shape=shape), self.where, copy=False)
                entry = np.dtype(
                    [(n, np.int32) for n in ("row", "column")] + [("value", csr.dtype)]
                )
                entries = np.empty(csr.nnz, entry)
                entries["row"] = np.repeat(np.arange(shape[0]), np.diff(csr.indptr))
                entries["column"], entries["value"] = csr.indices + first, csr.data
                memory.write(file, entries)
                runs.append(done + csr.indptr[self.bounds].astype(np.int64))
                done += csr.nnz
        return file, entry, runs


def rows_at_once(n_rows: int, stored: int) -> np.ndarray:
    """Return where to cut rows into blocks of some :data:`vmm.data.blocks.VALUES` on average."""
    number = max(1, min(n_rows, -(-stored // blocks.VALUES)))
    return np.linspace(0, n_rows, number + 1).astype(np.int64)


def _read(file: IO[bytes], kind: np.dtype, start: int, stop: int) -> np.ndarray:
    size = kind.itemsize
    return np.frombuffer(os.pread(file.fileno(), (stop - start) * size, start * size), kind)
