"""Legends drawn by hand, in inches, so that they fit whatever the number of categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, islice
from typing import TYPE_CHECKING

from vmm.plots.clusters import Cluster
from vmm.plots.colours import UNLABELLED
from vmm.plots.style import MUTED, SMALL, shorten, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PITCH = 0.125
"""Height of an entry."""
HEADING = 0.19
"""Height of a heading."""
SWATCH = 0.075
INDENT = 0.13
"""From the left of an entry to its text."""
COLUMN_GAP = 0.08
NUMBER = 0.17
"""Width of a cell type's number."""
NARROWEST, WIDEST = 1.35, 2.10
"""Limits of the width of a column of legends."""
ALL_SWATCHES = 0.95
"""Limit of the width of all methods' swatches together."""
MOST = 120
"""Entries of a legend; of more, the others are counted in the last."""


def inches(axes: Axes, width: float, height: float) -> Axes:
    """Give `axes` coordinates in inches, y downwards, and hide its frame."""
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def cluster_columns(clusters: Mapping[str, Sequence[Cluster]]) -> dict[str, float]:
    """Width of each method's column of swatches: as its cell type with most clusters needs.

    Together they leave the names of the cell types most of the legend.
    """
    most = {name: max((c.rank + 1 for c in of), default=0) for name, of in clusters.items()}
    needed = {name: min(max(0.06 + n * (SWATCH + 0.015), 0.32), 0.55) for name, n in most.items()}
    scale = min(1.0, ALL_SWATCHES / max(sum(needed.values()), ALL_SWATCHES))
    return {name: width * scale for name, width in needed.items()}


def batch_width(batches: Sequence[str]) -> float:
    """Width of a column of the legend of batches in which all names fit."""
    return max(text_width(name, SMALL) for name in batches) + INDENT


def type_width(types: Sequence[str], clusters: Mapping[str, Sequence[Cluster]]) -> float:
    """Width of a column of the legend of cell types in which all names fit."""
    names = max((text_width(name, SMALL) for name in types), default=0)
    return names + INDENT + NUMBER + 0.05 + sum(cluster_columns(clusters).values())


def columns_within(width: float, column: float) -> tuple[int, float]:
    """Return how many columns, one at least, a width has room for, and their width together."""
    column = max(column, NARROWEST)
    n = max(1, int((width + COLUMN_GAP) / (column + COLUMN_GAP)))
    return n, min(width, n * (column + COLUMN_GAP) - COLUMN_GAP)


def batch_legend_columns(names: Sequence[str], width: float) -> int:
    """Columns of the legend of batches: two where there are many and their names are short."""
    room = (width - COLUMN_GAP) / 2 - INDENT
    widest = max(text_width(name, SMALL) for name in names)
    return 2 if len(names) > 4 and widest <= room * 1.15 else 1


def legend_height(n: int, columns: int = 1) -> float:
    """Height in inches of a legend of `n` entries."""
    return HEADING + PITCH * -(-min(n, MOST) // columns)


def draw_batch_legend(
    axes: Axes, y: float, colours: Mapping[str, str], width: float, columns: int
) -> float:
    """Draw heading and entries of the batches from `y` down; return where it ends."""
    y = _heading(axes, y, "Batch" if len(colours) > 1 else "Batch (one)")
    grid = _Grid(y, len(colours), width, columns)
    for i, (name, colour) in enumerate(islice(colours.items(), grid.shown)):
        x, at = grid.place(i)
        _swatch(axes, x, at, colour, gid=f"legend:batch:{name}")
        _entry(axes, x + INDENT, at, name, grid.width - INDENT)
    return grid.more(axes)


def draw_type_legend(
    axes: Axes,
    y: float,
    colours: Mapping[str, str],
    marks: Sequence[str],
    width: float,
    clusters: Mapping[str, Sequence[Cluster]],
    columns: int = 1,
    unlabelled: int = 0,
) -> float:
    """Draw the cell types with their marks, and beside each the clusters named after it.

    From `y` down, in inches (see :func:`inches`); return where the legend ends. The cell types, in
    their order, are broken into columns. `clusters` are those of the rows that have any, by the
    rows' labels; each row has a column of swatches. Cells without a label get an entry of their
    own.
    """
    entries = [(name, colour, marks[i], i) for i, (name, colour) in enumerate(colours.items())]
    if unlabelled:
        entries.append((no_label(unlabelled), UNLABELLED, "", -1))
    grid = _Grid(y + HEADING, len(entries), width, columns)
    widths = cluster_columns(clusters)
    room = grid.width - sum(widths.values())
    starts = accumulate(widths.values(), initial=room)
    methods = dict(zip(widths, starts, strict=False))
    _heading(axes, y, "Cell type")
    for start in grid.starts:
        for name, x in methods.items():
            title = shorten(name, widths[name] - 0.03, 5.2)
            axes.text(start + x, y + HEADING / 2, title, fontsize=5.2, color=MUTED, va="center")
    for i, (name, colour, mark, code) in enumerate(entries[: grid.shown]):
        x, at = grid.place(i)
        _swatch(axes, x, at, colour, gid=f"legend:type:{name}")
        # A type that is called by a number is marked by it: one of the two says it.
        number = "" if mark == name else mark
        text = axes.text(x + INDENT + 0.09, at + PITCH / 2, number, fontsize=SMALL - 0.5)
        text.set(ha="right", va="center", fontweight="bold")
        _entry(axes, x + INDENT + 0.13, at, name, room - INDENT - NUMBER)
        for method, start in methods.items():
            of_type = [c for c in clusters[method] if c.label == code]
            _cluster_swatches(axes, x + start, at, of_type, widths[method] - 0.04)
    return grid.more(axes)


def no_label(n: int) -> str:
    """Return the entry of the cells without a label."""
    return f"no label ({n:,} cell{'s' * (n != 1)})"


class _Grid:
    """Where the entries of a legend stand: column by column, and no more than fit."""

    def __init__(self, y: float, n: int, width: float, columns: int):
        self.y, self.n, self.columns = y, n, columns
        self.shown = n if n <= MOST else MOST - 1
        self.rows = -(-min(n, MOST) // columns)
        self.step = (width + COLUMN_GAP) / columns
        self.width = self.step - COLUMN_GAP

    @property
    def starts(self) -> list[float]:
        """Where columns begin."""
        used = -(-min(self.n, MOST) // self.rows)
        return [column * self.step for column in range(used)]

    def place(self, i: int) -> tuple[float, float]:
        """Return left and top of an entry."""
        return (i // self.rows) * self.step, self.y + (i % self.rows) * PITCH

    def more(self, axes: Axes) -> float:
        """Say how many have no place; return where the legend ends."""
        if self.shown < self.n:
            x, y = self.place(self.shown)
            _entry(axes, x + INDENT, y, f"… and {self.n - self.shown:,} more", self.width - INDENT)
        return self.y + self.rows * PITCH


def _cluster_swatches(
    axes: Axes, x: float, y: float, clusters: Sequence[Cluster], width: float
) -> None:
    if not clusters:
        axes.text(x + 0.01, y + PITCH / 2, "–", fontsize=5, color=MUTED, va="center")
        return
    step = min(SWATCH + 0.015, width / len(clusters))
    for cluster in clusters:
        side = min(SWATCH, step)
        _swatch(axes, x + cluster.rank * step, y, cluster.colour, "legend:cluster", side)


def _heading(axes: Axes, y: float, text: str) -> float:
    axes.text(0, y + HEADING / 2, text, fontsize=SMALL + 0.5, fontweight="bold", va="center")
    return y + HEADING


def _entry(axes: Axes, x: float, y: float, name: str, width: float) -> None:
    """Write a name, smaller and then cut where it is too long."""
    size = SMALL
    while size > 5 and text_width(name, size) > width:
        size -= 0.25
    shown = shorten(name, width, size)
    axes.text(x, y + PITCH / 2, shown, fontsize=size, va="center", parse_math=False)


def _swatch(axes: Axes, x: float, y: float, colour: str, gid: str, width: float = SWATCH) -> None:
    from matplotlib.patches import Rectangle

    top = y + (PITCH - SWATCH) / 2
    axes.add_patch(Rectangle((x, top), width, SWATCH, facecolor=colour, linewidth=0, gid=gid))
