from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from vmm.data.preparation import prepare
from vmm.data.sources.idx import read_idx
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
