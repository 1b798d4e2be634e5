"""The best of several trials of one method, which figures show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm.benchmark.job import JOB_COLUMNS
from vmm.io import read_json

if TYPE_CHECKING:
    import pandas as pd


def best_model(
    rows: pd.DataFrame, folders: Iterable[str | Path], metrics: Sequence[str]
) -> Path | None:
    """Return the folder of the model with the highest value of a metric.

    Where none has a value of any of the metrics, as without labels, the first that did not diverge;
    None if all diverged.

    Parameters
    ----------
    rows : DataFrame
        Tidy rows.
    folders : iterable of path
        Models' folders.
    metrics : sequence of str
        In order of preference: the first that any of the models has is decisive, so that
        "Bio conservation" can stand in for "Total" where there is one batch.
    """
    ok = rows[rows["status"] == "ok"]
    value_of = {
        (*(row[key] for key in JOB_COLUMNS), row["metric"]): row["value"]
        for row in ok.to_dict("records")
    }
    models = [(Path(folder), _job(folder)) for folder in folders]
    for metric in metrics:
        scored = [
            (value_of[*job, metric], folder) for folder, job in models if (*job, metric) in value_of
        ]
        if scored:
            return max(scored, key=lambda entry: entry[0])[1]
    return next((folder for folder, _ in models if _run(folder)["status"] == "ok"), None)


def _job(folder: str | Path) -> tuple:
    return tuple(_run(folder)["spec"][key] for key in JOB_COLUMNS)


def _run(folder: str | Path) -> dict[str, Any]:
    return read_json(Path(folder) / "run.json", "status", "spec")
