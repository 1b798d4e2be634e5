"""Random numbers of the contracts: seeded, and none from global state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def draw(seed: int, *shape: int) -> Tensor:
    """Draw standard-normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@contextmanager
def global_state_untouched() -> Iterator[None]:
    """Assert that what is done here takes no number from a global generator, and seeds none."""
    before = _global_state()
    yield
    changed = [name for name, state in _global_state().items() if state != before[name]]
    assert not changed, f"the global random state of {', '.join(changed)} was used or changed"


def _global_state() -> dict[str, object]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": str(np.random.get_state(legacy=False)),
        "random": random.getstate(),
    }
