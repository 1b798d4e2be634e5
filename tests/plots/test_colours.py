"""Palettes: far enough apart for colour-blind readers, stable, shown on white."""

from itertools import combinations

import numpy as np
import pytest

from vmm.benchmark.methods.records import METHODS
from vmm.plots.colours import (
    BATCH_PALETTE,
    METHOD_COLOURS,
    SINGLE,
    TYPE_PALETTE,
    batch_colours,
    category_colours,
    mix,
    tint,
)

DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
PROTANOPIA = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]


def _linear(colours) -> np.ndarray:
    srgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _oklab(linear: np.ndarray) -> np.ndarray:
    lms = (
        linear
        @ np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        ).T
    )
    return (
        np.cbrt(lms)
        @ np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        ).T
    )


def _closest(colours, matrix) -> float:
    seen = _oklab(np.clip(_linear(colours) @ np.transpose(matrix), 0, 1))
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2))


@pytest.mark.parametrize("palette", [TYPE_PALETTE, BATCH_PALETTE])
@pytest.mark.parametrize(("n", "least"), [(5, 0.16), (9, 0.085), (16, 0.066)])
@pytest.mark.parametrize("vision", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_first_colours_are_apart_for_every_vision(palette, n, least, vision):
    # 0.02 in OKLab is a just noticeable difference of large patches.
    assert _closest(palette[:n], vision) > least


@pytest.mark.parametrize("palette", [TYPE_PALETTE, BATCH_PALETTE])
def test_colours_show_on_white(palette):
    lightness = _oklab(_linear(palette))[:, 0]
    assert lightness.max() < 0.86
    assert lightness.min() > 0.3


def test_thirty_types_have_thirty_colours_and_more_get_tints():
    names = [f"type {i}" for i in range(65)]
    colours = category_colours(names)
    assert list(colours) == names
    assert len(set(colours.values())) == 65
    assert [colours[n] for n in names[:30]] == list(TYPE_PALETTE)
    assert colours["type 30"] == tint(TYPE_PALETTE[0], 1)


def test_colours_depend_on_position_only():
    assert category_colours(["a", "b", "c"])["b"] == category_colours(["x", "b"])["b"]


def test_single_batch_is_grey_and_batches_are_not_types():
    assert batch_colours(["all"]) == {"all": SINGLE}
    assert not set(batch_colours([str(i) for i in range(16)]).values()) & set(TYPE_PALETTE)


def test_mix_and_tint():
    assert mix("#000000", "#ffffff", 0.5) == "#808080"
    assert tint("#2372ae", 0) == "#2372ae"
    family = [tint("#2372ae", rank) for rank in range(7)]
    assert len(set(family)) == 7
    assert tint("#2372ae", 7) == family[0]


def test_every_trained_method_has_a_colour():
    methods = {m for of in METHODS.values() for m in of} - {"pca", "harmony", "scanorama"}
    assert methods == set(METHOD_COLOURS)
