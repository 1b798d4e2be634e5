"""Drawing Figures 3, 6, 7, 8: one row per prior; batch, cell type and cluster as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vmm.errors import InputError
from vmm.plots import legends
from vmm.plots.clusters import UNKNOWN, Cluster, describe_clusters, type_marks
from vmm.plots.colours import UNLABELLED, batch_colours, category_colours
from vmm.plots.placing import place_labels
from vmm.plots.style import FAINT, FONT_SIZE, MUTED, PAGE_WIDTH, SMALL, new_figure, outline, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, TOP, BOTTOM, GAP = 0.24, 0.24, 0.06, 0.06
NOTE_HEIGHT = 0.16
SIDE_GAP, RIGHT = 0.14, 0.04
"""Space before and after the column of legends, in inches."""
LEGEND_GAP = 0.1
MOST_EMPTY = 2.0
"""How many inches legends at the side may be higher than the panels."""
COLUMNS = ("Batch", "Cell type", "Cluster")
LEAST_LABELLED = 0.004
"""Categories with a smaller share of the cells get no number in the panel."""


class _Cells(NamedTuple):
    """What all panels share."""

    batch: np.ndarray
    labels: np.ndarray
    batch_colours: dict[str, str]
    type_colours: dict[str, str]
    marks: list[str]
    order: np.ndarray
    point_size: float

    @property
    def unlabelled(self) -> int:
        """Number of cells without a label."""
        return int((self.labels < 0).sum())


class _Legend(NamedTuple):
    """Where the legends stand: at the side, or below where they would need much more height."""

    below: bool
    width: float
    batch_columns: int
    batch_width: float
    type_columns: int
    type_width: float
    height: float


_Part = tuple[int, float]
"""Columns of a legend, and its width."""


@styled
def mde_figure(
    coordinates: Mapping[str, np.ndarray],
    batch: np.ndarray,
    batch_names: Sequence[str],
    labels: np.ndarray,
    label_names: Sequence[str],
    clusters: Mapping[str, np.ndarray | None],
    note: str = "",
) -> Figure:
    """Draw one of Figures 3, 6, 7, 8 of the paper.

    Every row shows one layout three times: coloured by batch, by cell type and by cluster. A cell
    type has one colour and one number throughout; one that is called by a number has that one. A
    cluster is named and coloured after its most frequent cell type (see
    :func:`vmm.plots.clusters.describe_clusters`): ``3a`` is the largest cluster of type 3. Cells
    without a label are grey. Points are drawn in one random order, so that no category hides
    another, and are rasterised in vector files.

    Parameters
    ----------
    coordinates
        ``{row label: (N, 2)}``, top row first.
    batch, labels
        Codes (N,) into the names; a label may be -1: none.
    batch_names, label_names
        Names of all batches and cell types.
    clusters
        ``{row label: (N,) integers}``; None, or no entry, where the prior has no clusters: the
        panel then holds the key.
    note
        Printed below all rows.

    Returns
    -------
    matplotlib.figure.Figure
        Axes are labelled ``<row label>/<column>``; the legends are in ``legend``.

    Raises
    ------
    InputError
        If lengths disagree or a code has no name.
    """
    _check(coordinates, batch, batch_names, labels, label_names, clusters)
    n = len(labels)
    cells = _Cells(
        np.asarray(batch),
        np.asarray(labels),
        batch_colours(batch_names),
        category_colours(label_names),
        type_marks(label_names),
        np.random.default_rng(0).permutation(n),
        float(np.clip(5000 / n, 0.35, 7.0)),
    )
    type_colours = list(cells.type_colours.values())
    described = {
        row: describe_clusters(np.asarray(clusters[row]), cells.labels, type_colours, cells.marks)
        for row in coordinates
        if clusters.get(row) is not None
    }
    bottom = BOTTOM + (NOTE_HEIGHT if note else 0)
    guide = len(coordinates) == len(described)
    legend = _legend(cells, described, guide, len(coordinates))
    figure, panels, axes = _lay_out(list(coordinates), legend, bottom)
    if note:
        figure.text(LEFT / PAGE_WIDTH, 0.04 / figure.get_figheight(), note, parse_math=False)
    explained = next((row for row in coordinates if row not in described), None)
    for row, xy in coordinates.items():
        own = bool(described) and row == explained
        _draw_row(panels[row], row, np.asarray(xy, dtype=float), cells, clusters, described, own)
    _draw_legends(axes, cells, described, legend, guide)
    return figure


def _check(coordinates, batch, batch_names, labels, label_names, clusters) -> None:
    n = len(labels)
    if not coordinates or n == 0:
        raise InputError("an MDE figure needs at least one row of coordinates and one cell")
    for row, xy in coordinates.items():
        if np.shape(xy) != (n, 2):
            raise InputError(f"MDE coordinates of {row!r} have shape {np.shape(xy)}, not ({n}, 2)")
        assigned = clusters.get(row)
        if assigned is not None and np.shape(assigned) != (n,):
            raise InputError(f"clusters of {row!r} have shape {np.shape(assigned)}, not ({n},)")
    for what, codes, names in (("batch", batch, batch_names), ("labels", labels, label_names)):
        least = -1 if what == "labels" else 0
        if len(codes) != n or np.min(codes) < least or np.max(codes) >= len(names):
            raise InputError(f"`{what}` must be {n} codes from {least} to {len(names) - 1}")


def _legend(
    cells: _Cells, described: Mapping[str, list[Cluster]], guide: bool, n_rows: int
) -> _Legend:
    """Decide where the legends stand, and how high they are."""
    batches, types = list(cells.batch_colours), list(cells.type_colours)
    if cells.unlabelled:
        types.append(legends.no_label(cells.unlabelled))
    guide_height = GUIDE_HEIGHT if guide else 0

    def laid_out(below: bool, width: float, of_batches: _Part, of_types: _Part) -> _Legend:
        height = legends.legend_height(len(batches), of_batches[0]) + LEGEND_GAP
        height += legends.legend_height(len(types), of_types[0]) + guide_height
        return _Legend(below, width, *of_batches, *of_types, height)

    for_batches, for_types = legends.batch_width(batches), legends.type_width(types, described)
    width = min(max(for_batches, for_types, legends.NARROWEST), legends.WIDEST)
    two = legends.batch_legend_columns(batches, width)
    side = laid_out(False, width, (two, width), (1, width))
    if side.height <= _panels_height(n_rows, _panel(side)) + MOST_EMPTY:
        return side
    width = PAGE_WIDTH - LEFT - RIGHT
    parts = (legends.columns_within(width, one) for one in (for_batches, for_types))
    return laid_out(True, width, *parts)


def _panel(legend: _Legend) -> float:
    """Return the width of a panel."""
    beside = 0.0 if legend.below else SIDE_GAP + legend.width
    return (PAGE_WIDTH - LEFT - 2 * GAP - beside - RIGHT) / 3


def _panels_height(n_rows: int, panel: float) -> float:
    return n_rows * panel + (n_rows - 1) * GAP


def _lay_out(
    rows: list[str], legend: _Legend, bottom: float
) -> tuple[Figure, dict[str, list[Axes]], Axes]:
    """Place panels and legends; the page grows where legends need more height."""
    panel = _panel(legend)
    tall = _panels_height(len(rows), panel)
    inside = tall + SIDE_GAP + legend.height if legend.below else max(tall, legend.height)
    height = TOP + bottom + inside
    figure = new_figure(PAGE_WIDTH, height)

    def place(x: float, top: float, width: float, tall: float, label: str) -> Axes:
        box = (x / PAGE_WIDTH, 1 - (top + tall) / height, width / PAGE_WIDTH, tall / height)
        return figure.add_axes(box, label=label)

    panels = {}
    for i, row in enumerate(rows):
        top = TOP + i * (panel + GAP)
        panels[row] = [
            place(LEFT + j * (panel + GAP), top, panel, panel, f"{row}/{column}")
            for j, column in enumerate(COLUMNS)
        ]
    for axes, column in zip(panels[rows[0]], COLUMNS, strict=True):
        axes.set_title(column, fontsize=FONT_SIZE + 0.5, fontweight="bold", pad=3)
    top, tall = (TOP + tall + SIDE_GAP, legend.height) if legend.below else (TOP, inside)
    axes = place(PAGE_WIDTH - legend.width - RIGHT, top, legend.width, tall, "legend")
    return figure, panels, legends.inches(axes, legend.width, tall)


def _draw_row(panels, row, xy, cells: _Cells, clusters, described, guide: bool) -> None:
    by_batch, by_type, by_cluster = panels
    by_batch.set_ylabel(row, fontsize=FONT_SIZE + 0.5, fontweight="bold", labelpad=3)
    batch_colour = np.array(list(cells.batch_colours.values()))[cells.batch]
    # A label of -1 takes the last colour.
    type_colour = np.array([*cells.type_colours.values(), UNLABELLED])[cells.labels]
    _draw_points(by_batch, xy, batch_colour, cells)
    _draw_points(by_type, xy, type_colour, cells)
    place_labels(by_type, xy, cells.labels, dict(enumerate(cells.marks)), LEAST_LABELLED)
    if row not in described:
        frame(by_cluster, xy)
        note = fill(f"{row} has no clusters.", NOTE_WIDTH)
        by_cluster.text(0.06, 0.94, note, transform=by_cluster.transAxes, va="top", fontsize=SMALL)
        if guide:
            _draw_guide(by_cluster, 0.06, 0.80, described)
        return
    assigned = np.asarray(clusters[row])
    colour_of = {c.code: c.colour for c in described[row]}
    codes, index = np.unique(assigned, return_inverse=True)
    cluster_colour = np.array([colour_of[int(c)] for c in codes])[index]
    _draw_points(by_cluster, xy, cluster_colour, cells)
    names = {c.code: c.name for c in described[row]}
    count = f"{len(codes)} cluster" + "s" * (len(codes) != 1)
    place_labels(by_cluster, xy, assigned, names, LEAST_LABELLED, count)


def _draw_points(axes: Axes, xy: np.ndarray, colours: np.ndarray, cells: _Cells) -> None:
    order = cells.order
    axes.scatter(
        xy[order, 0],
        xy[order, 1],
        c=colours[order],
        s=cells.point_size,
        linewidths=0,
        rasterized=True,
        zorder=1,
    )
    frame(axes, xy)


def frame(axes: Axes, xy: np.ndarray) -> None:
    """Square limits around the points, with the same scale in x and y and no ticks.

    A few cells far from all others (beyond the middle 99 %, or all but three at each side, by more
    than its extent) would shrink the rest to a dot: the window ends before them, and says how many
    it leaves out.
    """
    edge = max(0.005, min(0.1, 3 / len(xy)))
    low, high = np.quantile(xy, [edge, 1 - edge], axis=0)
    low, high = low - (high - low), high + (high - low)
    within = ((xy >= low) & (xy <= high)).all(axis=1)
    low, high = xy[within].min(axis=0), xy[within].max(axis=0)
    centre, reach = (low + high) / 2, 0.53 * max(float((high - low).max()), 1e-6)
    axes.set(
        xlim=(centre[0] - reach, centre[0] + reach),
        ylim=(centre[1] - reach, centre[1] + reach),
        xticks=[],
        yticks=[],
    )
    for spine in axes.spines.values():
        spine.set(visible=True, color=FAINT, linewidth=0.6)
    outside = int((~within).sum())
    if outside and axes.collections:
        note = f"{outside} cell{'s' * (outside != 1)} outside"
        outline(axes.text(0.02, 0.02, note, transform=axes.transAxes, fontsize=5, color=MUTED))


GUIDE = (
    "A number is a cell type.\n"
    "3a, 3b, …: clusters whose most\n"
    "frequent type is 3, by size; 3a in\n"
    "the type's colour, the others in\n"
    "tints of it, listed with the types."
)
GUIDE_UNKNOWN = f"\n{UNKNOWN}a, …: clusters without\nlabelled cells."
GUIDE_NO_LABEL = f"{UNKNOWN}a, {UNKNOWN}b, …: clusters by size;\nno cell has a label."
GUIDE_HEIGHT = 0.95
NOTE_WIDTH = 34
"""Characters that fit in a panel."""


def _draw_guide(axes: Axes, x: float, y: float, described: Mapping[str, list[Cluster]]) -> None:
    """Explain the names of clusters, from (x, y) in fractions of `axes` downwards."""
    unknown = [cluster.label < 0 for of in described.values() for cluster in of]
    text = GUIDE + (GUIDE_UNKNOWN if any(unknown) else "")
    axes.text(
        x,
        y,
        GUIDE_NO_LABEL if all(unknown) else text,
        transform=axes.transAxes,
        va="top",
        fontsize=SMALL,
        color=MUTED,
        linespacing=1.35,
        gid="guide",
    )


def _draw_legends(axes: Axes, cells: _Cells, described, legend: _Legend, guide: bool) -> None:
    batches = cells.batch_colours
    y = legends.draw_batch_legend(axes, 0.0, batches, legend.batch_width, legend.batch_columns)
    y = legends.draw_type_legend(
        axes,
        y + LEGEND_GAP,
        cells.type_colours,
        cells.marks,
        legend.type_width,
        described,
        legend.type_columns,
        cells.unlabelled,
    )
    if guide:
        _draw_guide(axes, 0.0, 1 - (y + 0.1) / axes.get_ylim()[0], described)
