"""The paper's four tables as data: source, columns, digits, captions, order of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from vmm.benchmark.methods.records import place_of
from vmm.benchmark.metrics.records import Metric, of_family
from vmm.benchmark.setting import LEIDEN
from vmm.errors import InputError
from vmm.paper.labels import is_embedding, method_label


@dataclass(frozen=True)
class TableSpec:
    """One table of the paper: columns in its order, and the file of metrics that has its rows."""

    number: int
    kind: str
    source: str
    caption: str
    columns: tuple[Metric, ...]

    def groups(self) -> list[tuple[str, list[Metric]]]:
        """Return the columns by their headings, in order; one group if there are none."""
        found: dict[str, list[Metric]] = {}
        for column in self.columns:
            found.setdefault(column.group, []).append(column)
        return list(found.items())


class RowKey(NamedTuple):
    """What makes a row of a table: a method under one setting."""

    model: str
    prior: str
    setting: str


def _columns(family: str, newer: bool = False) -> tuple[Metric, ...]:
    """Return the metrics of a family that tables show."""
    return tuple(metric for metric in of_family(family, newer) if metric.column)


def _table(number: int, kind: str, source: str, caption: str) -> TableSpec:
    return TableSpec(number, kind, source, caption, _columns(source))


TABLES = {
    1: _table(1, "images", "elbo_surgery", "VAE model performance for different priors."),
    2: _table(2, "images", "clustering", "Clustering performance for different methods."),
    3: _table(
        3,
        "cells",
        "clustering",
        "scRNA-seq clustering performance. Cells, batches (donors) and cell types are counted from "
        "the data.",
    ),
    4: _table(4, "cells", "integration", "scRNA-seq integration performance."),
}


def table_spec(number: int, newer: bool = False) -> TableSpec:
    """Return the declaration of a table, with metrics newer than the paper if asked for."""
    if number not in TABLES:
        raise InputError(f"there is no Table {number}; the paper has Tables 1, 2, 3 and 4")
    spec = TABLES[number]
    if newer and spec.kind == "cells":
        return replace(spec, columns=_columns(spec.source, newer))
    return spec


def row_label(row: RowKey) -> str:
    """Return what the table prints for a method."""
    return method_label(row.model, row.prior, row.setting if row.setting == str(LEIDEN) else "")


def row_order(row: RowKey) -> tuple:
    """Return a key that sorts methods as tables list them: ours first, baselines below."""
    return is_baseline(row), place_of(row.model, row.prior), row


def is_baseline(row: RowKey) -> bool:
    """Whether a method stands below the rule: Leiden clusters, or an embedding without a model."""
    return row.setting == str(LEIDEN) or is_embedding(row.model, row.prior)
