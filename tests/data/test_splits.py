from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from vmm.data import CellData, ImageData, make_split


def many_cells(n: int) -> CellData:
    zeros = np.zeros(n, dtype=np.int64)
    names = np.arange(n).astype(str)
    return CellData(
        "many", sp.csr_matrix((n, 1), dtype=np.int32), zeros, ["b"], zeros, ["t"],
        np.array(["g"]), names,
    )  # fmt: skip


def some_images(valid: np.ndarray | None) -> ImageData:
    x = np.zeros((50, 4), dtype=np.uint8)
    return ImageData("im", x, np.zeros(50, dtype=np.int64), ["a"], (2, 2), valid)


def test_a_tenth_of_cells_and_a_fifth_of_images_validate() -> None:
    for data, n_valid in (
        (many_cells(3005), 300),
        (many_cells(1400), 140),
        (some_images(None), 10),
    ):
        train, valid = make_split(data, trial=0, seed=1)
        assert len(valid) == n_valid
        assert np.array_equal(np.sort(np.concatenate([train, valid])), np.arange(len(data)))
        assert train.dtype == valid.dtype == np.int64
        assert (np.diff(train) > 0).all() and (np.diff(valid) > 0).all()


def test_a_split_depends_on_seed_and_trial_only() -> None:
    data = many_cells(200)
    other = replace(data, name="other", labels=1 - data.labels, label_names=["t", "u"])
    np.random.seed(0)
    first = make_split(data, trial=2, seed=5)
    np.random.seed(1)
    again = make_split(other, trial=2, seed=5)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    splits = {tuple(make_split(data, t, s)[1].tolist()) for t in range(5) for s in range(5)}
    assert len(splits) == 25


def test_the_split_of_today_is_the_split_of_tomorrow() -> None:
    assert make_split(many_cells(60), trial=0, seed=0)[1].tolist() == [2, 7, 24, 32, 38, 47]


def test_every_row_validates_equally_often() -> None:
    data = many_cells(50)
    times = np.zeros(50)
    for trial in range(400):
        times[make_split(data, trial, seed=3)[1]] += 1
    # Binomial(400, 0.1): mean 40, sd 6
    assert times.sum() == 2000 and abs(times - 40).max() < 4.5 * 6


def test_a_fixed_validation_set_is_kept() -> None:
    data = some_images(np.arange(40, 50))
    for trial in range(3):
        train, valid = make_split(data, trial, seed=trial)
        assert valid.tolist() == list(range(40, 50)) and train.tolist() == list(range(40))


def test_two_cells_leave_one_for_training() -> None:
    train, valid = make_split(many_cells(2), 0, 0)
    assert len(train) == len(valid) == 1
