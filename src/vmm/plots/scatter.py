"""One layout of cells, coloured by one property, with a sorted legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.errors import InputError
from vmm.plots.colours import UNLABELLED, batch_colours, category_colours
from vmm.plots.legends import PITCH, SWATCH, inches
from vmm.plots.mde_figure import frame
from vmm.plots.placing import place_labels
from vmm.plots.style import (
    FONT_SIZE,
    MUTED,
    SMALL,
    new_figure,
    outline,
    shorten,
    styled,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

PANEL, TOP, EDGE, GAP = 3.4, 0.28, 0.08, 0.14
LONGEST = 1.7
"""Greatest width of a name in the legend, in inches."""
ROWS = int((PANEL - 0.1) / PITCH)
MOST = 3 * ROWS
"""Entries of the legend. Of more categories the largest are listed, the cells of others grey."""
BAR, BAR_WIDTH = 0.55, 0.1
"""Width of the colour bar with its numbers, and without."""
NO_VALUE, OTHERS = "no value", "others"
COLOURS_OF_NUMBERS = "viridis"


@styled
def scatter_figure(
    coordinates: np.ndarray,
    codes: np.ndarray,
    names: Sequence[str],
    title: str = "",
    batches: bool = False,
    missing: str = NO_VALUE,
) -> Figure:
    """Draw cells in the plane, coloured by category.

    The legend lists the categories that have cells, in the order of `names`, each with its number
    of cells; of more than :data:`MOST` the largest, and the others together. Points are drawn in a
    random order, so that no category hides another. Names are written on the points, except on
    those of batches, which mix, and have muted colours.

    `codes` (N,) are into `names`; -1 is drawn in grey and called `missing`. Cells whose coordinates
    (N, 2) are not finite are counted in the legend and not drawn, and the figure says of how many
    cells it is. Axes are labelled ``cells`` and ``legend``.
    """
    xy, codes = np.asarray(coordinates, dtype=float), np.asarray(codes)
    _check(xy, codes)
    names = [str(name) for name in names]
    given = (batch_colours(names) if batches else category_colours(names)) if names else {}
    colours = np.array([*given.values(), UNLABELLED])
    entries = _entries(codes, names, missing)
    listed = [code for code, _, _ in entries if code >= 0]
    number = max(text_width(f"{n:,}", SMALL) for _, _, n in entries)
    width = min(max(text_width(name, SMALL) for _, name, _ in entries), LONGEST)
    step = SWATCH + 0.06 + width + 0.1 + number + 0.15
    beside = -(-len(entries) // ROWS) * step
    figure, axes = _panel(title, beside)
    xy, codes = _placed(axes, xy, codes)
    shown = np.where(np.isin(codes, listed), codes, -1)
    order = np.random.default_rng(0).permutation(len(codes))
    _draw(axes, xy, order, c=colours[shown[order]])
    frame(axes, xy)
    if not batches:
        place_labels(axes, xy, codes, {code: names[code] for code in listed}, least=0.004)
    legend = inches(_beside(figure, "legend", beside), beside, PANEL)
    for i, (code, name, n) in enumerate(entries):
        x, y = (i // ROWS) * step, (i % ROWS + 0.5) * PITCH
        legend.plot(x + SWATCH / 2, y, "s", color=colours[code], ms=SWATCH * 72, mew=0)
        at = x + SWATCH + 0.06
        entry: dict[str, Any] = {"fontsize": SMALL, "va": "center", "parse_math": False}
        legend.text(at, y, shorten(name, width, SMALL), gid=f"legend:{name}", **entry)
        legend.text(x + step - 0.15, y, f"{n:,}", ha="right", color=MUTED, **entry)
    return figure


@styled
def number_figure(coordinates: np.ndarray, values: np.ndarray, title: str = "") -> Figure:
    """Draw cells in the plane, coloured by a number, with a colour bar.

    High values are drawn last, so that the few cells that express a gene are seen. Values (N,) that
    are not finite are drawn in grey, below all else, and counted; coordinates are as for
    :func:`scatter_figure`. Axes are labelled ``cells`` and ``key``.
    """
    xy, values = np.asarray(coordinates, dtype=float), np.asarray(values, dtype=float)
    _check(xy, values)
    figure, axes = _panel(title, BAR)
    xy, values = _placed(axes, xy, values)
    known = np.isfinite(values)
    _draw(axes, xy, np.flatnonzero(~known), c=UNLABELLED)
    order = np.flatnonzero(known)
    order = order[np.argsort(values[known], kind="stable")]
    points = _draw(axes, xy, order, c=values[order], cmap=COLOURS_OF_NUMBERS, zorder=2)
    frame(axes, xy)
    if len(order):
        bar = _beside(figure, "key", BAR_WIDTH)
        figure.colorbar(points, cax=bar)
    if len(order) < len(values):
        note = f"grey: no number ({len(values) - len(order):,})"
        text = axes.text(0.98, 0.02, note, transform=axes.transAxes, fontsize=SMALL, color=MUTED)
        outline(text).set(ha="right", va="bottom")
    return figure


def _check(xy: np.ndarray, values: np.ndarray) -> None:
    if xy.shape != (len(values), 2) or not len(values):
        raise InputError(f"coordinates of {len(values)} cells have the shape {xy.shape}")
    if not np.isfinite(xy).all(1).any():
        raise InputError(f"none of {len(values)} cells has finite coordinates")


def _placed(axes: Axes, xy: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates and values of the cells that are drawn, and say if these are not all."""
    drawn = np.isfinite(xy).all(1)
    if not drawn.all():
        note = f"{drawn.sum():,} of {len(xy):,} cells drawn"
        text = axes.text(0.02, 0.98, note, transform=axes.transAxes, fontsize=SMALL, color=MUTED)
        outline(text).set(ha="left", va="top")
    return xy[drawn], values[drawn]


def _entries(codes: np.ndarray, names: Sequence[str], missing: str) -> list[tuple[int, str, int]]:
    """Return code, name and number of cells of what the legend lists; -1 for what is grey."""
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    n_missing = int((codes < 0).sum())
    room, n = MOST - (n_missing > 0), np.count_nonzero(sizes)  # none without a cell
    largest = np.argsort(-sizes, kind="stable")[: n if n <= room else room - 1]
    listed = sorted(int(code) for code in largest)
    entries = [(code, names[code], int(sizes[code])) for code in listed]
    if len(listed) < n:
        rest = int(sizes.sum()) - sum(size for _, _, size in entries)
        entries.append((-1, f"{OTHERS} ({n - len(listed):,})", rest))
    if n_missing:
        entries.append((-1, missing, n_missing))
    return entries


def _panel(title: str, beside: float) -> tuple[Figure, Axes]:
    """Return a figure with room for so many inches at the right, and the axes of the cells."""
    page, tall = EDGE + PANEL + GAP + beside, TOP + PANEL + EDGE
    figure = new_figure(page, tall)
    axes = figure.add_axes((EDGE / page, EDGE / tall, PANEL / page, PANEL / tall), label="cells")
    font: dict[str, Any] = {"fontsize": FONT_SIZE + 1, "fontweight": "bold", "parse_math": False}
    axes.set_title(shorten(title, PANEL, FONT_SIZE + 1.5), loc="left", pad=4, **font)
    return figure, axes


def _beside(figure: Figure, label: str, width: float) -> Axes:
    """Return axes of so many inches at the right of the cells."""
    page, tall = figure.get_size_inches()
    box = ((EDGE + PANEL + GAP) / page, EDGE / tall, width / page, PANEL / tall)
    return figure.add_axes(box, label=label)


def _draw(axes: Axes, xy: np.ndarray, order: np.ndarray, **options: Any) -> PathCollection:
    """Draw points in this order, smaller the more there are."""
    points = axes.scatter(xy[order, 0], xy[order, 1], **{"zorder": 1} | options)
    points.set(sizes=[np.clip(8000 / len(xy), 0.5, 10)], linewidths=0, rasterized=True)
    return points
