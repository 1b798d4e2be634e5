"""Scores of clusters against known classes, by the metrics of the family ``clustering``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from vmm.benchmark.metrics.records import Metric, of_family
from vmm.benchmark.metrics.scoring import (
    NO_LABELS,
    Score,
    Undefined,
    functions_of,
    label_codes,
    score,
)
from vmm.errors import InputError

NO_MEMBERSHIP = "n/a: a hard assignment has no most probable member"


@dataclass(frozen=True, eq=False)
class Clusters:
    """What a metric of clusters is computed from.

    Attributes
    ----------
    labels : (N,) int array
        Class of each observation, 0, 1, …; -1: no label.
    assignment : (N,) int array
        Cluster of each.
    cluster_probs : (N, K) array or None
        q(c=j|x_i), None for a hard assignment.
    batch : (N,) array or None
        Batch of each, where the data have batches.
    """

    labels: np.ndarray
    assignment: np.ndarray
    cluster_probs: np.ndarray | None = None
    batch: np.ndarray | None = None

    @property
    def batches(self) -> np.ndarray:
        """The batches.

        Raises
        ------
        Undefined
            If there is one, or none.
        """
        if self.batch is None or len(np.unique(self.batch)) < 2:
            raise Undefined("single batch")
        return self.batch

    @cached_property
    def labelled(self) -> Clusters:
        """The observations that have a label, which is what metrics of agreement speak of.

        Raises
        ------
        Undefined
            If there is none.
        """
        known = self.labels >= 0
        if known.all():
            return self
        if not known.any():
            raise Undefined(NO_LABELS.removeprefix("n/a: "))
        probs = None if self.cluster_probs is None else self.cluster_probs[known]
        return Clusters(self.labels[known], self.assignment[known], probs)

    @cached_property
    def predicted(self) -> np.ndarray:
        """The class that each observation's cluster predicts, shape (N,).

        A cluster predicts the true class of its most probable member over the data set, the first
        one where several share the highest probability (arXiv:2402.04412, section 4.3).

        Raises
        ------
        Undefined
            For a hard assignment, which has no most probable member.
        """
        if self.cluster_probs is None:
            raise Undefined(NO_MEMBERSHIP.removeprefix("n/a: "))
        return self.labels[self.cluster_probs.argmax(axis=0)][self.assignment]


def clustering_scores(
    labels: ArrayLike,
    cluster_probs: ArrayLike,
    metrics: Sequence[Metric] | None = None,
    batch: np.ndarray | None = None,
) -> dict[str, float | Score]:
    """Score cluster probabilities, and the assignments argmax_j q(c=j|x), against true classes.

    Parameters
    ----------
    labels : (N,) array
        True classes, integers or strings; negative or missing: no label. Such observations have
        a cluster, and no part in its agreement with classes.
    cluster_probs : (N, K) array
        q(c=j|x_i), rows summing to one.
    metrics : sequence of Metric, optional
        All of the family ``clustering`` unless given, but for the newer ones.
    batch : (N,) array, optional
        Batch of each observation.

    Returns
    -------
    dict
        Metric to its value; to None and a status where it has none.

    Raises
    ------
    InputError
        If the shapes do not fit, a probability is not finite, or a metric has no function.
    """
    probs = np.asarray(cluster_probs)
    if probs.ndim != 2 or probs.shape[1] == 0:
        raise InputError(
            f"cluster probabilities have the shape {probs.shape} where (N, K) is expected"
        )
    classes = label_codes(_checked(labels, len(probs)))
    if not np.isfinite(probs).all():
        raise InputError("cluster probabilities contain NaN or infinite values")
    scores = _scores(Clusters(classes, probs.argmax(axis=1), probs, batch), metrics)
    return {name: found if found[0] is None else found[0] for name, found in scores.items()}


def assignment_scores(
    labels: ArrayLike,
    assignment: ArrayLike,
    metrics: Sequence[Metric] | None = None,
    batch: np.ndarray | None = None,
) -> dict[str, Score]:
    """Score a hard assignment, for example Leiden's, against true classes.

    Parameters
    ----------
    labels : (N,) array
        True classes, as for :func:`clustering_scores`.
    assignment : (N,) array
        Cluster of each observation, integers or strings.
    metrics : sequence of Metric, optional
        All of the family ``clustering`` unless given, but for the newer ones.
    batch : (N,) array, optional
        Batch of each observation.

    Returns
    -------
    dict
        Metric to its value and status. What needs a most probable member of each cluster, as
        accuracy and merged scores do, has no value and says so.

    Raises
    ------
    InputError
        If the lengths differ, or a metric has no function.
    """
    clusters = np.unique(assignment, return_inverse=True)[1].ravel()
    classes = label_codes(_checked(labels, len(clusters)))
    return _scores(Clusters(classes, clusters, batch=batch), metrics)


def _scores(clusters: Clusters, metrics: Sequence[Metric] | None) -> dict[str, Score]:
    functions = functions_of(of_family("clustering") if metrics is None else metrics)
    return {metric.name: score(function, clusters) for metric, function in functions.items()}


def _checked(values: ArrayLike, n: int) -> np.ndarray:
    """Return labels, which must be as many as `n`."""
    array = np.asarray(values)
    if array.shape != (n,) or n == 0:
        raise InputError(
            f"labels have the shape {array.shape} where ({n},) with at least one is expected"
        )
    return array
