"""Training and validation rows of a trial."""

from __future__ import annotations

import zlib

import numpy as np

from vmm.data.containers import CellData, ImageData
from vmm.errors import InputError

VALID_FRACTION = {"cells": 0.1, "images": 0.2}
"""Part of the rows kept for validation where the data set does not fix it."""


def generator(*entropy: int | str) -> np.random.Generator:
    """Random generator that depends on nothing but `entropy`.

    Strings enter by their CRC-32, so that uses of one seed for different things stay independent.
    """
    numbers = [zlib.crc32(e.encode()) if isinstance(e, str) else int(e) for e in entropy]
    return np.random.default_rng(np.random.SeedSequence(numbers))


def make_split(data: CellData | ImageData, trial: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and validation in one trial, the same for every method.

    Images with a fixed validation set get that one in every trial. Else a random part of the rows
    is kept for validation: a tenth of cells, a fifth of images (rounded, at least one row). It
    depends on `seed`, `trial` and the number of rows only.

    Parameters
    ----------
    data
        The data set.
    trial
        Number of the trial, ≥ 0.
    seed
        Seed of the whole run, ≥ 0.

    Returns
    -------
    train, valid : numpy.ndarray
        int64 row numbers, ascending; disjoint, and together all rows.
    """
    n_rows = len(data)
    if isinstance(data, ImageData) and data.valid is not None:
        valid = np.sort(data.valid).astype(np.int64)
        return np.setdiff1d(np.arange(n_rows, dtype=np.int64), valid, assume_unique=True), valid
    return random_split(n_rows, VALID_FRACTION[data.kind], trial, seed)


def random_split(
    n_rows: int, valid_fraction: float, trial: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows at random; as `make_split`, for a part that the caller names.

    Returns
    -------
    train, valid : numpy.ndarray
        int64 row numbers, ascending.
    """
    n_valid = max(1, round(valid_fraction * n_rows))
    valid = np.sort(generator(seed, trial, "split").permutation(n_rows)[:n_valid])
    train = np.setdiff1d(np.arange(n_rows, dtype=np.int64), valid, assume_unique=True)
    return train, valid.astype(np.int64, copy=False)


def check_starts(dataset: str, n_train: int, key: str, n: int) -> None:
    """Refuse more components than training rows to start them from.

    Parameters
    ----------
    dataset, n_train
        Name of the data set and number of its training rows.
    key, n
        What the configuration calls the number of components, and that number.

    Raises
    ------
    InputError
        If there are too few rows.
    """
    if n > n_train:
        raise InputError(
            f"{key} is {n}, but {dataset} has only {n_train} training rows to start the components "
            f"from; use at most {n_train}"
        )
