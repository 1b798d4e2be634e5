"""Files of tensors that appear whole or not at all; nothing but plain values is unpickled."""

from __future__ import annotations

import io
import os
from typing import Any

import torch

from vmm.io import atomic, check_sums, damage


def write_tensors(path: str | os.PathLike, value: Any) -> None:
    """Write by ``torch.save``, whole or not at all; the same content gives the same bytes."""
    content = io.BytesIO()  # in a file, the name of the temporary file would enter
    torch.save(value, content)
    with atomic(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_tensors(path: str | os.PathLike, device: str | torch.device = "cpu") -> Any:
    """Read what :func:`write_tensors` wrote; nothing but tensors and plain values is unpickled."""
    with damage(path):
        check_sums(path)  # which torch does not look at
        return torch.load(path, map_location=device, weights_only=True)
