"""How much memory there is, and files for what does not fit into it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from vmm.errors import InputError
from vmm.io import refused

if TYPE_CHECKING:
    import numpy as np
    import torch

SHARE = 0.5
"""Part of the free memory that the counts may take; the rest is for what is done with them."""


def fits(n_bytes: float, device: str | torch.device = "cpu") -> bool:
    """Return whether so many bytes of counts have room in the memory of a device."""
    return n_bytes <= SHARE * free_memory(device)


def free_memory(device: str | torch.device = "cpu") -> float:
    """Return the bytes that a process can still take on a device; infinite if nobody says.

    In the host's memory also what its control group (a job of Slurm, a container) leaves.
    """
    if str(device).startswith("cuda"):
        import torch

        return float(torch.cuda.mem_get_info(torch.device(device))[0])
    free = [_available(), _left_to_group()]
    return min((amount for amount in free if amount is not None), default=float("inf"))


def scratch(n_bytes: float = 0) -> IO[bytes]:
    """Open a file without a name, in the folder for temporary files, that ends with the process.

    It is refused where there is no room for the bytes that it will hold, as far as these are known.
    """
    folder = tempfile.gettempdir()
    if (free := shutil.disk_usage(folder).free) < n_bytes:
        raise InputError(
            f"counts that do not fit into memory take {n_bytes / 1e9:.1f} GB of disk, and {folder} "
            f"has {free / 1e9:.1f} GB free; free some, or let TMPDIR name a folder with more."
        )
    return tempfile.TemporaryFile()


def write(file: IO[bytes], array: np.ndarray) -> None:
    """Append an array, in one piece, to a file of :func:`scratch`; a full disk is told."""
    try:
        file.write(array.data)
        file.flush()
    except OSError as error:
        if (refusal := refused(error)) is None:
            raise
        raise InputError(
            f"counts that do not fit into memory cannot be written to {tempfile.gettempdir()} "
            f"(TMPDIR names another folder): {refusal}"
        ) from error


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
