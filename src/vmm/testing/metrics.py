"""What any metric must keep.

Inherit :class:`MetricContract` and give it records by the name ``metric``::

    @pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
    class TestMetrics(MetricContract):
        pass

The examples have three classes in two batches (`integration`, `clustering`), or a linear Gaussian
model (`elbo_surgery`). Each case is scored once and kept.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from vmm.benchmark.metrics.records import AGGREGATE, METRICS, Metric, of_family
from vmm.benchmark.metrics.scoring import Score, functions_of, score

SIZES = (105, 120, 135)
N_CELLS, N_GENES = sum(SIZES), 40
CASES = {
    "clustering": (
        *("plain", "permuted", "renamed", "perfect", "poor"),
        *("one class", "one batch", "few", "hard"),
    ),
    "elbo_surgery": ("plain", "permuted", "renamed", "perfect", "poor"),
    "integration": (
        *("plain", "permuted", "renamed", "perfect", "poor"),
        *("one class", "one batch", "few"),
    ),
}
"""``plain`` is neither good nor bad; ``permuted`` has its rows in another order, ``renamed`` other
names of classes and batches; ``few`` are 20 rows; ``hard`` has no cluster probabilities."""


class MetricContract:
    """Tests of one metric; `tolerance` is what another order of rows may change."""

    tolerance = 1e-3

    def test_the_record_can_be_printed_and_its_function_imported(self, metric: Metric) -> None:
        """A name of its own, a sentence, bounds, a function."""
        functions_of([metric])
        assert [other.name for other in METRICS].count(metric.name) <= 1
        assert metric.description.endswith(".")
        assert "\n" not in metric.description
        assert metric.bounds[0] < metric.bounds[1]
        text = metric.mean_text(0.12345)
        assert abs(float(text) - 0.12345) <= 0.5 * 10.0 ** -metric.decimals_of(0.12345)

    def test_a_value_is_within_bounds_or_says_why_there_is_none(self, metric: Metric) -> None:
        """In every case; a good result has a value."""
        for case in CASES[metric.family]:
            value, status = scored(metric, case)
            if value is None:
                assert status.startswith("n/a: "), case
                assert len(status) > len("n/a: "), case
            else:
                assert status == "ok", case
                low, high = metric.bounds
                assert low - 1e-6 <= value <= high + 1e-6, case
        assert scored(metric, "perfect")[1] == "ok"

    def test_the_order_of_rows_does_not_matter(self, metric: Metric) -> None:
        """But for rounding, and for what is searched from a random start."""
        difference = value_of(metric, "permuted") - value_of(metric, "plain")
        assert abs(difference) <= self.tolerance * max(1, abs(value_of(metric, "plain")))

    def test_names_of_classes_and_batches_do_not_matter(self, metric: Metric) -> None:
        """Nor their order."""
        difference = value_of(metric, "renamed") - value_of(metric, "plain")
        assert abs(difference) <= self.tolerance * max(1, abs(value_of(metric, "plain")))

    def test_perfect_is_at_least_as_good_as_poor(self, metric: Metric) -> None:
        """Perfect knows all of the classes and nothing of the batches, poor the other way round."""
        gain = value_of(metric, "perfect") - value_of(metric, "poor")
        if metric.better == "higher":
            assert gain >= -1e-9
        elif metric.better == "lower":
            assert gain <= 1e-9

    def test_one_batch_or_one_class_is_no_zero(self, metric: Metric) -> None:
        """What needs several has no value, and says so."""
        if metric.family == "elbo_surgery":
            return
        for needed, case in (
            (metric.needs_batches, "one batch"),
            (metric.needs_classes, "one class"),
        ):
            if needed:
                reason = case.replace("one", "single")
                assert scored(metric, case) == (None, f"n/a: {reason}")

    def test_it_repeats_and_leaves_its_input_alone(self, metric: Metric) -> None:
        """The same input, unchanged, gives the same score."""
        given = example(metric.family, "plain")
        before = [np.array(array, copy=True) for array in _arrays(given)]
        assert _score(metric, given) == scored(metric, "plain")
        for array, copy in zip(_arrays(given), before, strict=True):
            np.testing.assert_array_equal(array, copy)


def value_of(metric: Metric, case: str) -> float:
    """Return a metric's value of a case in which it has one."""
    value, status = scored(metric, case)
    assert value is not None, f"{metric.name} of the case {case!r}: {status}"
    return value


@cache
def scored(metric: Metric, case: str) -> Score:
    """Return the value and status of a metric in one case."""
    if metric.family == "integration" and (metric in METRICS or metric.group == AGGREGATE):
        metrics = dict.fromkeys([*of_family("integration", newer=True), metric])
        return _scored_at_once(case, tuple(metrics))[metric.name]
    return _score(metric, example(metric.family, case))


@cache
def _scored_at_once(case: str, metrics: tuple[Metric, ...]) -> dict[str, Score]:
    """Return several metrics of one embedding, which share what is costly."""
    from vmm.benchmark.metrics.integration import integration_scores

    z, counts, batch, labels = example("integration", case)
    return integration_scores({"z": z}, counts, batch, labels, metrics=metrics)["z"]


def example(family: str, case: str) -> tuple:
    """Return what a metric of a family is computed from.

    Returns
    -------
    tuple
        Labels, cluster probabilities and batches; log densities (S, n); or embedding, counts,
        batches and labels.
    """
    if family == "elbo_surgery":
        return _densities(case)
    if family == "clustering":
        return _clusters(case)
    return _cells(case)


def _score(metric: Metric, given: tuple) -> Score:
    if metric.family == "elbo_surgery":
        import torch

        from vmm.benchmark.metrics.elbo_surgery import Terms

        terms = Terms(*map(torch.as_tensor, given))
        return score(lambda: functions_of([metric])[metric](terms).mean())
    if metric.family == "clustering":
        from vmm.benchmark.metrics.clustering import assignment_scores, clustering_scores

        labels, probs, batch = given
        scorer = clustering_scores if probs.ndim == 2 else assignment_scores
        found: Any = scorer(labels, probs, [metric], batch)[metric.name]
        return found if isinstance(found, tuple) else (found, "ok")
    from vmm.benchmark.metrics.integration import integration_scores

    z, counts, batch, labels = given
    aggregated = metric.group == AGGREGATE
    metrics = dict.fromkeys([*of_family("integration"), metric]) if aggregated else [metric]
    return integration_scores({"z": z}, counts, batch, labels, metrics=list(metrics))["z"][
        metric.name
    ]


def _arrays(given: tuple) -> list[np.ndarray]:
    return [np.asarray(array) for array in given]


def _clusters(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels (N,), cluster probabilities (N, 5) or an assignment (N,), and batches (N,)."""
    rng = np.random.default_rng(0)
    types = np.repeat(np.arange(3), SIZES)
    sharpness = {"perfect": 20.0, "poor": 0.0}.get(case, 2.0)
    logits = rng.normal(size=(N_CELLS, 5)) + sharpness * np.eye(3, 5)[types]
    batch = np.random.default_rng(1).choice(2, size=N_CELLS, p=[0.4, 0.6])
    if case == "poor":
        logits += 5 * np.eye(2, 5)[batch]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if case == "hard":
        return types, probs.argmax(1), batch
    types, rows = _changed(case, types, rng)
    return types[rows], probs[rows], _named(case, batch)[rows]


def _cells(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return embedding (N, 4), counts (N, G), batches and labels (N,)."""
    rng = np.random.default_rng(0)
    types = np.repeat(np.arange(3), SIZES)
    batch = rng.choice(2, size=N_CELLS, p=[0.4, 0.6])
    rates = rng.gamma(2, 1, (3, N_GENES))[types] * (1 + batch[:, None])
    counts = rng.poisson(rates)
    known, shift = {"perfect": (10, 0), "poor": (0, 10)}.get(case, (4, 1))
    z = known * np.eye(3, 4)[types] + shift * np.eye(2, 4)[batch] + rng.normal(size=(N_CELLS, 4))
    types, rows = _changed(case, types, rng)
    return z.astype(np.float32)[rows], counts[rows], _named(case, batch)[rows], types[rows]


def _named(case: str, batch: np.ndarray) -> np.ndarray:
    """Return the names of the batches (N,) that a case has."""
    if case == "renamed":
        return np.array(["second", "first"])[batch]
    return np.zeros(N_CELLS, dtype=int) if case == "one batch" else batch


def _changed(case: str, types: np.ndarray, rng: np.random.Generator) -> tuple:
    """Return the names of the classes and the rows, in their order, that a case has."""
    rows = np.arange(len(types))
    if case == "permuted":
        rows = rng.permutation(rows)
    elif case == "few":
        rows = rng.choice(rows, 20, replace=False)
    elif case == "one class":
        types = np.zeros_like(types)
    elif case == "renamed":
        types = np.array(["T", "B", "NK"])[types]
    return types, rows


def _densities(case: str) -> tuple[np.ndarray, ...]:
    """Return log p(x|z), log p(z), log q(z|x) and log q(z), (S, n), in one dimension.

    z ~ N(0, 1) and x ~ N(z, 1/4), so that q(z|x) = N(0.8 x, 0.2); `plain` has wider ones, `poor`
    those of other observations.
    """
    rng = np.random.default_rng(0)
    n, n_samples = 100, 50
    x = rng.normal(size=n) * math.sqrt(1.25)
    sd = math.sqrt(0.2) * (1.0 if case in ("perfect", "poor") else 1.3)
    noise = rng.normal(size=(n_samples, n))
    mean = 0.8 * x
    z = mean + sd * noise
    if case == "poor":
        z, mean = np.roll(z, 1, axis=1), np.roll(mean, 1)
    marginal = np.log(np.exp(_normal(z[..., None], mean, sd)).mean(-1))
    terms = _normal(x, z, 0.5), _normal(z, 0.0, 1.0), _normal(z, mean, sd), marginal
    if case == "permuted":
        rows, samples = rng.permutation(n), rng.permutation(n_samples)
        return tuple(term[samples][:, rows] for term in terms)
    return terms


def _normal(x: Any, mean: Any, sd: float) -> np.ndarray:
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)
