"""The declared tables against the paper's."""

from __future__ import annotations

import pytest

from vmm.benchmark.metrics.records import Metric
from vmm.errors import InputError
from vmm.paper.comparison import published
from vmm.paper.tables.specs import TABLES, RowKey, is_baseline, row_label, row_order, table_spec

THREE = Metric("m", "clustering", "module:function", "A number.", decimals=None)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_columns_are_the_papers_in_its_order(number):
    paper = published().query(f"table == 'table{number}'")["metric"]
    # Cortex, first in Table 4, has no batch metrics: take the order of the fullest block.
    fullest = published().query(f"table == 'table{number}'").groupby(["dataset", "model", "prior"])
    order = max((list(part["metric"]) for _, part in fullest), key=len)
    # A metric that somebody adds is a further column.
    assert [column.name for column in TABLES[number].columns if column.name in order] == order
    assert set(paper) == set(order)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_digits_reproduce_the_paper(number):
    import csv

    from vmm.paper.comparison import PUBLISHED

    columns = {column.name: column for column in TABLES[number].columns}
    with PUBLISHED.open() as file:
        rows = [row for row in csv.DictReader(file) if row["table"] == f"table{number}"]
    assert rows
    for row in rows:
        column = columns[row["metric"]]
        assert column.mean_text(float(row["mean"])) == row["mean"], row
        if row["sd"]:
            assert column.sd_text(float(row["sd"])) == row["sd"], row


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (215.44, "215"),
        (99.96, "100"),
        (28.04, "28"),
        (9.2149, "9.21"),
        (0.12345, "0.123"),
        (0.0, "0"),
        (-0.0001, "0"),
        (-73.66, "-73.7"),
        (1234.5, "1234"),
        (100.0, "100"),
    ],
)
def test_three_significant_digits(value, text):
    assert THREE.mean_text(value) == text


def test_fixed_digits_keep_zeros():
    assert TABLES[2].columns[1].mean_text(0.88) == "0.880"
    assert TABLES[4].columns[0].mean_text(1.0) == "1.0000"


def test_order_and_rule():
    keys = [
        RowKey("PCA", "none", "leiden"),
        RowKey("scVI", "VampPriorMixture", "chosen"),
        RowKey("scVI", "StandardNormal", "leiden"),
        RowKey("new", "thing", "chosen"),
        RowKey("scvi-tools", "StandardNormal", "chosen"),
        RowKey("Harmony", "none", "chosen"),
    ]
    ordered = sorted(keys, key=row_order)
    assert [row_label(key) for key in ordered] == [
        "scvi-tools N(0, I)",
        "VMM",
        "new thing",
        "Leiden on N(0, I)",
        "Leiden on PCA",
        "Harmony",
    ]
    assert [is_baseline(key) for key in ordered] == [False] * 3 + [True] * 3


def test_unknown_table():
    with pytest.raises(InputError, match="no Table 5"):
        table_spec(5)
