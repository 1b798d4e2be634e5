"""Metrics and descriptions of data sets as the tables want them."""

from collections.abc import Iterable, Mapping
from pathlib import Path


def rows_by_table(paths: Iterable[str], metrics: Mapping[int, str]) -> dict:
    """Return the tidy rows of each table whose metrics are among the files."""
    from vmm.metrics.rows import read_rows

    files = {Path(path).stem: read_rows(path) for path in paths}
    return {int(number): files[name] for number, name in metrics.items() if name in files}


def descriptions(paths: Iterable[str]) -> dict:
    """Return the descriptions of data sets by their names."""
    from vmm.io import read_json

    return {Path(path).stem: read_json(path) for path in paths}


def by_number(jobs: Mapping) -> dict:
    """Return `jobs` with table numbers as keys, which Snakemake may have made text."""
    return {int(number): grid for number, grid in jobs.items()}
