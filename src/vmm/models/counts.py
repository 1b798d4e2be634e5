"""Counts where a training draws from them: dense on its device, sparse where they do not fit."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

log = logging.getLogger(__name__)

SLICE = 4096
"""Rows converted at once: bounds memory, changes no result."""
SHARE = 0.5
"""Part of the free memory that a dense matrix may take; the rest is the training's."""
WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Whole numbers of as many bytes as a float."""


class SparseCounts:
    """Counts that stay a sparse matrix in the host's memory; rows become dense when they are drawn.

    What is drawn is equal, bit for bit, to rows of the dense matrix. On a GPU every draw waits for
    the device, so training is slower there and records no graph.

    Parameters
    ----------
    counts : scipy.sparse matrix, shape (N, G)
    device : str or torch.device
        Where rows are given out.
    """

    def __init__(self, counts: sp.csr_matrix, device: str | torch.device):
        self._rows = sp.csr_matrix(counts).astype(smallest_type(counts))
        self.device = torch.device(device)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        return self._rows.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return the rows of `index`, of any shape (…), as (…, G)."""
        rows = self._rows[index.reshape(-1).cpu().numpy()].toarray()
        return torch.from_numpy(rows).to(self.device).view(*index.shape, self.shape[1])

    def total(self) -> int:
        """Return the sum of bits of the dense matrix, to which zeros add nothing."""
        return sum_of_bits(torch.from_numpy(self._rows.data))


def put(counts, device: str | torch.device) -> Tensor | SparseCounts:
    """Put counts where rows can be drawn from them, in the smallest type that holds them.

    Dense on the device where that takes no more than :data:`SHARE` of its free memory; else sparse
    in the host's memory, which the log says. Results do not depend on it.

    Parameters
    ----------
    counts : scipy.sparse matrix or array, shape (N, G)
        Non-negative integers. The command line and the benchmark accept no others; others are kept
        as floats.
    device : str or torch.device
    """
    dtype, free = smallest_type(counts), free_memory(device)
    needed = counts.shape[0] * counts.shape[1] * np.dtype(dtype).itemsize
    if needed > SHARE * free and hasattr(counts, "toarray"):
        log.warning(
            "Counts stay sparse in the host's memory: as a dense matrix they take %.1f GB, and "
            "%.1f GB of %s are free. Results are the same; an epoch takes longer.",
            needed / 1e9,
            free / 1e9,
            torch.device(device).type,
        )
        return SparseCounts(counts, device)
    # The dense matrix exists only in its final type.
    dense = torch.empty(counts.shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype)
    for start in range(0, counts.shape[0], SLICE):
        block = counts[start : start + SLICE]
        block = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        dense[start : start + SLICE] = torch.from_numpy(block.astype(dtype))
    return dense.to(device)


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


def free_memory(device: str | torch.device) -> float:
    """Return the bytes that a process can still take on a device; infinite if nobody says.

    In the host's memory also what its control group (a job of Slurm, a container) leaves.
    """
    if torch.device(device).type == "cuda":
        return float(torch.cuda.mem_get_info(torch.device(device))[0])
    free = [_available(), _left_to_group()]
    return min((amount for amount in free if amount is not None), default=float("inf"))


def _available() -> float | None:
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024.0 if found else None


def _left_to_group(root: str | os.PathLike = "/sys/fs/cgroup") -> float | None:
    """Return what the innermost limit of the process's control groups (version 2) leaves."""
    try:
        folder, left = Path(root) / _own_group(), []
        for place in (folder, *folder.parents):
            limit = place / "memory.max"
            if limit.is_file() and (most := limit.read_text().strip()) != "max":
                statistics = (place / "memory.stat").read_text()
                cached = re.search(r"^inactive_file (\d+)", statistics, re.MULTILINE)
                used = int((place / "memory.current").read_text())
                left.append(int(most) - used + (int(cached[1]) if cached else 0))
            if place == Path(root):
                break
        return float(max(0, min(left))) if left else None
    except (OSError, ValueError):
        return None


def _own_group() -> str:
    return Path("/proc/self/cgroup").read_text().strip().rpartition("::/")[2]
