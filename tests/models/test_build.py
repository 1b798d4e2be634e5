"""Where pseudo-inputs start: training rows, at random or from each class alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trainings import make_data, make_model

from vmm.models.build import balanced_draw, start_prior


@pytest.mark.parametrize(
    ("sizes", "n", "expected"),
    [
        ([50, 50, 50, 50], 20, [5, 5, 5, 5]),
        ([500, 5, 40], 15, [5, 5, 5]),
        ([500, 3, 40], 15, [6, 3, 6]),  # the second has no more
        ([500, 3, 4], 100, [93, 3, 4]),
        ([7, 2, 1], 10, [7, 2, 1]),
    ],
)
def test_each_class_gives_as_many(sizes, n, expected):
    classes = np.repeat([3, 8, 9, 20][: len(sizes)], sizes)
    drawn = balanced_draw(np.random.default_rng(0), classes, n)
    assert len(set(drawn.tolist())) == n
    _, counts = np.unique(classes[drawn], return_counts=True)
    assert counts.tolist() == expected


@pytest.mark.parametrize(("n", "least", "most"), [(100, 11, 12), (4, 0, 1)])
def test_what_is_left_over_is_one_each(n, least, most):
    """A hundred of nine classes are 11 each and one more; four are of four classes."""
    classes = np.random.default_rng(1).permutation(np.repeat(np.arange(9), 60))
    counts = np.zeros(9)
    for seed in range(40):
        drawn = balanced_draw(np.random.default_rng(seed), classes, n)
        own = np.bincount(classes[drawn], minlength=9)
        assert (own.min(), own.max()) == (least, most)
        counts += own == most
    assert counts.min() > 0, "not always the same classes"


def test_rows_of_a_class_are_drawn_at_random():
    """Each of 20 rows of a class comes in half of the draws of 10."""
    classes = np.repeat([0, 1], [20, 200])
    times = np.zeros(20)
    for seed in range(400):
        drawn = balanced_draw(np.random.default_rng(seed), classes, 20)
        times[drawn[drawn < 20]] += 1
    assert times.sum() == 400 * 10
    assert abs(times / 400 - 0.5).max() < 5 * 0.5 / np.sqrt(400)


@pytest.mark.parametrize("kind", ["image", "cells"])
def test_classes_change_where_pseudo_inputs_start_and_nothing_else(kind):
    data, labels = make_data(kind)
    rare = np.where(np.arange(len(labels)) < 4, 1, 0)  # four rows of 120
    train = np.arange(100)
    starts = {}
    for name, classes in (("default", None), ("labels", labels), ("rare", rare)):
        model = make_model(kind, "normal")
        start_prior(model, "vmm", 8, data, train, 0, classes=classes)
        starts[name] = model.prior.pseudo_inputs.detach()
    again = make_model(kind, "normal")
    start_prior(again, "vmm", 8, data, train, 0, classes=rare)
    assert (again.prior.pseudo_inputs == starts["rare"]).all()
    points = make_model(kind, "normal").initial_pseudo_inputs(data.batch(torch.arange(4)))
    found = [(starts["rare"] == point).all(1).any() for point in points]
    assert all(found), "all four of the rare class are among the eight"
