"""From records to scores: the functions that records name, called one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from vmm.benchmark.metrics.records import Metric
from vmm.errors import InputError
from vmm.lazy import resolve

Score = tuple[float | None, str]
"""A value and the status ``ok``, or None and a status that says why."""

NOT_FINITE = "n/a: not a finite number"


NO_LABELS = "n/a: no labelled cells"


class Undefined(Exception):
    """A metric has no value for what it is given; the text says why, in a few words."""


def label_codes(labels: ArrayLike) -> np.ndarray:
    """Return codes (N,) of classes 0, 1, …, and -1 of observations without a label.

    These are negative integers, or what numpy or pandas take for missing.
    """
    import pandas as pd

    array = np.asarray(labels)
    missing = array < 0 if array.dtype.kind in "if" else np.zeros(array.shape, dtype=bool)
    missing |= np.asarray(pd.isna(array))
    codes = np.full(array.shape, -1)
    codes[~missing] = np.unique(array[~missing], return_inverse=True)[1]
    return codes


def functions_of(metrics: Iterable[Metric]) -> dict[Metric, Callable]:
    """Import the functions of metrics.

    Raises
    ------
    InputError
        If there is none where a record says; the message names the record.
    """
    return {metric: _function(metric) for metric in metrics}


def score(function: Callable, *given: object, otherwise: str = NOT_FINITE) -> Score:
    """Return what a metric's function says of `given`; None and `otherwise` if not finite."""
    try:
        value = float(function(*given))
    except Undefined as reason:
        return None, f"n/a: {reason}"
    return (value, "ok") if math.isfinite(value) else (None, otherwise)


def _function(metric: Metric) -> Callable:
    try:
        return resolve(metric.function)
    except (ImportError, LookupError, ValueError) as error:
        raise InputError(
            f"the record of the metric {metric.name} names the function {metric.function!r}, "
            f"which cannot be imported: {error}"
        ) from error
