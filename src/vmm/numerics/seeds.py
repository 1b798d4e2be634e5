"""Seeds of different purposes from one seed."""

from __future__ import annotations

import zlib

import numpy as np


def seed_of(seed: int, trial: int, purpose: str) -> int:
    """Return the seed of one purpose ("network", "prior", "training", …) within one trial.

    It depends on nothing else, so that all models of a trial start from the same network.
    """
    sequence = np.random.SeedSequence([seed, trial, zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1, dtype=np.uint32)[0])
