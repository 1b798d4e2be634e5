"""Training and validation rows of a trial."""

from __future__ import annotations

import numpy as np

from vmm.data.containers import CellData, ImageData
from vmm.data.messages import number_of
from vmm.data.randomness import generator
from vmm.errors import InputError

VALID_FRACTION = {"cells": 0.1, "images": 0.2}
"""Part of the rows kept for validation where the data set does not fix it."""


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
    n_valid = n_validated(n_rows, valid_fraction)
    valid = np.sort(generator(seed, trial, "split").permutation(n_rows)[:n_valid])
    train = np.setdiff1d(np.arange(n_rows, dtype=np.int64), valid, assume_unique=True)
    return train, valid.astype(np.int64, copy=False)


def n_validated(n_rows: int, valid_fraction: float) -> int:
    """Return how many of the rows `random_split` keeps for validation."""
    return max(1, round(valid_fraction * n_rows))


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
        remedy = f"use at most {n_train}" if n_train > 1 else "give more data"
        raise InputError(
            f"{key} is {n}, but {dataset} has only {number_of(n_train, 'training row')} to start "
            f"the components from; {remedy}"
        )
