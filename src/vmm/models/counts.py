"""Counts where a training draws from them: dense on its device, or sparse in memory or on disk."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from vmm import memory

log = logging.getLogger(__name__)

SLICE = 4096
"""Rows converted at once: bounds memory, changes no result."""
AHEAD = 2
"""Batches that a thread makes ready while a step is taken."""
WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers of as many bytes as a float."""
TYPES: tuple[type[np.generic], ...] = (np.uint8, np.int16, np.float32)
"""What counts are kept as: the first that holds them all."""


class Found(NamedTuple):
    """The smallest type that holds all counts, and how many are not zero, or are stored."""

    dtype: type[np.generic]
    stored: int


class SparseCounts:
    """Counts that stay a sparse matrix in the host's memory; rows become dense when they are drawn.

    What is drawn is equal, bit for bit, to rows of the dense matrix. On a GPU every draw waits for
    the device, so training is slower there and records no graph.

    Parameters
    ----------
    counts : matrix, shape (N, G)
        As for :func:`put`.
    device : str or torch.device
        Where rows are given out.
    found : Found, optional
        What :func:`look_through` says of them.
    """

    def __init__(self, counts, device: str | torch.device, found: Found | None = None):
        self.device, self.shape = torch.device(device), tuple(counts.shape)
        self.dtype, stored = found or look_through(counts)
        self._coming: deque[tuple[np.ndarray, Future]] = deque()
        self._keep(counts, stored)

    def _keep(self, counts: Any, stored: int) -> None:
        """Take the counts over."""
        data, columns = np.empty(stored, self.dtype), np.empty(stored, index_type(stored))
        ends = np.zeros(len(self) + 1, np.int64)
        for start, block in by_rows(counts):
            first = ends[start]
            ends[start + 1 : start + 1 + block.shape[0]] = first + block.indptr[1:]
            data[first : first + block.nnz] = block.data
            columns[first : first + block.nnz] = block.indices
        self._rows = sp.csr_matrix((data, columns, ends), shape=self.shape)

    def _dense(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (n,) as (n, G)."""
        return self._rows[rows].toarray()

    def _values(self) -> Iterator[np.ndarray]:
        """Go through all counts that are stored."""
        yield self._rows.data

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return the rows of `index`, of any shape (…), as (…, G)."""
        return _Drawn.apply(index, self)

    def draw(self, index: Tensor) -> Tensor:
        """Do what ``[index]`` does, for an index that is no stack (``torch.func.vmap``)."""
        rows = index.reshape(-1).cpu().numpy()
        if self._coming and np.array_equal(self._coming[0][0], rows):
            dense = self._coming.popleft()[1].result()
        else:
            dense = self._dense(rows)
        return torch.from_numpy(dense).to(self.device).view(*index.shape, self.shape[1])

    def ahead(self, draws: Iterable[tuple[Tensor, Any]]) -> Iterator[tuple[Tensor, Any]]:
        """Go through draws, of which the first is an index; a thread gets the rows of the next."""
        self._coming.clear()  # of an epoch that was interrupted
        waiting: deque[tuple[Tensor, Any]] = deque()
        for drawn in draws:
            rows = drawn[0].reshape(-1).cpu().numpy()
            self._coming.append((rows, self._thread.submit(self._dense, rows)))
            waiting.append(drawn)
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, "counts")

    def total(self) -> int:
        """Return the sum of bits of the dense matrix, to which zeros add nothing."""
        return sum(sum_of_bits(torch.from_numpy(values)) for values in self._values()) % 2**64


class DiskCounts(SparseCounts):
    """Counts in a file without a name, which ends with the process; else as those in memory.

    Every stored count is a pair, of its gene and its value, and those of a cell stand together, so
    that a cell is one read. The file is read, not mapped: a read lets other threads compute.
    """

    def _keep(self, counts: Any, stored: int) -> None:
        gene = np.uint16 if self.shape[1] <= 2**16 else np.int32
        self._pair = np.dtype([("gene", gene), ("count", self.dtype)])
        self._file = memory.scratch(stored * self._pair.itemsize)
        self._ends = np.zeros(len(self) + 1, np.int64)
        for start, block in by_rows(counts):
            pairs = np.empty(block.nnz, self._pair)
            pairs["gene"], pairs["count"] = block.indices, block.data
            memory.write(self._file, pairs)
            ends = self._ends[start] + block.indptr[1:]
            self._ends[start + 1 : start + 1 + block.shape[0]] = ends

    def _dense(self, rows: np.ndarray) -> np.ndarray:
        first = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # of rows that follow each other
        last = np.append(first[1:], len(rows))[: len(first)] - 1
        starts, stops = self._ends[rows[first]], self._ends[rows[last] + 1]
        pairs = [self._read(*ends) for ends in zip(starts.tolist(), stops.tolist(), strict=True)]
        own = np.concatenate(pairs) if pairs else np.empty(0, self._pair)
        dense = np.zeros((len(rows), self.shape[1]), self.dtype)
        sizes = self._ends[rows + 1] - self._ends[rows]
        dense[np.repeat(np.arange(len(rows)), sizes), own["gene"]] = own["count"]
        return dense

    def _read(self, start: int, stop: int) -> np.ndarray:
        size = self._pair.itemsize
        found = os.pread(self._file.fileno(), (stop - start) * size, start * size)
        return np.frombuffer(found, self._pair)

    def _values(self) -> Iterator[np.ndarray]:
        for first in range(0, len(self), SLICE):
            last = min(first + SLICE, len(self))
            pairs = self._read(int(self._ends[first]), int(self._ends[last]))
            yield np.ascontiguousarray(pairs["count"])


class _Drawn(torch.autograd.Function):
    """Rows of sparse counts, by an index that may be a stack of several."""

    @staticmethod
    def forward(index: Tensor, counts: SparseCounts) -> Tensor:
        return counts.draw(index)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, index: Tensor, counts: SparseCounts) -> tuple[Tensor, int]:
        return counts[index.movedim(in_dims[0], 0)], 0


def put(counts, device: str | torch.device) -> Tensor | SparseCounts:
    """Put counts where rows can be drawn from them, in the smallest type that holds them.

    Dense on the device where that takes no more than a part of its free memory
    (:data:`vmm.memory.SHARE`); else sparse in the host's memory, where that holds it; else on disk.
    The log says so. Results do not depend on it.

    Parameters
    ----------
    counts : matrix, shape (N, G)
        Non-negative integers, sparse or an array; what is on disk is read by rows. The command line
        and the benchmark accept no others; others are kept as floats.
    device : str or torch.device

    Raises
    ------
    InputError
        If the disk, too, is too small.
    """
    if getattr(counts, "format", "csr") != "csr":  # rows of columns take as long as all
        counts = counts.to_memory() if hasattr(counts, "to_memory") else counts
        counts = sp.csr_matrix(counts)
    found = look_through(counts)
    size = np.dtype(found.dtype).itemsize
    dense = counts.shape[0] * counts.shape[1] * size
    if memory.fits(dense, device):
        return _dense(counts, found, device)
    sparse = found.stored * (size + np.dtype(index_type(found.stored)).itemsize)
    held = memory.fits(sparse)
    log.warning(
        "Counts stay %s: as a dense matrix they take %.1f GB, and %.1f GB of %s are free%s. "
        "Results are the same; an epoch takes longer.",
        "sparse in the host's memory" if held else f"on disk, in {tempfile.gettempdir()}",
        dense / 1e9,
        memory.free_memory(device) / 1e9,
        torch.device(device).type,
        ""
        if held
        else f"; sparse they take {sparse / 1e9:.1f} GB, and {memory.free_memory() / 1e9:.1f} GB "
        "of the host's memory are",
    )
    return (SparseCounts if held else DiskCounts)(counts, device, found)


def _dense(counts: Any, found: Found, device: str | torch.device) -> Tensor:
    """Return a dense matrix, which never exists but in its final type."""
    dense = torch.empty(tuple(counts.shape), dtype=torch.from_numpy(np.empty(0, found.dtype)).dtype)
    for start, block in _blocks(counts):
        block = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        dense[start : start + SLICE] = torch.from_numpy(block.astype(found.dtype))
    return dense.to(device)


def _blocks(counts: Any) -> Iterator[tuple[int, Any]]:
    """Go through rows of any kind: in memory, on disk, or to be computed."""
    for start in range(0, counts.shape[0], SLICE):
        block = counts[start : start + SLICE]
        yield start, block.compute() if hasattr(block, "compute") else block


def by_rows(counts: Any) -> Iterator[tuple[int, sp.csr_matrix]]:
    """Go through counts, in memory or on disk, in parts: the first row of each, and the part."""
    for start, block in _blocks(counts):
        if block.dtype == np.float16:  # not a type of sparse matrices
            block = block.astype(np.float32)
        block = sp.csr_matrix(block)
        if not block.has_canonical_format:
            block = block.copy()
            block.sum_duplicates()
        yield start, block


def look_through(counts: Any) -> Found:
    """Return what a store must know of counts before they come."""
    stored, largest = 0, 0
    for _, block in by_rows(counts):
        stored += block.nnz
        largest = max(largest, TYPES.index(smallest_type(block)))
    return Found(TYPES[largest], stored)


def index_type(stored: int) -> type[np.signedinteger]:
    """Return the type that scipy's indices have with so many stored values."""
    return np.int32 if stored <= np.iinfo(np.int32).max else np.int64


def ahead(data: Any, draws: Iterable[tuple[Tensor, Any]]) -> Iterator[tuple[Tensor, Any]]:
    """Return draws of data, of whose batches the next are made ready meanwhile where that helps."""
    counts = getattr(data, "counts", None)
    return counts.ahead(draws) if isinstance(counts, SparseCounts) else iter(draws)


def on_device(data: Any) -> bool:
    """Whether a batch of data is drawn where they are given out, without the host."""
    return not isinstance(getattr(data, "counts", None), SparseCounts)


def total(counts: Tensor | SparseCounts) -> int:
    """Return :func:`sum_of_bits` of all counts: tells data sets apart."""
    return counts.total() if isinstance(counts, SparseCounts) else sum_of_bits(counts)


def sum_of_bits(values: Tensor) -> int:
    """Return the sum, modulo 2⁶⁴, of values whose bits are read as whole numbers.

    Unlike a sum of floats it does not depend on the order of additions, which is another on every
    device. Of all values at once, PyTorch would make a copy of eight bytes each.
    """
    whole = values.detach()
    if values.is_floating_point():
        whole = whole.view(WHOLE[values.element_size()])
    parts = whole.split(SLICE) if whole.dim() else [whole]
    return sum(int(rows.sum(dtype=torch.int64)) for rows in parts) % 2**64


def smallest_type(counts) -> type[np.generic]:
    """Return the smallest of uint8, int16 and float32 that holds all counts."""
    values = counts.data if hasattr(counts, "toarray") else np.asarray(counts)
    if values.dtype.kind == "f" and not (np.mod(values, 1) == 0).all():
        return np.float32
    largest, least = (values.max(), values.min()) if values.size else (0, 0)
    fits = (d for d in (np.uint8, np.int16) if least >= 0 and largest <= np.iinfo(d).max)
    return next(fits, np.float32)
