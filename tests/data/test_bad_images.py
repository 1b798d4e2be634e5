"""Bad archives of images: the user's ``.npz``, and the IDX files of MNIST."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_input import assert_one_sentence, job, listing, public_folder, unprivileged

from vmm.data import ImageData, prepare
from vmm.data.images import read_idx

X = np.random.default_rng(0).integers(0, 256, (20, 4, 4)).astype(np.uint8)
Y = np.arange(20) % 3


def as_job(path: Path, folder: Path, **settings):
    """Prepare a file as the pipeline does."""
    config = {"kind": "images", "path": str(path)} | settings
    results = folder / "out.npz", folder / "out.json"
    return job(prepare, "mine", config, None, folder / "downloads", *results)


def assert_refused(path: Path, sentence: str, **settings) -> None:
    """Assert one sentence that names the file, and an unchanged folder."""
    before = listing(path.parent)
    ended = as_job(path, path.parent, **settings)
    assert_one_sentence(ended, sentence)
    assert_one_sentence(ended, "my.npz")
    assert listing(path.parent) == before


# ------------------------------------------------------------------------------------ wrong arrays


def arrays(**changes) -> dict[str, np.ndarray]:
    """Return the two arrays of a good archive, with others added or instead."""
    return {"x_train": X, "y_train": Y} | changes


def validated(**changes) -> dict[str, np.ndarray]:
    return arrays(x_valid=X[:5], y_valid=Y[:5]) | changes


SHAPE = "must be (N, height, width), or (N, D) with D a square number: grey-scale images."
RANGE = "they must be whole numbers from 0 to 255, or floating-point numbers in [0, 1] or [-1, 1]."
ARRAYS = {
    "no labels": ({"x_train": X}, "my.npz lacks y_train; it has x_train."),
    "no images": ({"y_train": Y}, "my.npz lacks x_train; it has y_train."),
    "other names": ({"images": X, "labels": Y}, "lacks x_train, y_train; it has images, labels."),
    "nothing in it": ({}, "my.npz lacks x_train, y_train; it has none."),
    "no labels for validation": (arrays(x_valid=X), "my.npz lacks y_valid; it has x_train, y_tr"),
    "a single number": (arrays(x_train=np.float32(1)), "has the shape (); it must be"),
    "one axis": (arrays(x_train=X.ravel()), f"x_train of @ has the shape (320,); it {SHAPE}"),
    "colours": (arrays(x_train=np.stack([X] * 3, 3)), f"has the shape (20, 4, 4, 3); it {SHAPE}"),
    "five axes": (arrays(x_train=X[..., None, None]), f"the shape (20, 4, 4, 1, 1); it {SHAPE}"),
    "no square": (arrays(x_train=X.reshape(20, 16)[:, 1:]), f"has the shape (20, 15); it {SHAPE}"),
    "no image": (arrays(x_train=X[:0], y_train=Y[:0]), "is empty (shape (0, 4, 4))."),
    "no pixel": (arrays(x_train=X[:, :0]), "x_train of @ is empty (shape (20, 0, 4))."),
    "no image to validate on": (validated(x_valid=X[:0], y_valid=Y[:0]), "x_valid of @ is empty"),
    "two sizes": (validated(x_valid=X[:5, :3]), "x_train and x_valid hold images of different"),
    "NaN": (arrays(x_train=np.where(X > 250, np.nan, X / 255)), "some pixels are NaN or infinite."),
    "Inf": (arrays(x_train=np.where(X > 250, np.inf, X / 255)), "some pixels are NaN or infinite."),
    "floats up to 255": (arrays(x_train=X * 1.0), f"of type float64 range from 0 to 255; {RANGE}"),
    "negative": (arrays(x_train=X.astype(int) - 5), f"int64 range from -5 to 250; {RANGE}"),
    "more than 255": (arrays(x_train=X.astype(int) * 2), f"int64 range from 0 to 510; {RANGE}"),
    "two scales": (validated(x_valid=X[:5] / 255), f"float64 range from 0 to 255; {RANGE}"),
    "complex": (arrays(x_train=X * 1j), "pixels are complex128; they must be numbers."),
    "words": (arrays(x_train=X.astype(str)), "pixels are <U3; they must be numbers."),
    "records": (arrays(x_train=np.zeros((20, 4, 4), [("a", "f4")])), "they must be numbers."),
    "objects": (arrays(x_train=X.astype(object)), "as an .npz of plain arrays: Object arrays"),
    "labels of other length": (arrays(y_train=Y[:5]), "y_train of @ has the shape (5,); it must be "
                               "(20,)."),
    "labels of two axes": (arrays(y_train=np.eye(20)), "has the shape (20, 20); it must be (20,)."),
    "fractional labels": (arrays(y_train=Y / 2), "is float64; labels must be whole numbers or"),
    "dates as labels": (arrays(y_train=Y.astype("M8[D]")), "is datetime64[D]; labels must be"),
    "one label": (arrays(y_train=Y * 0), "all labels are 0; at least 2 classes are needed."),
}  # fmt: skip


@pytest.mark.parametrize(("given", "sentence"), ARRAYS.values(), ids=ARRAYS.keys())
def test_wrong_arrays_are_refused(given, sentence, tmp_path):
    np.savez(tmp_path / "my.npz", **given)
    for part in filter(None, sentence.split("@")):
        assert_refused(tmp_path / "my.npz", part)


def test_too_small_a_part(tmp_path):
    np.savez(tmp_path / "my.npz", **arrays())
    ended = as_job(tmp_path / "my.npz", tmp_path, n_subset=5)
    assert_one_sentence(ended, "`n_subset: 5` must be a whole number of at least 10.")
    assert listing(tmp_path).keys() == {"my.npz"}


# ----------------------------------------------------------------------------------- wrong archives


class Trap:
    """What runs a command when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def npz(path: Path, **changes) -> bytes:
    np.savez(path, **arrays(**changes))
    return path.read_bytes()


def as_npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def zipped(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def huge_shape() -> bytes:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 28, 28), }"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n"


def flip(path: Path) -> None:
    content = bytearray(npz(path))
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


NO_ZIP = "my.npz cannot be read as an .npz (it is no zip archive, or truncated); write one by numpy"
NOT_PLAIN = "my.npz cannot be read as an .npz of plain arrays: "
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda p: p.write_text("x,y\n"), NO_ZIP),
    "nothing": (lambda p: p.touch(), NO_ZIP),
    "an .npy": (lambda p: p.write_bytes(as_npy(X)), NO_ZIP),
    "a tenth": (lambda p: p.write_bytes(npz(p)[:200]), NO_ZIP),
    "nearly all": (lambda p: p.write_bytes(npz(p)[:-30]), NO_ZIP),
    "a changed byte": (flip, NOT_PLAIN + "Bad CRC-32 for file "),
    "a short array": (lambda p: zipped(p, **{"x_train.npy": as_npy(X)[:-9]}), NOT_PLAIN + "EOF: "),
    "no arrays": (lambda p: zipped(p, x_train=b"hello", y_train=b"you"),
                  "my.npz lacks x_train, y_train; it has none."),
    "a shape beyond memory": (lambda p: zipped(p, **{"x_train.npy": huge_shape()}), NOT_PLAIN),
    "a name outside": (lambda p: zipped(p, **{"../../x_train.npy": as_npy(X)}), "lacks x_train"),
    "a pickle": (lambda p: p.write_bytes(pickle.dumps(Trap())), NO_ZIP),
    "pickled images": (lambda p: npz(p, x_train=np.array([Trap()])), NOT_PLAIN + "Object arrays "),
    "pickled labels": (lambda p: npz(p, y_train=np.array([Trap()])), NOT_PLAIN + "Object arrays "),
    "a folder": (lambda p: p.mkdir(), "my.npz is not a file; `path:` of the data set 'mine' must"),
    "no file": (lambda p: None, "my.npz does not exist; `path:` of the data set 'mine' must name"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "sentence"), FILES.values(), ids=FILES.keys())
def test_wrong_archives_are_refused(make, sentence, tmp_path, monkeypatch):
    """And nothing in them is run or unpacked."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "my.npz")
    assert_refused(tmp_path / "my.npz", sentence)
    assert not (tmp_path / "sprung").exists()


def test_an_archive_without_permission():
    with public_folder() as folder:
        npz(folder / "my.npz")
        (folder / "my.npz").chmod(0)
        with unprivileged():
            assert_refused(folder / "my.npz", "my.npz cannot be read (Permission denied); ")


# ------------------------------------------------------------------------------------ odd but legal

SQUARES = X.reshape(20, 16)
ODD = {
    "a channel": (arrays(x_train=X[..., None]), SQUARES, "0 1 2"),
    "squares": (arrays(x_train=SQUARES), SQUARES, "0 1 2"),
    "int64": (arrays(x_train=X.astype(np.int64)), SQUARES, "0 1 2"),
    "truth values": (arrays(x_train=X > 99), (SQUARES > 99) * 255, "0 1 2"),
    "from 0 to 1": (arrays(x_train=X / 255), 2 * np.float32(SQUARES / 255) - 1, "0 1 2"),
    "float16": (arrays(x_train=np.float16(X / 256)), 2 * np.float32(SQUARES / 256) - 1, "0 1 2"),
    "all black": (arrays(x_train=X * 0), SQUARES * 0, "0 1 2"),
    "negative labels": (arrays(y_train=Y - 1), SQUARES, "-1 0 1"),
    "bytes as labels": (arrays(y_train=np.array([b"a", b"\xff"] * 10)), SQUARES, "a �"),
    "labels with markup": (arrays(y_train=np.array(["<b>", "{x}"] * 10)), SQUARES, "<b> {x}"),
    "a class that is only validated on": (
        validated(x_valid=X, y_valid=Y + 2), np.vstack([SQUARES, SQUARES]), "0 1 2 3 4"),
    "further arrays": (arrays(note=np.zeros(3)), SQUARES, "0 1 2"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "pixels", "classes"), ODD.values(), ids=ODD.keys())
def test_odd_images_are_taken_as_they_are(given, pixels, classes, tmp_path):
    np.savez(tmp_path / "my.npz", **given)
    ended = as_job(tmp_path / "my.npz", tmp_path)
    assert ended.status == 0, ended.said
    data = ImageData.load(tmp_path / "out.npz")
    np.testing.assert_allclose(data.x, pixels, rtol=0, atol=1e-3 if data.x.dtype.kind == "f" else 0)
    assert data.label_names == classes.split(" ")


# -------------------------------------------------------------------------------------- IDX files


def idx(*shape: int, values: int | None = None, start: bytes = b"\0\0\x08") -> bytes:
    """Return the content of an IDX file."""
    n = int(np.prod(shape, dtype=object)) if values is None else values
    return start + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(n)


NO_IDX = "is not an IDX file of unsigned bytes with one to three axes."
IDX = {
    "not gzip": (idx(2, 2), "is truncated or damaged: Not a gzipped file"),
    "truncated": (gzip.compress(idx(2, 2))[:-6], "is truncated or damaged: Compressed file ended"),
    "a changed byte": (gzip.compress(idx(9, 9))[:12] + b"\xff" * 20, "is truncated or damaged: "),
    "nothing": (b"", NO_IDX),
    "nothing in it": (gzip.compress(b""), NO_IDX),
    "wrong magic number": (gzip.compress(idx(2, 2, start=b"\1\2\x08")), NO_IDX),
    "floating-point": (gzip.compress(idx(2, 2, start=b"\0\0\x0d")), NO_IDX),
    "half a header": (gzip.compress(idx(2, 2)[:7]), NO_IDX),
    "no axes": (gzip.compress(idx(values=1)), NO_IDX),
    "255 axes": (gzip.compress(b"\0\0\x08\xff" + bytes(1021)), NO_IDX),
    "too short": (gzip.compress(idx(2, 2, values=3)), "holds 3 values, but its header says 4."),
    "too long": (gzip.compress(idx(2, 2, values=5)), "holds 5 values, but its header says 4."),
    "a size beyond memory": (
        gzip.compress(idx(2**31, 2**31, 4, values=4)),
        "holds 4 values, but its header says 18,446,744,073,709,551,616."),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), IDX.values(), ids=IDX.keys())
def test_wrong_idx_files_are_refused(content, sentence, tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    ended = job(read_idx, path)
    assert_one_sentence(ended, sentence)
    assert ended.said.startswith(str(path))
