"""Synthetic rows, and a check that nothing of a figure lies outside its page."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.metrics.rows import ROW_COLUMNS, validate_rows


def _row(dataset, method, setting, trial, metric, value, status="ok", kind="images") -> dict:
    record = METHODS[kind][method]
    return {
        "dataset": dataset,
        "model": record.model,
        "prior": record.prior,
        "setting": setting,
        "trial": trial,
        "metric": metric,
        "value": value,
        "status": status,
    }


def tidy(rows: list[dict]) -> pd.DataFrame:
    """Return rows as they are read from files."""
    return validate_rows(pd.DataFrame(rows, columns=ROW_COLUMNS))


@pytest.fixture
def row() -> Callable[..., dict]:
    return _row


@pytest.fixture
def fits() -> Callable:
    """Return a function that asserts that everything drawn lies within the figure."""

    def check(figure) -> None:
        figure.draw_without_rendering()  # runs the layout engine, if there is one
        box = figure.get_tightbbox(figure.canvas.get_renderer())
        width, height = figure.get_size_inches()
        slack = 0.011  # a line's width
        assert box.x0 >= -slack and box.y0 >= -slack, box
        assert box.x1 <= width + slack and box.y1 <= height + slack, (box, width, height)

    return check
