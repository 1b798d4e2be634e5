"""What figures take from tidy rows: frames, usable values, means with intervals, labels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vmm.errors import InputError
from vmm.names import METHODS, ROW_COLUMNS, method_of

if TYPE_CHECKING:
    import pandas as pd

DATASET_LABELS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "Digits",
    "pbmc": "PBMC",
    "lung_atlas": "lung atlas",
    "split_seq": "SPLiT-seq",
}
"""Names of data sets as they are printed; others are printed as they are written."""


class Interval(NamedTuple):
    """A mean with its 95 % confidence interval; `low` and `high` are NaN for fewer than 2."""

    n: int
    mean: float
    low: float
    high: float


def as_frame(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return tidy rows as a data frame with numeric values and text settings.

    Parameters
    ----------
    rows
        Data frame, or mappings with the keys of :data:`vmm.names.ROW_COLUMNS`.

    Raises
    ------
    InputError
        If a column is missing.
    """
    import pandas as pd

    if not isinstance(rows, pd.DataFrame):
        rows = pd.DataFrame(list(rows), columns=ROW_COLUMNS)
    missing = [column for column in ROW_COLUMNS if column not in rows.columns]
    if missing:
        raise InputError(f"rows of metrics lack the columns {missing}; they need {ROW_COLUMNS}")
    frame = rows[ROW_COLUMNS].copy()
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    frame["setting"] = frame["setting"].astype(str)
    return frame


def usable(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with status ``ok`` and a finite value."""
    return frame[(frame["status"] == "ok") & np.isfinite(frame["value"])]


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


def dataset_label(name: str) -> str:
    """Name of a data set as it is printed."""
    return DATASET_LABELS.get(name, name)


def method_key(model: str, prior: str) -> str | None:
    """Short name of the method, or None if :data:`vmm.names.METHODS` lists none."""
    try:
        return method_of(model, prior)
    except KeyError:
        return None


def method_label(model: str, prior: str) -> str:
    """Label of a method in figures: that of :data:`vmm.names.METHODS`, or model and prior."""
    for methods in METHODS.values():
        for method in methods.values():
            if (method.model, method.prior) == (model, prior):
                return method.label
    return model if prior in ("", "none") else f"{model} {prior}"


def numbers(setting: str, pattern: str) -> tuple[float, ...] | None:
    """Numbers that the groups of `pattern` match in the whole of `setting`, or None."""
    match = re.fullmatch(pattern, setting)
    return tuple(float(group) for group in match.groups()) if match else None
