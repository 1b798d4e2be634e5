"""Metrics and descriptions of data sets as the tables want them."""

from collections.abc import Iterable, Mapping
from pathlib import Path


def rows_by_table(paths: Iterable[str], grids: Mapping) -> dict:
    """Return the tidy rows of each table, from the files that belong to its metrics."""
    from vmm.benchmark.metrics.rows import gather_rows

    files: dict[str, list[str]] = {}
    for path in paths:
        parts = Path(path).parts
        files.setdefault(parts[parts.index("parts") + 1], []).append(path)
    rows = {metrics: gather_rows(of) for metrics, of in files.items()}
    needed = {int(number): grid["metrics"] for number, grid in grids.items()}
    return {number: rows[metrics] for number, metrics in needed.items() if metrics in rows}


def jobs_by_table(grids: Mapping) -> dict:
    """Return the grid of each table."""
    return {int(number): grid["jobs"] for number, grid in grids.items()}


def descriptions(paths: Iterable[str], evaluation_cells: int | None) -> dict:
    """Return the descriptions of data sets by their names, and how many cells were scored."""
    from vmm.io import read_json

    known = {Path(path).stem: read_json(path) for path in paths}
    return {name: about | {"evaluation_cells": evaluation_cells} for name, about in known.items()}
