"""Clustering scores by hand-computed cases."""

import math

import numpy as np
import pytest
from metric_names import CLUSTERING_METRICS

from vmm.benchmark.metrics.clustering import NO_MEMBERSHIP, assignment_scores, clustering_scores
from vmm.errors import InputError

# Six points, four clusters of which the last is empty. Clusters 0 and 1 both stand for class "a".
LABELS = ["a", "a", "a", "b", "b", "b"]
PROBS = np.array(
    [
        [0.9, 0.1, 0.0, 0.0],  # most probable member of cluster 0: class a
        [0.2, 0.8, 0.0, 0.0],  # of cluster 1: class a
        [0.6, 0.3, 0.1, 0.0],
        [0.0, 0.0, 0.95, 0.05],  # of cluster 2: class b (and of the unused cluster 3)
        [0.1, 0.2, 0.7, 0.0],
        [0.7, 0.1, 0.2, 0.0],  # assigned to cluster 0: predicted a, a mistake
    ]
)


def _entropy(*counts: int) -> float:
    return -sum(c / sum(counts) * math.log(c / sum(counts)) for c in counts if c)


def _nmi(table: list[list[int]]) -> float:
    rows = _entropy(*[sum(row) for row in table])
    columns = _entropy(*[sum(column) for column in zip(*table, strict=True)])
    joint = _entropy(*[count for row in table for count in row])
    return (rows + columns - joint) / ((rows + columns) / 2)


def test_scores_of_a_case_computed_by_hand():
    scores = clustering_scores(LABELS, PROBS)
    assert list(scores) == CLUSTERING_METRICS
    assert scores["Utilized clusters"] == 3
    assert scores["Accuracy"] == pytest.approx(5 / 6)
    # class by predicted class, and class by cluster
    assert scores["NMI (merged)"] == pytest.approx(_nmi([[3, 0], [1, 2]]))
    assert scores["NMI (unmerged)"] == pytest.approx(_nmi([[2, 1, 0], [1, 0, 2]]))
    # adjusted Rand index: sum of pairs 4, rows 6, columns 7, all 15 -> (4-6*7/15)/(6.5-6*7/15)
    assert scores["ARI (merged)"] == pytest.approx((4 - 42 / 15) / (6.5 - 42 / 15))
    # pairs 2, rows 6, columns 3 + 0 + 1 = 4
    assert scores["ARI (unmerged)"] == pytest.approx((2 - 24 / 15) / (5 - 24 / 15))


def test_merging_forgives_too_many_clusters_and_unmerged_scores_do_not():
    labels = np.repeat([0, 1], 4)
    scores = clustering_scores(labels, np.eye(8))
    assert scores["Accuracy"] == scores["NMI (merged)"] == scores["ARI (merged)"] == 1
    # each point a cluster: information log 2, entropies log 2 and log 8
    assert scores["NMI (unmerged)"] == pytest.approx(
        math.log(2) / ((math.log(2) + math.log(8)) / 2)
    )
    assert scores["Utilized clusters"] == 8


def test_a_cluster_predicts_its_most_probable_member_not_its_majority():
    probs = np.array([[0.6, 0.4], [0.6, 0.4], [0.99, 0.01], [0.1, 0.9]])
    scores = clustering_scores([0, 0, 1, 1], probs)
    # cluster 0 holds two of class 0 but predicts class 1; cluster 1 predicts class 1
    assert scores["Accuracy"] == 0.5
    assert scores["NMI (merged)"] == 0


def test_most_probable_member_may_be_assigned_elsewhere():
    probs = np.array([[0.51, 0.49], [0.6, 0.4], [0.9, 0.1]])
    scores = clustering_scores([1, 0, 0], probs)
    assert scores["Utilized clusters"] == 1
    assert scores["Accuracy"] == pytest.approx(2 / 3)


def test_assignment_scores_leave_out_what_needs_probabilities():
    scores = assignment_scores(LABELS, ["x", "y", "x", "z", "z", "x"])
    soft = clustering_scores(LABELS, PROBS)
    assert list(scores) == CLUSTERING_METRICS
    for metric in ("Utilized clusters", "NMI (unmerged)", "ARI (unmerged)"):
        assert scores[metric] == (pytest.approx(soft[metric]), "ok")
    for metric in ("Accuracy", "NMI (merged)", "ARI (merged)"):
        assert scores[metric] == (None, NO_MEMBERSHIP)


@pytest.mark.parametrize(
    ("labels", "probs", "message"),
    [
        ([0, 1], np.full((3, 2), 0.5), r"shape \(2,\) where \(3,\)"),
        ([0, 1], np.array([[0.5, np.nan], [1, 0]]), "NaN"),
        ([0, 1], np.array([0.5, 0.5]), r"\(N, K\)"),
        ([], np.empty((0, 3)), "at least one"),
    ],
)
def test_wrong_input_is_named(labels, probs, message):
    with pytest.raises(InputError, match=message):
        clustering_scores(labels, probs)


def test_different_lengths_of_assignment_and_labels():
    with pytest.raises(InputError, match="expected"):
        assignment_scores([0, 1, 2], [0, 1])


def test_observations_without_a_label_have_a_cluster_and_no_say():
    """Scores are those of the others alone; clusters are counted of all."""
    labels = np.repeat([0, 1, -1], [3, 3, 2])
    extra = [[0.0, 0.0, 0.0, 1.0], [0.99, 0.01, 0.0, 0.0]]  # the second tops cluster 0
    scores = clustering_scores(labels, np.concatenate([PROBS, extra]))
    alone = clustering_scores(LABELS, PROBS)
    assert scores.pop("Utilized clusters") == 4 and alone.pop("Utilized clusters") == 3
    assert scores == alone
    names = np.array(["a", "a", "a", "b", "b", "b", None, np.nan], dtype=object)
    assert (
        clustering_scores(names, np.concatenate([PROBS, extra])) == {"Utilized clusters": 4} | alone
    )
    hard = assignment_scores(labels, [0, 0, 1, 1, 2, 2, 3, 3])
    assert hard["Utilized clusters"] == (4, "ok")
    assert hard["NMI (unmerged)"] == assignment_scores(LABELS, [0, 0, 1, 1, 2, 2])["NMI (unmerged)"]


def test_without_any_label_clusters_are_counted_only():
    scores = clustering_scores(np.full(6, -1), PROBS)
    assert scores.pop("Utilized clusters") == 3
    assert set(scores.values()) == {(None, "n/a: no labelled cells")}
