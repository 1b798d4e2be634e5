from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vmm.data.download import Fetched
from vmm.data.npz import read
from vmm.data.raw import RawImages
from vmm.errors import InputError


def own(tmp_path: Path, **arrays: np.ndarray) -> RawImages:
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    return read({"own.npz": Fetched(path)}, {})


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
