from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from vmm.data.download import Fetched
from vmm.data.images import read_digits, read_idx, read_npz, subset
from vmm.data.preparation import prepare
from vmm.data.raw import RawImages
from vmm.errors import InputError


def idx(array: np.ndarray, header: bytes | None = None) -> bytes:
    axes = struct.pack(f">{array.ndim}I", *array.shape)
    start = bytes([0, 0, 8, array.ndim]) if header is None else header
    return gzip.compress(start + axes + array.tobytes())


def test_idx_round_trip(tmp_path: Path) -> None:
    values = np.arange(30, dtype=np.uint8).reshape(5, 2, 3)
    path = tmp_path / "a.gz"
    path.write_bytes(idx(values))
    assert np.array_equal(read_idx(path), values)
    for content, problem in (
        (idx(values)[:-12], "truncated or damaged"),
        (idx(values, header=bytes([0, 0, 13, 3])), "not an IDX file"),
        (gzip.compress(b"\0\0\x08"), "not an IDX file"),
        (gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 7) + b"123"), "holds 3 values"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=problem):
            read_idx(path)


@pytest.mark.parametrize(
    ("name", "third", "mean"), [("mnist", "2", 0.1307), ("fashion_mnist", "Pullover", 0.2860)]
)
def test_both_complete_image_sets(
    shared_data: Path, tmp_path: Path, name: str, third: str, mean: float
) -> None:
    data = prepare(
        name, {}, shared_data / "mirror", tmp_path, tmp_path / "a.npz", tmp_path / "a.json"
    )
    assert data.x.shape == (70_000, 784) and data.x.dtype == np.uint8
    assert data.image_shape == (28, 28)
    assert data.valid.tolist() == list(range(60_000, 70_000))
    assert data.label_names[2] == third
    # the well-known mean of the training pixels, scaled to [0, 1]
    assert data.x[:60_000].mean(dtype=np.float64) / 255 == pytest.approx(mean, abs=5e-5)
    sizes = np.bincount(data.labels[60_000:]).tolist()
    known = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert sizes == (known if name == "mnist" else [1000] * 10)
    if name == "mnist":
        assert data.labels[:5].tolist() == [5, 0, 4, 1, 9]


def test_digits_are_scikit_learns() -> None:
    raw = read_digits({}, {})
    assert raw.x.shape == (1797, 64) and raw.x.dtype == np.float32 and raw.n_train is None
    assert raw.x.min() == -1 and raw.x.max() == 1
    np.testing.assert_allclose(raw.x[0, :8], np.array([0, 0, 5, 13, 9, 1, 0, 0]) / 8 - 1)
    assert np.bincount(raw.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def own(tmp_path: Path, **arrays: np.ndarray) -> RawImages:
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    return read_npz({"own.npz": Fetched(path)}, {})


X = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
Y = np.array([0, 1, 2, 0, 1, 2])


def test_own_images_in_every_accepted_form(tmp_path: Path) -> None:
    for x in (X, X.reshape(6, 4), X[..., None], X.astype(np.int64)):
        raw = own(tmp_path, x_train=x, y_train=Y)
        assert np.array_equal(raw.x, X.reshape(6, 4)) and raw.x.dtype == np.uint8
        assert raw.image_shape == (2, 2) and raw.n_train is None
    unit = own(tmp_path, x_train=X / 23, y_train=Y)
    np.testing.assert_allclose(unit.x, X.reshape(6, 4) / 11.5 - 1, atol=1e-6)
    assert "mapped to [-1, 1]" in unit.notes[0]
    signed = own(tmp_path, x_train=X / 11.5 - 1, y_train=Y)
    np.testing.assert_allclose(signed.x, unit.x, atol=1e-6)
    assert signed.notes == []
    binary = own(tmp_path, x_train=X > 11, y_train=Y)
    assert sorted(np.unique(binary.x)) == [0, 255]


def test_own_images_with_a_fixed_split(tmp_path: Path) -> None:
    names = np.array(["b", "a", "c"])
    raw = own(tmp_path, x_train=X[:4], y_train=names[Y[:4]], x_valid=X[4:], y_valid=names[Y[4:]])
    assert raw.n_train == 4 and raw.label_names == ["a", "b", "c"]
    assert raw.labels.tolist() == [1, 0, 2, 1, 0, 2]


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"x_train": X}, "lacks y_train; it has x_train"),
        ({"x_train": X, "y_train": Y, "x_valid": X}, "lacks y_valid"),
        ({"x_train": X, "y_train": Y[:5]}, r"shape \(5,\); it must be \(6,\)"),
        ({"x_train": X, "y_train": Y + 0.5}, "whole numbers or text"),
        ({"x_train": X, "y_train": Y * 0}, "all labels are 0"),
        ({"x_train": X[:, :1, :].reshape(6, 2), "y_train": Y}, "D a square number"),
        ({"x_train": np.stack([X] * 3, axis=3), "y_train": Y}, "grey-scale"),
        ({"x_train": X[:0], "y_train": Y[:0]}, "is empty"),
        ({"x_train": X * 1.0, "y_train": Y}, "range from 0 to 23; they must be"),
        ({"x_train": X.astype(int) * 20, "y_train": Y}, "range from 0 to 460"),
        ({"x_train": np.where(X == 3, np.nan, 0.5), "y_train": Y}, "NaN or infinite"),
        ({"x_train": X.astype(str), "y_train": Y}, "must be numbers"),
        ({"x_train": X.astype(object), "y_train": Y}, "plain arrays"),
        (
            {
                "x_train": X,
                "y_train": Y,
                "x_valid": np.zeros((2, 3, 3), np.uint8),
                "y_valid": Y[:2],
            },
            "different size",
        ),
    ],
)
def test_own_images_that_are_refused(tmp_path: Path, arrays: dict, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        own(tmp_path, **arrays)
    assert "own.npz" in str(caught.value)


def numbered(n: int, n_train: int | None) -> RawImages:
    x = np.arange(n, dtype=np.float32)[:, None] / n
    return RawImages(x, np.arange(n) % 4, list("abcd"), (1, 1), n_train)


def test_a_subset_keeps_the_proportion_and_grows_by_addition() -> None:
    raw = numbered(700, 600)
    small, large = subset(raw, 70), subset(raw, 350)
    assert (small.n_train, len(small.x)) == (60, 70)
    assert (large.n_train, len(large.x)) == (300, 350)
    assert set(small.x[:60, 0]) < set(large.x[:300, 0]) <= set(raw.x[:600, 0])
    assert set(small.x[60:, 0]) < set(large.x[300:, 0]) <= set(raw.x[600:, 0])
    assert np.array_equal(subset(raw, 70).x, small.x)
    assert "70 of the 700 images" in small.notes[0]
    assert subset(raw, 700) is raw and subset(raw, 9999) is raw
    free = subset(numbered(700, None), 70)
    assert free.n_train is None and len(free.x) == 70


def test_a_subset_forgets_absent_classes() -> None:
    raw = numbered(100, None)
    raw.labels = np.where(np.arange(100) < 99, 0, 3)
    assert subset(raw, 10).label_names in (["a"], ["a", "d"])
    for size in (9, 20.0, True, "20"):
        with pytest.raises(InputError, match="n_subset"):
            subset(raw, size)
