import numpy as np
import pytest

from vmm.data.stratified import stratified_sample

BATCH = np.repeat([0, 1, 0, 1, 1], [600, 300, 60, 39, 1])
LABELS = np.repeat([0, 0, 1, -1, 2], [600, 300, 60, 39, 1])


def sizes(rows):
    pairs, counts = np.unique(np.stack([BATCH, LABELS])[:, rows], axis=1, return_counts=True)
    return {tuple(pair): int(count) for pair, count in zip(pairs.T.tolist(), counts, strict=True)}


def test_shares_are_those_of_the_whole_and_no_combination_is_lost():
    rows = stratified_sample(100, BATCH, LABELS)
    # a tenth: 60, 30, 6, 3.9 and 0.1, the last of which takes its cell from the largest
    assert sizes(rows) == {(0, 0): 59, (1, 0): 30, (0, 1): 6, (1, -1): 4, (1, 2): 1}


def test_a_sample_has_the_number_asked_for_each_row_once_in_order():
    for n in (1, 3, 5, 17, 999):
        rows = stratified_sample(n, BATCH, LABELS)
        assert len(rows) == n
        assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("n", [None, 1000, 5000])
def test_no_limit_or_a_large_one_is_all_cells(n):
    assert stratified_sample(n, BATCH, LABELS).tolist() == list(range(1000))


def test_the_sample_is_random_and_repeats():
    rows = stratified_sample(100, BATCH, LABELS)
    assert rows.tolist() == stratified_sample(100, BATCH, LABELS).tolist()
    assert rows.tolist() != stratified_sample(100, BATCH, LABELS, seed=1).tolist()
    first = rows[rows < 600]
    assert 200 < first.mean() < 400, "the rows of a stratum come from all of it"
