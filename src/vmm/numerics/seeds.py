"""Seeds of different purposes from one seed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def seed_of(seed: int, trial: int, purpose: str) -> int:
    """Return the seed of one purpose ("network", "prior", "training", …) within one trial.

    It depends on nothing else, so that all models of a trial start from the same network.
    """
    sequence = np.random.SeedSequence([seed, trial, zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1, dtype=np.uint32)[0])


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's and PyTorch's global states within the ``with`` block, and put them back.

    For libraries that draw from nothing else.
    """
    import torch

    before = np.random.get_state()
    with torch.random.fork_rng():
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)
