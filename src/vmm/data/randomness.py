"""Random generators of data sets and splits."""

from __future__ import annotations

import zlib

import numpy as np


def generator(*entropy: int | str) -> np.random.Generator:
    """Random generator that depends on nothing but `entropy`.

    Strings enter by their CRC-32, so that uses of one seed for different things stay independent.
    """
    numbers = [zlib.crc32(e.encode()) if isinstance(e, str) else int(e) for e in entropy]
    return np.random.default_rng(np.random.SeedSequence(numbers))
