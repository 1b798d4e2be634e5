"""Tidy rows of metrics: made, checked, read, written and gathered.

A row says what one metric of one job is: ``dataset, model, prior, setting, trial, metric, value,
status``. The status is ``ok``, ``n/a: <reason>``, ``diverged`` or ``failed``; the value is there
exactly when the status is ``ok``, and is finite. pandas writes floats as ``repr`` does, so that the
same numbers give the same bytes and reading returns them exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from vmm.benchmark.job import JOB_COLUMNS
from vmm.benchmark.metrics.records import FAMILIES, of_family
from vmm.benchmark.metrics.scoring import NOT_FINITE
from vmm.errors import InputError
from vmm.io import atomic, read_table

ROW_COLUMNS = [*JOB_COLUMNS, "metric", "value", "status"]
"""Columns of a row of metrics. ``value`` is empty unless ``status`` is ``ok``."""

Score = float | tuple[float | None, str]


def rows_from_scores(job: Mapping, scores: Mapping[str, Score]) -> pd.DataFrame:
    """Turn the scores of one job into tidy rows, one a metric, in the order of `scores`.

    The job has the entries :data:`JOB_COLUMNS`; others are ignored. A score is a value, or the pair
    of a value (or None) and its status. A value that is not finite is left out and its status says
    so.
    """
    rows = []
    for metric, score in scores.items():
        value, state = score if isinstance(score, tuple) else (score, "ok")
        if state == "ok" and (value is None or not math.isfinite(value)):
            state = NOT_FINITE
        rows.append({**_job(job), "metric": metric, "value": value if state == "ok" else None})
        rows[-1]["status"] = state
    return validate_rows(pd.DataFrame(rows, columns=ROW_COLUMNS))


def diverged_rows(job: Mapping, metrics: Sequence[str], status: str = "diverged") -> pd.DataFrame:
    """Return the rows of a job without results: one a metric, without a value.

    The status is ``diverged``, ``failed`` or ``n/a: <reason>``.
    """
    return rows_from_scores(job, {metric: (None, status) for metric in metrics})


def validate_rows(rows: pd.DataFrame, where: str = "the rows") -> pd.DataFrame:
    """Check tidy rows and give their columns the types and order that the other stages expect.

    Raises
    ------
    InputError
        If a column is missing or unknown, a trial is not an integer, a status is unknown, a value
        is there without the status ``ok`` or the other way round, a value is not finite, or two
        rows speak of the same metric of the same job.
    """
    if sorted(rows.columns) != sorted(ROW_COLUMNS):
        raise InputError(
            f"{where} have the columns {', '.join(map(str, rows.columns))} "
            f"where {', '.join(ROW_COLUMNS)} are expected"
        )
    rows = rows[ROW_COLUMNS].reset_index(drop=True)
    try:
        rows = rows.assign(trial=rows["trial"].astype("int64"), value=rows["value"].astype(float))
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} have a trial or value that is not a number: {error}") from error
    for column in ROW_COLUMNS:
        if column not in ("trial", "value"):
            rows[column] = rows[column].astype(str)
    _check(rows, ~rows["status"].map(_known_status).astype(bool), where, "an unknown status")
    _check(rows, rows["status"].eq("ok") & rows["value"].isna(), where, "status ok without a value")
    _check(rows, rows["status"].ne("ok") & rows["value"].notna(), where, "a value that is not ok")
    _check(rows, rows["value"].abs().eq(math.inf), where, "an infinite value")
    _check(rows, rows.duplicated([*JOB_COLUMNS, "metric"]), where, "the same metric twice")
    return rows


def concatenate_rows(frames: Iterable[pd.DataFrame], where: str = "the rows") -> pd.DataFrame:
    """Join rows of many jobs in an order that does not depend on the order of the parts.

    Sorted by data set, model, prior, setting and trial, then in the order of the records.
    """
    frames = list(frames)
    empty = pd.DataFrame(columns=ROW_COLUMNS)
    rows = pd.concat(frames, ignore_index=True) if frames else empty
    rows = validate_rows(rows, where)
    known = [metric.name for family in FAMILIES for metric in of_family(family, newer=True)]
    places = {name: place for place, name in enumerate(known)}
    place = rows["metric"].map(lambda name: places.get(name, len(places)))
    order = rows.assign(place=place).sort_values([*JOB_COLUMNS, "place", "metric"]).index
    return rows.loc[order].reset_index(drop=True)


def read_rows(path: str | Path) -> pd.DataFrame:
    """Read a CSV file of tidy rows.

    Raises
    ------
    InputError
        If the file is absent or its rows are not valid; the message names it.
    """
    text = read_table(path, dtype=str, keep_default_na=False)
    if "value" in text:
        text["value"] = text["value"].replace("", None)
    return validate_rows(text, str(path))


def write_rows(rows: pd.DataFrame, path: str | Path) -> None:
    """Write tidy rows as CSV, whole or not at all."""
    with atomic(path) as temporary:
        validate_rows(rows).to_csv(temporary, index=False, lineterminator="\n")


def gather_rows(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Read the rows of many parts and join them as :func:`concatenate_rows` does."""
    return concatenate_rows([read_rows(path) for path in paths], "the gathered rows")


def check_jobs(rows: pd.DataFrame, jobs: Iterable[Mapping], metrics: str, where: str) -> None:
    """Check that no row of any job is missing, as in a file that was cut between two lines.

    Of each job the rows must have all metrics of the family `metrics`; `where` names the file.
    """
    there = set(rows[[*JOB_COLUMNS, "metric"]].itertuples(index=False, name=None))
    for job in jobs:
        names = [job[column] for column in JOB_COLUMNS]
        for metric in of_family(metrics):
            if (*names, metric.name) not in there:
                raise InputError(
                    f"{where} is not complete (no {metric.name} of {' / '.join(map(str, names))}); "
                    "remove it and start again, then it is made anew."
                )


def _job(job: Mapping) -> dict:
    missing = [column for column in JOB_COLUMNS if column not in job]
    if missing:
        raise InputError(f"a job lacks {', '.join(missing)}: {dict(job)}")
    return {column: job[column] for column in JOB_COLUMNS}


def _known_status(status: str) -> bool:
    return status in ("ok", "diverged", "failed") or (
        status.startswith("n/a: ") and len(status) > len("n/a: ")
    )


def _check(rows: pd.DataFrame, wrong: pd.Series, where: str, what: str) -> None:
    """Raise InputError with the first row for which `wrong` holds."""
    if wrong.any():
        first = rows[wrong].iloc[0]
        fields = ", ".join(f"{column} {first[column]}" for column in ROW_COLUMNS)
        raise InputError(f"{where} have {what}: {fields}")
