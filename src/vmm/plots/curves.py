"""Means with 95 % confidence bands over a setting: what Figures 1 and 5 are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vmm.plots.colours import MARKERS
from vmm.plots.intervals import Interval, interval
from vmm.plots.style import CHOICE, INK, MUTED, outline

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.patches import Rectangle

MIN_BAND = 3
"""Trials from which on an interval is drawn: that of two is some ten times their distance."""


def intervals_by(frame: pd.DataFrame, column: str) -> dict[float, Interval]:
    """Summarise ``value`` for each value of `column`, ascending."""
    return {float(x): interval(part["value"]) for x, part in frame.groupby(column, sort=True)}


def draw_curves(
    axes: Axes,
    parts: Mapping[Any, pd.DataFrame],
    column: str,
    label: Callable[[Any], str],
    colours: Sequence[str],
    hollow: Mapping[Any, Sequence[float]] | None = None,
) -> dict[Any, dict[float, Interval]]:
    """Draw means over `column` of each part, their bands and the single trials; return the means.

    A point with fewer trials than the best-covered one says how many it has; the marker of one
    whose x is `hollow` in its part is drawn open.
    """
    points = {key: intervals_by(part, column) for key, part in parts.items()}
    n_full = max((point.n for of in points.values() for point in of.values()), default=0)
    for i, (key, part) in enumerate(parts.items()):
        if of := points[key]:
            marker = MARKERS[i % len(MARKERS)]
            _draw_band(axes, of, label(key), colours[i], marker)
            axes.scatter(part[column], part["value"], s=3.5, color=colours[i], alpha=0.4, lw=0)
            for at in (x for x in (hollow or {}).get(key, ()) if x in of):
                (point,) = axes.plot([at], [of[at].mean], marker, mfc="white", mec=colours[i])
                point.set(markeredgewidth=1.0, zorder=4, gid="hollow")
            _print_numbers(axes, of, n_full)
    return points


def _draw_band(
    axes: Axes, points: Mapping[float, Interval], label: str, colour: str, marker: str
) -> None:
    """Draw a line through means, and their intervals where there are trials enough."""
    means = [point.mean for point in points.values()]
    axes.plot(
        list(points),
        means,
        color=colour,
        marker=marker,
        label=label,
        zorder=3,
        mec="white",
        mew=0.5,
    )
    banded = [x for x in points if points[x].n >= MIN_BAND]
    if banded:
        low = [points[x].low for x in banded]
        high = [points[x].high for x in banded]
        band = axes.fill_between(banded, low, high, color=colour, alpha=0.18, linewidth=0)
        band.set_gid(f"band:{label}")
        if len(banded) == 1:
            axes.vlines(banded, low, high, color=colour, alpha=0.45, linewidth=3)


def _print_numbers(axes: Axes, points: Mapping[float, Interval], n_full: int) -> None:
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


def box(axes: Axes, x: float, means: Sequence[float], settings: Sequence[float]) -> Rectangle:
    """Draw the dotted green box around the points at `x` of a logarithmic axis.

    Its limits must be final, and are widened if the box needs it. All `settings` decide how wide
    the box may be.
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
