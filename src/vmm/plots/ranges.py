"""Scores beside the range in which they should lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.plots.colours import MARKERS
from vmm.plots.style import FAINT, INK, MUTED, REFERENCE, SMALL, new_figure, note_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW, WIDTH, LEFT = 0.36, 7.2, 1.35
"""Height of a row, width of the figure, room for names, in inches."""
SPREAD = 0.3
"""How far from the middle of a row, in rows, points are at most: those of equal values are seen."""


@dataclass(frozen=True)
class Range:
    """What one score is expected to be, and is.

    Parameters
    ----------
    name
        Of the score.
    least, most
        Ends of the band.
    bounds
        Names of what spans the band, and their values.
    scores
        Names of what is compared, and their values.
    outside
        Those of the names whose value lies outside of the band.
    """

    name: str
    least: float
    most: float
    bounds: Mapping[str, float]
    scores: Mapping[str, float]
    outside: frozenset[str] = frozenset()


@styled
def ranges_figure(ranges: Sequence[Range], colours: Mapping[str, str], title: str = "") -> Figure:
    """Draw a row for each score: its band, what spans it, and what is compared.

    Parameters
    ----------
    ranges
        In the order of rows; without any, the figure says so.
    colours
        By the names in them, in the order of the legend.
    title
        Printed above.

    Returns
    -------
    matplotlib.figure.Figure
        Axes are labelled ``ranges``.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if not ranges:
        return note_figure("No control has a score.")
    bounds = list(dict.fromkeys(name for row in ranges for name in row.bounds))
    entries = len(colours) + 2
    legend = 0.14 * -(-entries // 4) + 0.1
    high = len(ranges) * ROW + legend + 0.7
    figure = new_figure(WIDTH, high)
    size = ((WIDTH - LEFT - 0.15) / WIDTH, len(ranges) * ROW / high)
    axes = figure.add_axes((LEFT / WIDTH, 0.35 / high, *size), label="ranges")
    marker_of = {
        name: MARKERS[bounds.index(name) + 3] if name in bounds else "o" for name in colours
    }
    apart = dict(zip(colours, np.linspace(-SPREAD, SPREAD, len(colours)), strict=True))
    for place, row in enumerate(ranges):
        axes.barh(place, row.most - row.least, 0.8, row.least, color=FAINT, zorder=1)
        for name, value in {**row.bounds, **row.scores}.items():
            at = place + apart[name]
            if name in row.outside:
                axes.plot(value, at, "o", ms=7, mfc="none", mec=REFERENCE, mew=1.2, zorder=4)
            axes.plot(
                value,
                at,
                marker_of[name],
                color=colours[name],
                ms=4.5,
                mew=0,
                zorder=3,
                clip_on=False,
            )
    axes.set_yticks(range(len(ranges)), [row.name for row in ranges], fontsize=SMALL + 1)
    axes.set_ylim(len(ranges) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("Score, mean over trials", color=MUTED)
    point: dict[str, Any] = {"ls": "", "mew": 0, "ms": 4.5}
    handles: list[Any] = [
        Line2D([], [], color=colour, label=name, marker=marker_of[name], **point)
        for name, colour in colours.items()
    ]
    handles.append(Patch(color=FAINT, label="range of the controls"))
    ring: dict[str, Any] = {"mfc": "none", "mec": REFERENCE, "ms": 7, "ls": "", "marker": "o"}
    handles.append(Line2D([], [], label="outside its controls", **ring))
    top = (len(ranges) * ROW + 0.4) / high
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.02, top), ncols=4)
    figure.text(0.02, 1 - 0.08 / high, title, va="top", fontsize=8, fontweight="bold", color=INK)
    return figure
