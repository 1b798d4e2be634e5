"""Where to compute."""

from __future__ import annotations

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
