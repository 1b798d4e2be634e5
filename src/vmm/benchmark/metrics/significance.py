"""Which methods are best: paired t-tests by trial.

Within one column of a table (one data set, one metric) the method with the best mean is compared
with every other by a two-sided paired t-test. Pairs are trials: within a trial all methods share
the data split and the initialisation. The paper prints in bold the best mean and every method whose
test has p > 0.05. Beside that rule, which knows no correction, Holm's adjusted p within the column,
the mean difference and its 95 % confidence interval are reported.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import pandas as pd

THRESHOLD = 0.05
CONSTANT = "not tested: the same difference in every trial"

TEST_COLUMNS = [
    "compared_with",
    "n",
    "mean_difference",
    "ci_low",
    "ci_high",
    "t",
    "p",
    "p_holm",
    "bold",
    "status",
]
"""Columns of :func:`paired_tests`."""


def best_method(values: pd.DataFrame, lower_is_better: bool = False) -> Hashable | None:
    """Return the column with the best mean over its trials (the first of equals), or None."""
    means = values.mean().dropna()
    if means.empty:
        return None
    return means.idxmin() if lower_is_better else means.idxmax()


def paired_tests(values: pd.DataFrame, lower_is_better: bool = False) -> pd.DataFrame:
    """Compare every method of one column of a table with the best one.

    Parameters
    ----------
    values : pandas.DataFrame
        One row a trial, one column a method; NaN where a trial of a method has no value.
    lower_is_better : bool
        Whether the smallest mean is the best.

    Returns
    -------
    pandas.DataFrame
        One row a method, in the order of the columns of `values`, with

        - ``compared_with``: the method with the best mean over its own trials,
        - ``n``: the trials that both methods have; for the best method, its own,
        - ``mean_difference``: mean over these trials of method minus best, and ``ci_low``,
          ``ci_high``, its two-sided 95 % confidence interval (Student's t, n - 1 degrees),
        - ``t``, ``p``: paired t-test, two-sided,
        - ``p_holm``: p adjusted after Holm (1979) for all the tests of this column,
        - ``bold``: best, or tested with p > 0.05,
        - ``status``: ``best``, ``tested``, or ``not tested: <reason>``.

    Notes
    -----
    When the differences do not vary, t is not defined by its formula. If they are all exactly 0,
    its limit is used, t = 0 and p = 1. Another number over and over, as of two methods that no
    trial changes, is no sample, and is not tested. Methods that are not tested are not bold.
    """
    best = best_method(values, lower_is_better)
    tests = [_test(values, method, best) for method in values.columns]
    frame = pd.DataFrame(tests, index=values.columns, columns=TEST_COLUMNS)
    frame = frame.astype({column: float for column in TEST_COLUMNS[2:8]})
    tested = frame["status"].eq("tested")
    frame.loc[tested, "p_holm"] = _holm(frame.loc[tested, "p"].to_numpy())
    frame["bold"] = frame["status"].eq("best") | (tested & frame["p"].gt(THRESHOLD))
    return frame


def _test(values: pd.DataFrame, method: Hashable, best: Hashable | None) -> dict:
    """Return the row of one method; ``p_holm`` and ``bold`` are filled in by the caller."""
    own = values[method].dropna()
    row = {"compared_with": best, "n": len(own)}
    if own.empty:
        return {**row, "status": "not tested: no trial has a value"}
    if method == best:
        return {**row, "status": "best"}
    difference = (own - values[best]).dropna().to_numpy()
    row["n"] = len(difference)
    if len(difference) == 0:
        return {**row, "status": "not tested: no trial in common with the best method"}
    row["mean_difference"] = float(difference.mean())
    if len(difference) == 1:
        return {**row, "status": "not tested: only one trial in common with the best method"}
    if difference[0] != 0 and np.ptp(difference) == 0:
        return {**row, "status": CONSTANT}
    return {**row, **_t_test(difference), "status": "tested"}


def _t_test(difference: np.ndarray) -> dict[str, float]:
    """Test whether the mean of n >= 2 differences is 0."""
    from scipy import stats

    if not difference.any():
        return {"t": 0.0, "p": 1.0, "ci_low": 0.0, "ci_high": 0.0}
    mean = float(difference.mean())
    degrees = len(difference) - 1
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    t = mean / error
    half = float(stats.t.ppf(1 - THRESHOLD / 2, degrees)) * error
    return {
        "t": t,
        "p": float(2 * stats.t.sf(abs(t), degrees)),
        "ci_low": mean - half,
        "ci_high": mean + half,
    }


def _holm(p: np.ndarray) -> np.ndarray:
    """Adjust p after Holm (1979), *Scandinavian Journal of Statistics* 6, 65-70."""
    if len(p) == 0:
        return p
    order = np.argsort(p, kind="stable")
    stepped = (len(p) - np.arange(len(p))) * p[order]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return adjusted
