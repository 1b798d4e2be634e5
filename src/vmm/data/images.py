"""Readers of image data: IDX files (MNIST), scikit-learn's digits, ``.npz`` of the user."""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vmm.data.checks import as_text, listing
from vmm.data.raw import Files, RawImages
from vmm.data.splits import generator
from vmm.data.supplied import reading, supplied
from vmm.errors import InputError

Config = Mapping[str, Any]

IDX_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_valid": "t10k-images-idx3-ubyte.gz",
    "y_valid": "t10k-labels-idx1-ubyte.gz",
}
DIGITS = [str(digit) for digit in range(10)]
FASHION = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
SUBSET_SEED = 20240207


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes.

    The format: two zero bytes, 0x08 for unsigned bytes, the number of axes, the size of each axis
    as a big-endian 32-bit number, the values.

    Raises
    ------
    InputError
        If the file is not of this format, or is shorter or longer than it says.
    """
    with reading(path, "is truncated or damaged"):
        content = gzip.decompress(path.read_bytes())
    n_axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    if not 1 <= n_axes <= 3 or len(content) < 4 + 4 * n_axes:
        raise InputError(f"{path} is not an IDX file of unsigned bytes with one to three axes.")
    shape = struct.unpack(f">{n_axes}I", content[4 : 4 + 4 * n_axes])
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_axes)
    if len(values) != math.prod(shape):
        raise InputError(
            f"{path} holds {len(values):,} values, but its header says {math.prod(shape):,}."
        )
    return values.reshape(shape)


def read_idx_set(files: Files, config: Config, label_names: list[str]) -> RawImages:
    """Read the four files of MNIST or Fashion-MNIST; the test images are for validation."""
    arrays = {key: read_idx(files[name].path) for key, name in IDX_FILES.items()}
    for part in ("train", "valid"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.ndim != 3 or y.shape != x.shape[:1] or x.size == 0:
            image_file, label_file = (files[IDX_FILES[f"{kind}_{part}"]].path for kind in "xy")
            raise InputError(f"{image_file} {x.shape} and {label_file} {y.shape} do not match.")
    x = np.concatenate([arrays["x_train"], arrays["x_valid"]])
    labels = np.concatenate([arrays["y_train"], arrays["y_valid"]]).astype(np.int64)
    if labels.max() >= len(label_names):
        raise InputError(
            f"{files[IDX_FILES['y_train']].path} has labels above {len(label_names) - 1}."
        )
    height, width = x.shape[1:]
    n_train = len(arrays["x_train"])
    return RawImages(x.reshape(len(x), -1), labels, label_names, (height, width), n_train)


def read_digits(files: Files, config: Config) -> RawImages:
    """Read scikit-learn's handwritten digits: 1797 images of 8 × 8 pixels with values 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.data / 8 - 1).astype(np.float32)
    return RawImages(x, digits.target.astype(np.int64), DIGITS, (8, 8))


def read_npz(files: Files, config: Config) -> RawImages:
    """Read the user's ``.npz``: arrays ``x_train``, ``y_train``, ``x_valid``, ``y_valid``.

    Without the last two the split is made by trial. Images are N × H × W (a last axis of one
    channel may follow) or N × D with D a square. Pixels are whole numbers from 0 to 255, or
    floating-point numbers in [0, 1] or [-1, 1].

    Raises
    ------
    InputError
        If an array is missing, has another form or range, or if images and labels do not match.
    """
    (file,) = files.values()
    path = file.path
    arrays = _load_npz(path)
    fixed = "x_valid" in arrays or "y_valid" in arrays
    parts = ["train", "valid"] if fixed else ["train"]
    if missing := [f"{a}_{p}" for p in parts for a in "xy" if f"{a}_{p}" not in arrays]:
        raise InputError(f"{path} lacks {listing(missing)}; it has {listing(arrays)}.")
    images = [_as_images(arrays[f"x_{part}"], f"x_{part} of {path}") for part in parts]
    if len({image.shape[1:] for image in images}) > 1:
        raise InputError(f"{path}: x_train and x_valid hold images of different size.")
    n_train = len(images[0])
    stacked = np.concatenate(images)
    x, notes = _as_pixels(stacked, str(path))
    labels = [
        _as_labels(arrays[f"y_{p}"], i, f"y_{p} of {path}")
        for p, i in zip(parts, images, strict=True)
    ]
    names, codes = np.unique(np.concatenate(labels), return_inverse=True)
    if len(names) < 2:
        raise InputError(f"{path}: all labels are {names[0]}; at least 2 classes are needed.")
    height, width = stacked.shape[1:]
    return RawImages(
        x=x.reshape(len(x), -1),
        labels=codes.astype(np.int64),
        label_names=[as_text(name) for name in names],
        image_shape=(height, width),
        n_train=n_train if fixed else None,
        notes=notes,
    )


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    path = supplied(path, "`path:` must name an .npz file")
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path} cannot be read as an .npz (it is no zip archive, or truncated); write one by "
            "numpy.savez."
        )
    problem = "cannot be read as an .npz of plain arrays"
    with reading(path, problem), np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    # Members of the archive that are no arrays come as bytes.
    return {key: array for key, array in arrays.items() if isinstance(array, np.ndarray)}


def _as_images(x: np.ndarray, where: str) -> np.ndarray:
    """Bring images to N × H × W."""
    if x.ndim == 4 and x.shape[3] == 1:
        x = x[..., 0]
    if x.ndim == 2 and math.isqrt(x.shape[1]) ** 2 == x.shape[1]:
        x = x.reshape(len(x), math.isqrt(x.shape[1]), -1)
    if x.ndim != 3:
        raise InputError(
            f"{where} has the shape {x.shape}; it must be (N, height, width), or (N, D) with D a "
            f"square number: grey-scale images."
        )
    if 0 in x.shape:
        raise InputError(f"{where} is empty (shape {x.shape}).")
    return x


def _as_pixels(x: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """Bring pixels to uint8 or to float32 in [-1, 1]."""
    if x.dtype.kind not in "biuf":
        raise InputError(f"{where}: pixels are {x.dtype}; they must be numbers.")
    if not np.isfinite(x).all():
        raise InputError(f"{where}: some pixels are NaN or infinite.")
    low, high = float(x.min()), float(x.max())
    if x.dtype.kind == "b":
        return x.astype(np.uint8) * np.uint8(255), []
    if x.dtype.kind in "iu" and low >= 0 and high <= 255:
        return x.astype(np.uint8), []
    if x.dtype.kind == "f" and low >= 0 and high <= 1:
        note = "Pixels in [0, 1] were mapped to [-1, 1]."
        return (2 * x - 1).astype(np.float32), [note]
    if x.dtype.kind == "f" and low >= -1 and high <= 1:
        return x.astype(np.float32), []
    raise InputError(
        f"{where}: pixels of type {x.dtype} range from {low:g} to {high:g}; they must be whole "
        f"numbers from 0 to 255, or floating-point numbers in [0, 1] or [-1, 1]."
    )


def _as_labels(y: np.ndarray, images: np.ndarray, where: str) -> np.ndarray:
    if y.shape != (len(images),):
        raise InputError(f"{where} has the shape {y.shape}; it must be ({len(images)},).")
    if y.dtype.kind not in "biuUS":
        raise InputError(f"{where} is {y.dtype}; labels must be whole numbers or text.")
    return y


def subset(raw: RawImages, size: int) -> RawImages:
    """Take a random part of the images, for small machines.

    `size` counts training and validation images together, which keep their proportion. The choice
    depends on `size` and the number of images only, and a smaller part lies within a larger one.

    Parameters
    ----------
    raw
        All images.
    size
        How many to take; all, if there are not more.

    Raises
    ------
    InputError
        If `size` is not a whole number of at least 10.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 10:
        raise InputError(f"`n_subset: {size}` must be a whole number of at least 10.")
    total = len(raw.x)
    if size >= total:
        return raw
    n_train = total if raw.n_train is None else raw.n_train
    take_train = (
        size if raw.n_train is None else min(max(1, round(size * n_train / total)), size - 1)
    )
    random = generator(SUBSET_SEED, "subset")
    rows = [np.sort(random.permutation(n_train)[:take_train])]
    if raw.n_train is not None:
        rows.append(n_train + np.sort(random.permutation(total - n_train)[: size - take_train]))
    chosen = np.concatenate(rows)
    present, labels = np.unique(raw.labels[chosen], return_inverse=True)
    note = f"A random part of {size:,} of the {total:,} images (`n_subset:`)."
    return RawImages(
        x=raw.x[chosen],
        labels=labels.astype(np.int64),
        label_names=[raw.label_names[code] for code in present],
        image_shape=raw.image_shape,
        n_train=None if raw.n_train is None else take_train,
        notes=[*raw.notes, note],
    )
