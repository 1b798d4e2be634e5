"""What figures take from tidy rows: frames, usable values, means with intervals, labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.names import ROW_COLUMNS
from vmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def as_frame(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return tidy rows as a data frame with numeric values and text settings.

    Parameters
    ----------
    rows
        Data frame, or mappings with the keys of :data:`vmm.benchmark.names.ROW_COLUMNS`.

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
