"""Writing the names of categories onto their points without overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vmm.plots.style import outline, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 5.2
QUANTILES = (0.0, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85)
"""Where along a category's cells, from its centre outwards, a place is tried."""


def place_labels(
    axes: Axes,
    xy: np.ndarray,
    codes: np.ndarray,
    names: Mapping[int, str],
    least: float,
    corner: str = "",
) -> list[str]:
    """Write each category's name on its points near their centre, or beside a compact category.

    Larger categories choose first. One that finds no place free of other names stays without.
    Returned are the names that were written, largest category first.

    The limits of `axes` must be final. `codes` (N,) are the categories of the points `xy` (N, 2);
    those without a name, and those with a smaller share of the points than `least`, are not
    written. The text `corner` goes into the lower right corner, which is kept free of names.
    """
    present, sizes = np.unique(codes, return_counts=True)
    taken = [_write_corner(axes, corner)] if corner else []
    written = []
    for i in np.lexsort((present, -sizes)):
        code = int(present[i])
        if code not in names or sizes[i] < least * len(codes):
            continue
        half = _half_extent(axes, names[code])
        for place in _candidates(xy[codes == code], half):
            bounds = np.concatenate([place - half, place + half])
            if not _inside(axes, bounds) or any(_overlap(bounds, other) for other in taken):
                continue
            taken.append(bounds)
            written.append(names[code])
            text = axes.text(place[0], place[1], names[code], fontsize=SIZE, parse_math=False)
            text.set(ha="center", va="center", fontweight="bold", zorder=3)
            text.set_gid(f"name:{names[code]}")
            outline(text)
            break
    return written


def _write_corner(axes: Axes, text: str) -> np.ndarray:
    """Write `text` in the lower right corner and return its bounds in data units."""
    written = axes.text(0.98, 0.02, text, transform=axes.transAxes, fontsize=SIZE + 0.3)
    outline(written).set(ha="right", va="bottom", gid="corner")
    right_bottom = np.array([axes.get_xlim()[1], axes.get_ylim()[0]])
    extent = 2 * _half_extent(axes, text) + 0.035 * np.ptp(axes.get_xlim())
    left_top = right_bottom + extent * [-1, 1]
    return np.array([left_top[0], right_bottom[1], right_bottom[0], left_top[1]])


def _candidates(points: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Places for a name, best first: beside a compact category, on the points of a wide one."""
    centre = _centre(points)
    distance = np.linalg.norm(points - centre, axis=1)
    order = np.argsort(distance, kind="stable")
    inside = points[[order[int(q * (len(order) - 1))] for q in QUANTILES]]
    spread = float(np.quantile(distance, 0.7))
    if spread > 1.2 * half.max():
        return inside
    directions = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])
    return np.concatenate([centre + directions * (half + spread), inside])


def _centre(points: np.ndarray) -> np.ndarray:
    """Return the point with the nearest 30 % of its category around it: a robust centre."""
    some = points[:: -(-len(points) // 400)]
    distances = np.linalg.norm(some[:, None] - some[None], axis=2)
    return some[np.quantile(distances, 0.3, axis=1).argmin()]


def _half_extent(axes: Axes, name: str) -> np.ndarray:
    """Half the width and height of a name in data units."""
    scale = np.ptp(axes.get_xlim()) / (axes.bbox.width / axes.figure.dpi)
    return np.array([text_width(name, SIZE, "bold") + 0.02, SIZE / 72]) * scale / 2


def _inside(axes: Axes, bounds: np.ndarray) -> bool:
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    return bool(
        bounds[0] >= left and bounds[1] >= bottom and bounds[2] <= right and bounds[3] <= top
    )


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
