"""The user's own images: an ``.npz`` of arrays."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from vmm.data.checks import counted
from vmm.data.messages import as_text, listing
from vmm.data.raw import Config, Files, RawImages
from vmm.data.supplied import reading, supplied
from vmm.errors import InputError


def read(files: Files, config: Config) -> RawImages:
    """Read the user's ``.npz``: arrays ``x_train``, ``y_train``, ``x_valid``, ``y_valid``.

    Without the last two the split is made by trial. Images are N × H × W (a last axis of one
    channel may follow) or N × D with D a square. Pixels are whole numbers from 0 to 255, or
    floating-point numbers in [0, 1] or [-1, 1].
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
    order = sorted(range(len(names)), key=lambda code: counted(names[code]))
    names, codes = names[order], np.argsort(order)[codes]
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
