"""Intervals and labels."""

import math

import numpy as np
import pytest
from scipy import stats

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


def test_labels():
    assert dataset_label("fashion_mnist") == "Fashion-MNIST"
    assert dataset_label("my_cells") == "my_cells"
    assert method_label("scVI", "VampPriorMixture") == "VMM"
    assert method_label("Leiden", "none") == "Leiden"
    assert method_label("other", "Prior") == "other Prior"
