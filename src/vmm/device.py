"""Where to compute, and with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vmm.errors import InputError


def resolve_device(device: str = "auto") -> torch.device:
    """Return the device for "auto" (a GPU if there is one), "cpu" or "cuda".

    Raises
    ------
    InputError
        If "cuda" is asked for and absent, or the name is unknown: never a silent fallback.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {device!r}; it must be 'auto', 'cpu' or 'cuda'")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError(
            "device is 'cuda', but this PyTorch sees no GPU; use 'auto' or 'cpu', or run where a "
            "GPU and a CUDA build of PyTorch are"
        )
    return torch.device("cuda" if available and device != "cpu" else "cpu")


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Compute with a number of threads within the ``with`` block, and put back what was set.

    Sums of another number of threads differ in the last bit, and libraries set the number of the
    whole process: numba does, which scanpy calls, and so does the environment.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
