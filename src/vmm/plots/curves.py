"""Means with 95 % confidence bands over a setting: what Figures 1 and 5 are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vmm.plots.intervals import Interval, interval
from vmm.plots.style import CHOICE, INK, MUTED, outline

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

MIN_BAND = 3
"""Trials from which on an interval is drawn: that of two is some ten times their distance."""


def intervals_by(frame: pd.DataFrame, column: str) -> dict[float, Interval]:
    """Summarise ``value`` for each value of `column`, ascending."""
    return {float(x): interval(part["value"]) for x, part in frame.groupby(column, sort=True)}


def draw_curve(
    axes: Axes,
    points: dict[float, Interval],
    *,
    label: str,
    colour: str,
    marker: str,
    n_full: int,
    hollow: Sequence[float] = (),
    trials: Iterable[tuple[float, float]] = (),
) -> Line2D:
    """Draw means, their band, the single trials and the number of trials where some are missing.

    Parameters
    ----------
    axes
        Where to draw.
    points
        Interval at each x.
    label, colour, marker
        Of the line.
    n_full
        The number of trials of a complete cell; a point with fewer is annotated with its own.
    hollow
        x whose marker is drawn open.
    trials
        (x, value) of single trials, drawn faintly.

    Returns
    -------
    matplotlib.lines.Line2D
        The line, whose data are the means.
    """
    xs = list(points)
    means = [point.mean for point in points.values()]
    (line,) = axes.plot(
        xs, means, color=colour, marker=marker, label=label, zorder=3, mec="white", mew=0.5
    )
    banded = [x for x in xs if points[x].n >= MIN_BAND]
    if banded:
        low = [points[x].low for x in banded]
        high = [points[x].high for x in banded]
        band = axes.fill_between(banded, low, high, color=colour, alpha=0.18, linewidth=0)
        band.set_gid(f"band:{label}")
        if len(banded) == 1:
            axes.vlines(banded, low, high, color=colour, alpha=0.45, linewidth=3)
    scatter = list(trials)
    if scatter:
        x, y = zip(*scatter, strict=True)
        axes.scatter(x, y, s=3.5, color=colour, alpha=0.4, linewidths=0)
    for at in hollow:
        axes.plot(
            [at],
            [points[at].mean],
            marker,
            mfc="white",
            mec=colour,
            mew=1.0,
            zorder=4,
            gid="hollow",
        )
    for at, point in points.items():
        if point.n < n_full:
            note = axes.annotate(
                f"n={point.n}",
                (at, point.mean),
                (4, -5),
                textcoords="offset points",
                va="center",
                fontsize=5,
                color=MUTED,
                zorder=6,
            )
            outline(note)
    return line


def box(axes: Axes, x: float, means: Sequence[float], settings: Sequence[float]) -> Rectangle:
    """Draw the dotted green box around the points at `x` of a logarithmic axis.

    Parameters
    ----------
    axes
        Where to draw; its limits must be final, and are widened if the box needs it.
    x
        The chosen setting.
    means
        The points that the box surrounds.
    settings
        All settings, which decide how wide the box may be.
    """
    from matplotlib.patches import Rectangle

    ratios = [max(x, other) / min(x, other) for other in settings if other != x]
    reach = min([*ratios, 2.0]) ** 0.22
    low, high = axes.get_ylim()
    margin = 0.05 * (high - low)
    bottom, top = min(means) - margin, max(means) + margin
    patch = Rectangle(
        (x / reach, bottom),
        x * reach - x / reach,
        top - bottom,
        fill=False,
        edgecolor=CHOICE,
        linewidth=1.3,
        linestyle=(0, (1, 1.2)),
        zorder=5,
        gid="choice",
    )
    axes.add_patch(patch)
    axes.set_ylim(min(low, bottom - margin / 3), max(high, top + margin / 3))
    return patch


def count_axis(axis: Axis) -> None:
    """Give an axis of numbers of things ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True))


def log_settings_axis(axes: Axes, settings: Sequence[float], label: str) -> None:
    """Make x logarithmic (base 2) with a tick at every setting and no others."""
    from matplotlib.ticker import NullLocator

    settings = sorted(settings)
    axes.set_xscale("log", base=2)
    axes.set_xticks(settings, [f"{x:g}" for x in settings])
    axes.xaxis.set_minor_locator(NullLocator())
    ratio = settings[-1] / settings[0]
    pad = max(ratio**0.07, 1.2)
    axes.set_xlim(settings[0] / pad, settings[-1] * pad)
    axes.set_xlabel(label, color=INK)
    axes.grid(axis="y")
