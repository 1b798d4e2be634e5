"""Grids and rows of small tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd
import pytest
from figure_checks import fits

from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.metrics.rows import validate_rows
from vmm.paper.tables.specs import TABLES

__all__ = ["fits"]
CELLS_SETTING = "chosen"


def make_job(dataset: str, method: str, trial: int, setting: str = "", kind: str = "") -> dict:
    kind = kind or ("images" if dataset in ("mnist", "fashion_mnist", "digits") else "cells")
    known = METHODS[kind].get(method)
    model, prior = (known.model, known.prior) if known else (method, "none")
    setting = setting or ("b256-nmi" if kind == "images" else CELLS_SETTING)
    return {
        "dataset": dataset,
        "model": model,
        "prior": prior,
        "setting": setting,
        "trial": trial,
    }


def make_case(
    number: int,
    values: Mapping[tuple, Iterable],
    others: float = 0.5,
    statuses: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, list[dict]]:
    """Rows and jobs of a table.

    `values` maps (dataset, method, metric[, setting]) to one value a trial: a number, or a status.
    Every other metric of such a job is `others`, or has the status that `statuses` gives it.
    """
    statuses = statuses or {}
    jobs: dict[tuple, dict] = {}
    rows = {}
    for (dataset, method, metric, *setting), trials in values.items():
        for trial, value in enumerate(trials):
            job = make_job(dataset, method, trial, *setting)
            key = tuple(job.values())
            jobs[key] = job
            for column in TABLES[number].columns:
                status = statuses.get(column.name)
                rows.setdefault((*key, column.name), status or others)
            rows[(*key, metric)] = value
    frame = pd.DataFrame(
        [
            (*key, None, value) if isinstance(value, str) else (*key, value, "ok")
            for key, value in rows.items()
        ],
        columns=["dataset", "model", "prior", "setting", "trial", "metric", "value", "status"],
    )
    return validate_rows(frame), list(jobs.values())


@pytest.fixture
def job() -> Callable[..., dict]:
    return make_job


@pytest.fixture
def case() -> Callable[..., tuple[pd.DataFrame, list[dict]]]:
    return make_case
