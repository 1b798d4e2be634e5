"""Means with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval; `low` and `high` are NaN for fewer than 2."""

    n: int
    mean: float
    low: float
    high: float


def interval(values: Iterable[float]) -> Interval:
    """Mean and 95 % interval by Student's t: mean ± t(0.975, n−1) · s / √n.

    Values that are not finite are left out.
    """
    from scipy.stats import t

    array = np.asarray(list(values), dtype=float)
    array = array[np.isfinite(array)]
    n = len(array)
    if n == 0:
        return Interval(0, math.nan, math.nan, math.nan)
    mean = float(array.mean())
    if n == 1:
        return Interval(1, mean, math.nan, math.nan)
    half = float(t.ppf(0.975, n - 1) * array.std(ddof=1) / math.sqrt(n))
    return Interval(n, mean, mean - half, mean + half)
