"""Memory that is short, for tests of what becomes of counts then."""

from __future__ import annotations

import pytest
import torch

from vmm import memory
from vmm.models.counts import DiskCounts, SparseCounts

STORES = {"dense": torch.Tensor, "sparse": SparseCounts, "disk": DiskCounts}


def room_for(monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    """Let there be room for counts in this store, and in no better one."""
    room = {"dense": (1e9, 1e9), "sparse": (0, 1e9), "disk": (0, 0)}[store]  # device, host
    monkeypatch.setattr(memory, "fits", lambda n, device=None: n <= room[device is None])
