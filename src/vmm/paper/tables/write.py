"""Write a table: CSV of what is printed, CSV of the tests, TeX and HTML."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import pandas as pd

from vmm.io import atomic
from vmm.paper.tables.build import Table
from vmm.paper.tables.html import page_html, scrollable, table_html
from vmm.paper.tables.tex import table_tex


def write_table(table: Table, stem: str | PathLike) -> list[Path]:
    """Write ``<stem>.csv``, ``<stem>_tests.csv``, ``<stem>.tex`` and ``<stem>.html``.

    Each file appears whole or not at all, and the same rows give the same bytes.

    Parameters
    ----------
    table : Table
    stem : path
        Path without the suffix.

    Returns
    -------
    list of pathlib.Path
        The files.
    """
    title = f"Table {table.spec.number}. {table.spec.caption}"
    return [
        write_csv(printed(table), stem, ".csv"),
        write_csv(table.tests, stem, "_tests.csv"),
        write_text(table_tex(table), stem, ".tex"),
        write_text(page_html(title, scrollable(table_html(table))), stem, ".html"),
    ]


def printed(table: Table) -> pd.DataFrame:
    """Return what the table prints: data set, method, and a column a metric."""
    return pd.DataFrame(
        [
            {"dataset": block.dataset, "method": row.printed_label}
            | {metric: cell.text for metric, cell in row.cells.items()}
            for block in table.blocks
            for row in block.rows
        ]
    )


def write_csv(frame: pd.DataFrame, stem: str | PathLike, suffix: str) -> Path:
    """Write a frame, nothing where there is no value."""
    return write_text(frame.to_csv(index=False, lineterminator="\n"), stem, suffix)


def write_text(text: str, stem: str | PathLike, suffix: str) -> Path:
    """Write text to the stem with this suffix added, whole or not at all."""
    path = Path(f"{stem}{suffix}")
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path
