"""Preparation of images: a part of them if asked for, and numbers that describe the result."""

from __future__ import annotations

from typing import Any

import numpy as np

from vmm.data import checks
from vmm.data.containers import ImageData
from vmm.data.randomness import generator
from vmm.data.raw import Config, RawImages
from vmm.data.source import Source
from vmm.errors import InputError

SUBSET_SEED = 20240207


def build(
    raw: RawImages, name: str, source: Source, config: Config
) -> tuple[ImageData, dict[str, Any], list[str]]:
    """Prepare images, or the part of them that ``n_subset`` asks for."""
    if "n_subset" in config:
        raw = subset(raw, config["n_subset"])
    valid = None if raw.n_train is None else np.arange(raw.n_train, len(raw.x), dtype=np.int64)
    data = ImageData(name, raw.x, raw.labels, raw.label_names, raw.image_shape, valid)
    return data, describe(data), raw.notes


def subset(raw: RawImages, size: int) -> RawImages:
    """Take a random part of the images, for small machines; all, if there are not more.

    `size`, at least 10, counts training and validation images together, which keep their
    proportion. The choice depends on `size` and the number of images only, and a smaller part lies
    within a larger one.
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


def describe(data: ImageData) -> dict[str, Any]:
    """Numbers about images, counted from the data."""
    return {
        "n_images": len(data),
        "n_valid": None if data.valid is None else len(data.valid),
        "image_shape": list(data.image_shape),
        "pixels": str(data.x.dtype),
        "n_types": data.n_types,
        "classes": checks.sizes(data.labels, data.label_names),
    }
