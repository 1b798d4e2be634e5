"""The paper's four tables as data: source, columns, digits, captions, order of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.names import (
    AGGREGATE_METRICS,
    BATCH_METRICS,
    BIO_METRICS,
    CLUSTERING_METRICS,
    ELBO_METRICS,
)
from vmm.benchmark.setting import LEIDEN
from vmm.errors import InputError
from vmm.paper.labels import is_embedding, method_label


@dataclass(frozen=True)
class Column:
    """One metric of a table.

    Attributes
    ----------
    metric : str
        Name in tidy rows, and in print.
    decimals : int or None
        Digits of a mean after the point; None: three significant digits, trailing zeros dropped.
    sd_decimals : int
        Digits of a standard deviation after the point.
    tex : str
        How TeX prints the name, where not as it is.
    group : str
        Heading above several columns, if any.
    most : int
        Most digits of a mean after the point where `decimals` is None.
    """

    metric: str
    decimals: int | None
    sd_decimals: int
    tex: str = ""
    group: str = ""
    most: int = 3

    def decimals_of(self, mean: float) -> int:
        """Return to how many digits after the point the mean is printed."""
        if self.decimals is not None:
            return self.decimals
        leading = math.floor(math.log10(abs(mean))) if mean else 0
        return min(max(2 - leading, 0), self.most)

    def mean_text(self, mean: float) -> str:
        """Return the mean as it is printed."""
        text = f"{mean:z.{self.decimals_of(mean)}f}"
        return text.rstrip("0").rstrip(".") if self.decimals is None and "." in text else text

    def sd_text(self, sd: float) -> str:
        """Return the standard deviation as it is printed."""
        return f"{sd:.{self.sd_decimals}f}"


@dataclass(frozen=True)
class TableSpec:
    """One table of the paper.

    Attributes
    ----------
    number : int
    kind : {"images", "cells"}
    source : str
        File of metrics that has its rows, without the suffix.
    caption : str
    columns : tuple of Column
        In the order of the paper.
    """

    number: int
    kind: str
    source: str
    caption: str
    columns: tuple[Column, ...]

    def groups(self) -> list[tuple[str, list[Column]]]:
        """Return the columns by their headings, in order; one group if there are none."""
        found: dict[str, list[Column]] = {}
        for column in self.columns:
            found.setdefault(column.group, []).append(column)
        return list(found.items())


class RowKey(NamedTuple):
    """What makes a row of a table: a method under one setting."""

    model: str
    prior: str
    setting: str


_ELBO_TEX = {
    "log p(x|x)": r"$\log p(x|x)$",
    "log p(x)": r"$\log p(x)$",
    "E_q[log p(x|z)]": r"$\mathrm{E}_q[\log p(x|z)]$",
    "KL(q(z|x)||p(z))": r"$\mathrm{KL}(q(z|x)\|p(z))$",
    "KL(q(z)||p(z))": r"$\mathrm{KL}(q(z)\|p(z))$",
    "I[z;n]": r"$\mathrm{I}[z;n]$",
}
_CLUSTERING_COLUMNS = (
    Column(CLUSTERING_METRICS[0], None, 2, most=1),
    *(Column(metric, 3, 2) for metric in CLUSTERING_METRICS[1:4]),
)
_GROUPS = {
    "Aggregate score": AGGREGATE_METRICS,
    "Batch correction": BATCH_METRICS,
    "Bio conservation": BIO_METRICS,
}


def _stacked(metric: str) -> str:
    """Return a name in TeX with its words one above the other, to save width."""
    first, _, second = metric.partition(" ")
    return rf"\shortstack[r]{{{first}\\{second}}}" if second else first


TABLES = {
    1: TableSpec(
        number=1,
        kind="images",
        source="elbo_surgery",
        caption="VAE model performance for different priors.",
        columns=tuple(Column(metric, None, 2, _ELBO_TEX[metric]) for metric in ELBO_METRICS),
    ),
    2: TableSpec(
        number=2,
        kind="images",
        source="clustering",
        caption="Clustering performance for different methods.",
        columns=_CLUSTERING_COLUMNS,
    ),
    3: TableSpec(
        number=3,
        kind="cells",
        source="clustering",
        caption="scRNA-seq clustering performance. Cells, batches (donors) and cell types are "
        "counted from the data.",
        columns=_CLUSTERING_COLUMNS,
    ),
    4: TableSpec(
        number=4,
        kind="cells",
        source="integration",
        caption="scRNA-seq integration performance.",
        columns=tuple(
            Column(metric, 4, 4, _stacked(metric), group)
            for group, metrics in _GROUPS.items()
            for metric in metrics
        ),
    ),
}


def table_spec(number: int) -> TableSpec:
    """Return the declaration of a table.

    Raises
    ------
    InputError
        If the paper has no such table.
    """
    if number not in TABLES:
        raise InputError(f"there is no Table {number}; the paper has Tables 1, 2, 3 and 4")
    return TABLES[number]


def row_label(row: RowKey) -> str:
    """Return what the table prints for a method."""
    return method_label(row.model, row.prior, row.setting if row.setting == str(LEIDEN) else "")


def row_order(kind: str, row: RowKey) -> tuple:
    """Return a key that sorts methods as tables list them: ours first, baselines below."""
    known = [(method.model, method.prior) for method in METHODS[kind].values()]
    place = known.index(row[:2]) if row[:2] in known else len(known)
    return is_baseline(row), place, row


def is_baseline(row: RowKey) -> bool:
    """Whether a method stands below the rule: Leiden clusters, or an embedding without a model."""
    return row.setting == str(LEIDEN) or is_embedding(row.model, row.prior)
