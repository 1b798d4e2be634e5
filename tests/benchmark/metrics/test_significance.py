"""Paired tests against scipy and statsmodels, and the paper's rule for bold print."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vmm.benchmark.metrics.significance import THRESHOLD, best_method, paired_tests

METHODS = ["normal", "gmm", "vmm", "vampprior"]


@pytest.fixture
def values() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    split = generator.normal(0, 0.1, size=(10, 1))  # what the methods of a trial share
    means = np.array([0.50, 0.59, 0.60, 0.45])
    noise = generator.normal(0, 0.02, size=(10, 4))
    noise -= noise.mean(axis=0)
    return pd.DataFrame(means + split + noise, index=range(1, 11), columns=METHODS)


def test_against_scipy_and_statsmodels(values):
    tests = paired_tests(values)
    others = ["normal", "gmm", "vampprior"]
    assert tests.index.tolist() == METHODS
    assert set(tests["compared_with"]) == {"vmm"}
    for method in others:
        reference = stats.ttest_rel(values[method], values["vmm"])
        interval = reference.confidence_interval(0.95)
        row = tests.loc[method]
        assert row["t"] == pytest.approx(reference.statistic, rel=1e-12)
        assert row["p"] == pytest.approx(reference.pvalue, rel=1e-10)
        assert row["ci_low"] == pytest.approx(interval.low, rel=1e-10)
        assert row["ci_high"] == pytest.approx(interval.high, rel=1e-10)
        assert row["mean_difference"] == pytest.approx((values[method] - values["vmm"]).mean())
        assert row["n"] == 10
        assert row["status"] == "tested"
    holm = multipletests(tests.loc[others, "p"], method="holm")[1]
    np.testing.assert_allclose(tests.loc[others, "p_holm"].to_numpy(float), holm, rtol=1e-12)
    assert tests.loc["vmm", "status"] == "best"
    assert tests.loc["vmm", ["t", "p", "p_holm", "ci_low"]].isna().all()


def test_holm_by_hand():
    # p of the three tests is set by their mean difference; adjusted: 3p, 2p, p made monotonous
    base = np.array([-1.0, 0.0, 1.0, 0.5, -0.5])
    frame = pd.DataFrame({"best": np.full(5, 9.0)})
    for name, shift in (("far", 4.0), ("near", 0.9), ("nearer", 0.8)):
        frame[name] = 9 - shift + base
    tests = paired_tests(frame)
    p = tests["p"]
    assert p["far"] < p["near"] < p["nearer"]
    assert tests.loc["far", "p_holm"] == pytest.approx(3 * p["far"])
    assert tests.loc["near", "p_holm"] == pytest.approx(2 * p["near"])
    assert tests.loc["nearer", "p_holm"] == pytest.approx(max(p["nearer"], 2 * p["near"]))


def test_bold_is_the_best_and_what_does_not_differ_from_it(values):
    tests = paired_tests(values)
    for method in METHODS:
        expected = method == "vmm" or stats.ttest_rel(values[method], values["vmm"])[1] > THRESHOLD
        assert tests.loc[method, "bold"] == expected
    assert tests["bold"].to_dict() == {
        "normal": False,
        "gmm": True,
        "vmm": True,
        "vampprior": False,
    }


def test_pairing_finds_what_an_unpaired_test_misses():
    split = np.linspace(0, 1, 10)
    wiggle = np.tile([0.001, -0.001], 5)
    values = pd.DataFrame({"a": split, "b": split + 0.01 + wiggle})
    assert stats.ttest_ind(values["a"], values["b"]).pvalue > 0.9
    assert not paired_tests(values).loc["a", "bold"]


def test_lower_is_better(values):
    assert best_method(values, lower_is_better=True) == "vampprior"
    tests = paired_tests(values, lower_is_better=True)
    assert tests["bold"].tolist() == [False, False, False, True]
    assert (tests.drop("vampprior")["mean_difference"] > 0).all()


def test_missing_trials_are_compared_on_common_ones(values):
    values["vmm"] += 0.2
    values.loc[[2, 5], "gmm"] = np.nan
    values.loc[5, "vmm"] = np.nan
    values.loc[7, "vmm"] = np.nan
    tests = paired_tests(values)
    common = values[["gmm", "vmm"]].dropna()
    assert tests.loc["gmm", "n"] == len(common) == 7
    assert tests.loc["gmm", "p"] == pytest.approx(stats.ttest_rel(common["gmm"], common["vmm"])[1])
    assert tests.loc["vmm", "n"] == 8
    assert tests.loc["normal", "n"] == 8


def test_identical_methods_have_p_one_and_are_both_bold():
    tests = paired_tests(pd.DataFrame({"a": [0.1, 0.7, 0.3], "b": [0.1, 0.7, 0.3]}))
    assert tests.loc["a", "status"] == "best"
    assert tests.loc["b", ["t", "p", "p_holm", "mean_difference"]].tolist() == [0, 1, 1, 0]
    assert tests.loc["b", ["ci_low", "ci_high"]].tolist() == [0, 0]
    assert tests["bold"].tolist() == [True, True]


def test_a_constant_difference_is_not_tested():
    """One number over and over, as of two methods that no trial changes, is no sample."""
    values = pd.DataFrame({"a": [10.0, 12.0, 11.0], "b": [9.0, 11.0, 10.0], "c": [8.0, 12.0, 9.0]})
    tests = paired_tests(values)
    assert tests.loc["b", "status"] == "not tested: the same difference in every trial"
    assert tests.loc["b", "mean_difference"] == -1
    assert tests.loc["b", ["t", "p", "p_holm", "ci_low", "ci_high"]].isna().all()
    assert tests.loc["c", "p"] == tests.loc["c", "p_holm"], "no test more to adjust for"
    assert tests["bold"].tolist() == [True, False, True]


def test_one_trial_is_not_tested_and_only_the_best_is_bold():
    tests = paired_tests(pd.DataFrame({"a": [0.5], "b": [0.500001]}))
    assert tests["bold"].tolist() == [False, True]
    assert tests.loc["a", "status"] == "not tested: only one trial in common with the best method"
    assert tests.loc["a", "mean_difference"] == pytest.approx(-1e-6)
    assert math.isnan(tests.loc["a", "p"])


def test_no_common_trial_and_no_trial_at_all():
    nan = math.nan
    frame = pd.DataFrame({"a": [1.0, 1.0, nan], "b": [nan, nan, 0.5], "c": [nan, nan, nan]})
    tests = paired_tests(frame)
    assert tests.loc["b", "status"] == "not tested: no trial in common with the best method"
    assert tests.loc["c", "status"] == "not tested: no trial has a value"
    assert tests["n"].tolist() == [2, 0, 0]
    assert tests["bold"].tolist() == [True, False, False]


def test_nothing_has_a_value():
    tests = paired_tests(pd.DataFrame({"a": [math.nan], "b": [math.nan]}))
    assert tests["compared_with"].isna().all()
    assert not tests["bold"].any()
