"""IDX files, the format of MNIST and of the sets made after it."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np

from vmm.data.raw import Files, RawImages
from vmm.data.supplied import reading
from vmm.errors import InputError


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes, which is as long as it says.

    The format: two zero bytes, 0x08 for unsigned bytes, the number of axes, the size of each axis
    as a big-endian 32-bit number, the values.
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


def read_set(files: Files, label_names: list[str]) -> RawImages:
    """Read a set of four files; its test images are for validation.

    Images and labels for training come first, then images and labels for validation.
    """
    paths = [file.path for file in files.values()]
    x_train, y_train, x_valid, y_valid = arrays = [read_idx(path) for path in paths]
    for i in (0, 2):
        x, y = arrays[i : i + 2]
        if x.ndim != 3 or y.shape != x.shape[:1] or x.size == 0:
            raise InputError(f"{paths[i]} {x.shape} and {paths[i + 1]} {y.shape} do not match.")
    x = np.concatenate([x_train, x_valid])
    labels = np.concatenate([y_train, y_valid]).astype(np.int64)
    if labels.max() >= len(label_names):
        raise InputError(f"{paths[1]} has labels above {len(label_names) - 1}.")
    height, width = x.shape[1:]
    return RawImages(x.reshape(len(x), -1), labels, label_names, (height, width), len(x_train))
