"""Leiden's clusters of embeddings whose clusters are known."""

import numpy as np
import pytest

from vmm.benchmark.metrics.clustering import assignment_scores
from vmm.benchmark.metrics.leiden import leiden_clusters


def test_leiden_finds_blobs_and_numbers_the_largest_first():
    sizes = (60, 30, 45)
    truth = np.repeat(np.arange(3), sizes)
    centres = np.array([[0, 0], [40, 0], [0, 40]])
    noise = np.random.default_rng(0).normal(size=(sum(sizes), 2))
    found = leiden_clusters(centres[truth] + noise, resolution=0.1)
    assert np.bincount(found).tolist() == sorted(sizes, reverse=True)
    assert assignment_scores(truth, found)["NMI (unmerged)"] == (pytest.approx(1.0), "ok")


def test_leiden_is_reproducible_and_finer_at_a_greater_resolution():
    cells = np.random.default_rng(1).normal(size=(200, 4))
    first, again = leiden_clusters(cells), leiden_clusters(cells)
    assert np.array_equal(first, again)
    assert leiden_clusters(cells, resolution=3.0).max() > first.max()


def test_leiden_of_many_cells():
    """From 8192 cells on, scanpy would search neighbours another way, which fails."""
    truth = np.arange(9000) % 3
    noise = np.random.default_rng(2).normal(size=(len(truth), 2))
    found = leiden_clusters(100 * truth[:, None] + noise, resolution=0.01)
    assert assignment_scores(truth, found)["NMI (unmerged)"] == (pytest.approx(1.0), "ok")
