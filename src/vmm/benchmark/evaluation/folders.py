"""What all evaluations share: rows of folders, whatever came of their models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.rows import concatenate_rows, diverged_rows
from vmm.io import read_json

if TYPE_CHECKING:
    import pandas as pd

Folders = Iterable[str | Path]


def rows_of(
    folders: Folders,
    family: str,
    score: Callable[[Path, dict[str, Any]], pd.DataFrame | None],
    newer: bool = False,
) -> pd.DataFrame:
    """Join the rows of all folders; a run that is not ok gets rows that say why."""
    metrics = [metric.name for metric in of_family(family, newer)]
    parts = []
    for folder in map(Path, folders):
        run = read_json(folder / "run.json", "status", "spec")
        if run["status"] == "ok":
            rows = score(folder, run)
        else:
            rows = diverged_rows(run["spec"], metrics, run["status"])
        if rows is not None:
            parts.append(rows)
    return concatenate_rows(parts)
