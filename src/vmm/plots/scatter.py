"""One layout of cells, coloured by one property, with a sorted legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.errors import InputError
from vmm.plots.colours import batch_colours, category_colours
from vmm.plots.legends import PITCH, SWATCH, inches
from vmm.plots.mde_figure import frame
from vmm.plots.placing import place_labels
from vmm.plots.style import FONT_SIZE, MUTED, SMALL, new_figure, shorten, styled, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL, TOP, EDGE, GAP = 3.4, 0.28, 0.08, 0.14
LONGEST = 1.7
"""Greatest width of a name in the legend, in inches."""


@styled
def scatter_figure(
    coordinates: np.ndarray,
    codes: np.ndarray,
    names: Sequence[str],
    title: str = "",
    batches: bool = False,
) -> Figure:
    """Draw cells in the plane, coloured by category.

    The legend lists the categories in the order of `names`, each with its number of cells. Points
    are drawn in a random order, so that no category hides another. Names are written on the points,
    except on those of batches, which mix.

    Parameters
    ----------
    coordinates
        (N, 2).
    codes
        (N,) codes into `names`.
    names
        Of the categories, in the order of the legend.
    title
        Printed above.
    batches
        Whether categories are batches: muted colours, no names on the points.

    Returns
    -------
    matplotlib.figure.Figure
        Axes are labelled ``cells`` and ``legend``.

    Raises
    ------
    InputError
        If lengths disagree.
    """
    xy, codes = np.asarray(coordinates, dtype=float), np.asarray(codes)
    if xy.shape != (len(codes), 2) or not len(codes):
        raise InputError(f"coordinates of {len(codes)} cells have the shape {xy.shape}")
    names = [str(name) for name in names]
    colours = batch_colours(names) if batches else category_colours(names)
    sizes = np.bincount(codes, minlength=len(names))
    rows = int((PANEL - 0.1) / PITCH)
    columns = -(-len(names) // rows)
    number = max(text_width(f"{n:,}", SMALL) for n in sizes)
    width = min(max(text_width(name, SMALL) for name in names), LONGEST)
    step = SWATCH + 0.06 + width + 0.1 + number + 0.15
    page = EDGE + PANEL + GAP + columns * step
    tall = TOP + PANEL + EDGE
    figure = new_figure(page, tall)
    axes = figure.add_axes((EDGE / page, EDGE / tall, PANEL / page, PANEL / tall), label="cells")
    axes.set_title(title, fontsize=FONT_SIZE + 1, fontweight="bold", loc="left", pad=4)
    order = np.random.default_rng(0).permutation(len(codes))
    points = axes.scatter(
        xy[order, 0], xy[order, 1], c=np.array([*colours.values()])[codes[order]], zorder=1
    )
    points.set(sizes=[np.clip(8000 / len(codes), 0.5, 10)], linewidths=0, rasterized=True)
    frame(axes, xy)
    if not batches:
        place_labels(axes, xy, codes, dict(enumerate(names)), least=0.004)
    box = ((EDGE + PANEL + GAP) / page, EDGE / tall, columns * step / page, PANEL / tall)
    legend = inches(figure.add_axes(box, label="legend"), columns * step, PANEL)
    for i, (name, colour) in enumerate(colours.items()):
        x, y = (i // rows) * step, (i % rows + 0.5) * PITCH
        legend.plot(x + SWATCH / 2, y, "s", color=colour, ms=SWATCH * 72, mew=0)
        at = x + SWATCH + 0.06
        entry: dict[str, Any] = {"fontsize": SMALL, "va": "center", "parse_math": False}
        legend.text(at, y, shorten(name, width, SMALL), gid=f"legend:{name}", **entry)
        legend.text(x + step - 0.15, y, f"{sizes[i]:,}", ha="right", color=MUTED, **entry)
    return figure
