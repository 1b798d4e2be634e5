"""Reading rows: what counts, and intervals."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vmm.errors import InputError
from vmm.paper.figures.rows import as_frame, numbers, usable
from vmm.paper.labels import dataset_label, method_label
from vmm.plots.intervals import interval


def test_interval_is_students():
    values = [0.3, 0.5, 0.9, 0.4]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    got = interval(values)
    assert got == pytest.approx((4, 0.525, low, high))


def test_interval_of_one_none_and_not_finite():
    one = interval([2.0, math.nan])
    assert (one.n, one.mean) == (1, 2.0)
    assert math.isnan(one.low) and math.isnan(one.high)
    assert interval([]).n == 0


def test_only_ok_and_finite_rows_are_usable(row):
    rows = [
        row("mnist", "vmm", "b128-nmi", 0, "Accuracy", 0.5),
        row("mnist", "vmm", "b128-nmi", 1, "Accuracy", "0.25"),
        row("mnist", "vmm", "b128-nmi", 2, "Accuracy", "", "diverged"),
        row("mnist", "vmm", "b128-nmi", 3, "Accuracy", 0.7, "failed"),
        row("mnist", "vmm", "b128-nmi", 4, "Accuracy", math.inf),
        row("mnist", "vmm", "b128-nmi", 5, "Accuracy", "", "n/a: one batch"),
    ]
    assert usable(as_frame(rows))["value"].tolist() == [0.5, 0.25]
    assert usable(as_frame(pd.DataFrame(rows)))["trial"].tolist() == [0, 1]


def test_missing_column_is_named(row):
    frame = pd.DataFrame([row("mnist", "vmm", "b128-nmi", 0, "Accuracy", 0.5)])
    with pytest.raises(InputError, match="metric"):
        as_frame(frame.drop(columns="metric"))


def test_labels():
    assert dataset_label("fashion_mnist") == "Fashion-MNIST"
    assert dataset_label("my_cells") == "my_cells"
    assert method_label("scVI", "VampPriorMixture") == "VMM"
    assert method_label("Leiden", "none") == "Leiden"
    assert method_label("other", "Prior") == "other Prior"


def test_numbers_match_the_whole_setting():
    assert numbers("b128-nmi", r"b(\d+)-nmi") == (128.0,)
    assert numbers("xb128-nmi", r"b(\d+)-nmi") is None
