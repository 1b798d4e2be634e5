"""Scores beside the range in which they should lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.plots.colours import MARKERS
from vmm.plots.style import FAINT, INK, MUTED, REFERENCE, SMALL, new_figure, note_figure, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ROW, WIDTH, LEFT = 0.36, 7.2, 1.35
"""Height of a row, width of the figure, room for names, in inches."""
SPREAD = 0.3
"""How far from the middle of a row, in rows, points are at most: those of equal values are seen."""


@styled
def ranges_figure(scores: pd.DataFrame, colours: Mapping[str, str], title: str = "") -> Figure:
    """Draw a row for each metric: its band, the controls that span it, and what is compared.

    The columns of `scores` are metric, method, control, mean, least and most (the ends of the
    band), and outside (empty within); metrics are in the order of rows. Without any, the figure
    says so. `colours` are by method, in the order of the legend. Axes are labelled ``ranges``.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if scores.empty:
        return note_figure("No control has a score.")
    scores = scores.sort_values("control", ascending=False, kind="stable")
    controls = scores.loc[scores["control"], "method"].unique().tolist()
    metrics = scores["metric"].unique().tolist()
    entries = len(colours) + 2
    legend = 0.14 * -(-entries // 4) + 0.1
    high = len(metrics) * ROW + legend + 0.7
    figure = new_figure(WIDTH, high)
    size = ((WIDTH - LEFT - 0.15) / WIDTH, len(metrics) * ROW / high)
    axes = figure.add_axes((LEFT / WIDTH, 0.35 / high, *size), label="ranges")
    marker_of = {
        name: MARKERS[controls.index(name) + 3] if name in controls else "o" for name in colours
    }
    apart = dict(zip(colours, np.linspace(-SPREAD, SPREAD, len(colours)), strict=True))
    for place, metric in enumerate(metrics):
        row = scores[scores["metric"] == metric]
        least, most = row["least"].iloc[0], row["most"].iloc[0]
        axes.barh(place, most - least, 0.8, least, color=FAINT, zorder=1)
        for name, value, outside in zip(row["method"], row["mean"], row["outside"], strict=True):
            at = place + apart[name]
            if outside:
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
    axes.set_yticks(range(len(metrics)), metrics, fontsize=SMALL + 1)
    axes.set_ylim(len(metrics) - 0.4, -0.6)
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
    top = (len(metrics) * ROW + 0.4) / high
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.02, top), ncols=4)
    figure.text(0.02, 1 - 0.08 / high, title, va="top", fontsize=8, fontweight="bold", color=INK)
    return figure
