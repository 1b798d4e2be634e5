"""Partitions compared: cases worked out by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from vmm.numerics.partitions import agreement, comes_back, consensus, jaccard


def codes(text: str) -> np.ndarray:
    """Return a partition written as digits."""
    return np.array([int(letter) for letter in text])


def test_jaccard_of_clusters():
    found = jaccard(codes("000011"), codes("001112"))
    np.testing.assert_allclose(found, [[2 / 4, 2 / 5, 0], [0, 1 / 4, 1 / 2]])


def test_a_cluster_without_cells_is_like_none():
    assert jaccard(codes("0022"), codes("0011"))[1].tolist() == [0, 0]


def test_clusters_that_come_back_and_cells_that_stay():
    """The first other partition has the same clusters by other names; the second splits one."""
    others = np.stack([codes("111100"), codes("001122")], axis=1)
    best, stays = comes_back(codes("000011"), others)
    np.testing.assert_allclose(best, [[1, 1 / 2], [1, 1]])
    # Of the halves that cluster 0 falls into, which are equally like it, the first counts.
    np.testing.assert_allclose(stays, [1, 1, 1 / 2, 1 / 2, 1, 1])


def test_agreement_of_partitions():
    """Pairs together: 6 of 15 in each of the first two, of which 2 in both; the rest by formula."""
    partitions = np.stack([codes("000111"), codes("001011"), codes("111000")], axis=1)
    expected = (2 - 6 * 6 / 15) / (6 - 6 * 6 / 15)
    np.testing.assert_allclose(
        agreement(partitions), [[1, expected, 1], [expected, 1, expected], [1, expected, 1]]
    )


def test_the_consensus_lets_a_cell_go_with_the_majority():
    """Cell 3 is with the last three in two of three partitions, and with the first in one."""
    partitions = np.stack([codes("0000111"), codes("0001111"), codes("1110000")], axis=1)
    found, together = consensus(partitions)
    assert len(set(found[:3])) == 1 and len(set(found[3:])) == 1 and found[0] != found[3]
    # With each of the other three it is in 2 of 3; these are with each other always.
    np.testing.assert_allclose(together, [1, 1, 1, 2 / 3, 8 / 9, 8 / 9, 8 / 9])


def test_equal_partitions_are_their_own_consensus():
    found, together = consensus(np.stack([codes("0012"), codes("1102")], axis=1))
    assert found.tolist() == [0, 0, 1, 2]
    assert together.tolist() == [1, 1, 0, 0], "a cell without others is sure of none"


def test_the_consensus_is_that_of_all_pairs_of_cells():
    """Co-assignment from clusters is what the matrix of all pairs says, and no cell would move."""
    random = np.random.default_rng(0)
    truth = random.integers(4, size=200)
    noisy = [np.where(random.random(200) < 0.2, random.integers(4, size=200), truth)]
    noisy += [np.where(random.random(200) < 0.3, random.integers(4, size=200), truth)]
    partitions = np.stack([*noisy, truth, (truth + 1) % 4, truth // 2], axis=1)
    found, together = consensus(partitions)
    pairs = (partitions[:, None] == partitions[None]).mean(-1)
    np.fill_diagonal(pairs, np.nan)
    means = [np.nanmean(pairs[i, found == found[i]]) for i in range(200)]
    np.testing.assert_allclose(together, means)
    np.fill_diagonal(pairs, 1)
    clusters = np.unique(found)
    within = np.array([pairs[np.ix_(found == c, found == c)].mean() for c in clusters])
    distance = within - 2 * np.stack([pairs[:, found == c].mean(1) for c in clusters], axis=1)
    np.testing.assert_allclose(distance[np.arange(200), found], distance.min(1))


def test_the_consensus_holds_no_matrix_of_pairs():
    random = np.random.default_rng(0)
    truth = random.integers(10, size=20_000)
    others = [np.where(random.random(20_000) < 0.1, 3, truth) for _ in range(6)]
    tracemalloc.start()
    found, _ = consensus(np.stack(others, axis=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(np.unique(found)) == 10
    assert peak < 100e6 < 20_000**2 / 2


@pytest.mark.parametrize("n", [1, 2])
def test_few_cells(n):
    found, together = consensus(np.zeros((n, 3), dtype=int))
    assert found.tolist() == [0] * n and together.tolist() == [float(n > 1)] * n
