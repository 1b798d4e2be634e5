"""An overview of Table 4 for the report: methods × integration metrics, as scIB draws it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vmm.errors import InputError
from vmm.figures.colours import mix
from vmm.figures.rows import (
    Interval,
    as_frame,
    dataset_label,
    interval,
    method_key,
    method_label,
    usable,
)
from vmm.figures.style import FAINT, FONT_SIZE, INK, MUTED, SMALL, new_figure, styled, text_width
from vmm.names import AGGREGATE_METRICS, BATCH_METRICS, BIO_METRICS, METHODS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GROUPS = {
    "Aggregate score": (AGGREGATE_METRICS, "#5a4a9c"),
    "Batch correction": (BATCH_METRICS, "#a0651a"),
    "Bio conservation": (BIO_METRICS, "#1f6f78"),
}
"""Groups of metrics as in the paper's Table 4, and their colours."""
CELL, BAR, ROW = 0.42, 0.56, 0.36
"""Width of a circle's and of a bar's column, and height of a row, in inches."""
SPACE = 0.14
"""Between groups."""
HEAD, FOOT = 0.84, 0.34


class _Column(NamedTuple):
    metric: str
    group: str
    x: float
    width: float


@styled
def scores_figure(
    rows: pd.DataFrame | Iterable[Mapping[str, Any]],
    dataset: str | None = None,
    setting: str = "chosen",
) -> Figure:
    """Draw one data set's integration scores: a row per method, best first.

    Aggregated scores are bars from 0 to 1 with the 95 % confidence interval of the mean over
    trials; single metrics are circles, larger and darker for better values *within their column*.
    Every number is the mean. Columns that apply to no method (batch correction of a single
    batch) are left out; a method lacking a value shows a dash; one lacking trials says how many
    it has.

    Parameters
    ----------
    rows
        Tidy rows of integration metrics.
    dataset
        Which data set; may be omitted where there is only one.
    setting
        Which setting of the methods. Rows of a method that has no such setting are used as they
        are if it has one setting only.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If `dataset` is omitted though there are several, or has no usable row.
    """
    frame = _select(rows, dataset, setting)
    means = _means(frame)
    metrics = [m for m in AGGREGATE_METRICS + BATCH_METRICS + BIO_METRICS if _any(means, m)]
    sort_by = "Total" if "Total" in metrics else metrics[0]
    methods = sorted(means, key=lambda m: -_value(means[m].get(sort_by)))
    n_full = max(p.n for of in means.values() for p in of.values())
    names = {m: _name(m, means[m], n_full) for m in methods}
    left = max(text_width(name, FONT_SIZE) for name in names.values()) + 0.16
    columns, width = _columns(metrics, left)
    height = HEAD + ROW * len(methods) + FOOT
    figure = new_figure(width + 0.08, height)
    axes = figure.add_axes((0, 0, 1, 1), label="scores")
    axes.set(xlim=(0, width + 0.08), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(0.08, 0.18, dataset_label(frame["dataset"].iloc[0]), fontweight="bold", fontsize=9)
    _draw_heads(axes, columns)
    for i, method in enumerate(methods):
        y = HEAD + (i + 0.5) * ROW
        if i % 2 == 0:
            axes.axhspan(y - ROW / 2, y + ROW / 2, color="#f5f5f5", linewidth=0, zorder=0)
        axes.text(0.08, y, names[method], va="center")
        for column in columns:
            _draw_cell(axes, column, y, means[method].get(column.metric), means)
    _draw_foot(axes, height, means, metrics)
    return figure


def _select(rows, dataset: str | None, setting: str) -> pd.DataFrame:
    frame = usable(as_frame(rows))
    frame = frame[frame["metric"].isin(AGGREGATE_METRICS + BATCH_METRICS + BIO_METRICS)]
    present = sorted(frame["dataset"].unique())
    if dataset is None and len(present) > 1:
        raise InputError(f"the rows hold several data sets, {present}; say which to draw")
    if dataset is not None:
        frame = frame[frame["dataset"] == dataset]
    if frame.empty:
        raise InputError(
            f"the overview of scores has nothing to draw for {dataset or 'any data set'}: no row "
            "has an integration metric and the status ok"
        )
    kept = []
    for _, part in frame.groupby(["model", "prior"], sort=False):
        if part["setting"].nunique() > 1 or (part["setting"] == setting).any():
            part = part[part["setting"] == setting]
        kept.append(part)
    import pandas as pd

    return pd.concat(kept)


def _means(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, Interval]]:
    return {
        method: {metric: interval(of["value"]) for metric, of in part.groupby("metric")}
        for method, part in frame.groupby(["model", "prior"], sort=False)
    }


def _any(means, metric: str) -> bool:
    return any(metric in of for of in means.values())


def _value(point: Interval | None) -> float:
    return point.mean if point is not None else -np.inf


def _name(method: tuple[str, str], of: Mapping[str, Interval], n_full: int) -> str:
    label = method_label(*method)
    key = method_key(*method)
    if key in ("normal", "vampprior", "gmm", "vmm"):
        label = f"{METHODS['cells'][key].model} {label}"
    n = max(point.n for point in of.values())
    return label if n == n_full else f"{label} ({n} of {n_full} trials)"


def _columns(metrics: list[str], left: float) -> tuple[list[_Column], float]:
    columns, x = [], left
    for group, (members, _) in GROUPS.items():
        here = [metric for metric in members if metric in metrics]
        for metric in here:
            width = BAR if group == "Aggregate score" else CELL
            columns.append(_Column(metric, group, x, width))
            x += width
        x += SPACE if here else 0
    return columns, x - SPACE


def _draw_heads(axes: Axes, columns: list[_Column]) -> None:
    for group, (_, colour) in GROUPS.items():
        here = [column for column in columns if column.group == group]
        if not here:
            continue
        start, end = here[0].x + 0.03, here[-1].x + here[-1].width - 0.03
        name = group if text_width(group, SMALL + 0.5, "bold") < end - start else group.split()[0]
        axes.plot([start, end], [0.43, 0.43], color=colour, linewidth=1.2)
        heading = axes.text((start + end) / 2, 0.38, name, ha="center", fontsize=SMALL + 0.5)
        heading.set(color=colour, fontweight="bold")
    for column in columns:
        axes.text(
            column.x + column.width / 2,
            HEAD - 0.06,
            column.metric.replace(" ", "\n"),
            ha="center",
            fontsize=5.6,
            linespacing=1.1,
        )


def _draw_cell(axes: Axes, column: _Column, y: float, point: Interval | None, means) -> None:
    centre = column.x + column.width / 2
    if point is None:
        axes.text(centre, y, "–", ha="center", va="center", color=MUTED)
        return
    values = [of[column.metric].mean for of in means.values() if column.metric in of]
    scaled = _scaled(point.mean, values)
    colour = _shade(GROUPS[column.group][1], scaled)
    if column.group == "Aggregate score":
        _draw_bar(axes, column, y, point, colour)
        return
    from matplotlib.patches import Circle

    radius = 0.125 + 0.04 * scaled
    axes.add_patch(Circle((centre, y), radius, facecolor=colour, linewidth=0, gid=column.metric))
    _number(axes, centre, y, point.mean, "white" if scaled > 0.55 else INK, f"v:{column.metric}")


def _draw_bar(axes: Axes, column: _Column, y: float, point: Interval, colour: str) -> None:
    from matplotlib.patches import Rectangle

    x, full, tall = column.x + 0.03, column.width - 0.06, ROW * 0.62
    length = full * float(np.clip(point.mean, 0, 1))
    frame = Rectangle((x, y - tall / 2), full, tall, facecolor="white", edgecolor=FAINT, lw=0.5)
    axes.add_patch(frame)
    bar = Rectangle((x, y - tall / 2), length, tall, facecolor=colour, lw=0, gid=column.metric)
    axes.add_patch(bar)
    if point.n > 1:
        low, high = np.clip([point.low, point.high], 0, 1) * full + x
        axes.plot([low, high], [y + tall * 0.36] * 2, color=INK, linewidth=0.7, gid="interval")
    dark = sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) < 400 and length > 0.3
    _number(axes, x + 0.04, y, point.mean, "white" if dark else INK, f"v:{column.metric}", "left")


def _number(axes, x: float, y: float, value: float, colour: str, gid: str, ha="center") -> None:
    text = f"{value:.2f}" if ha == "center" else f"{value:.3f}"
    axes.text(x, y, text, ha=ha, va="center", fontsize=5.6, color=colour, gid=gid)


def _scaled(value: float, values: list[float]) -> float:
    """Place of `value` between the worst (0) and the best (1) of its column; 0.5 if all agree."""
    low, high = min(values), max(values)
    return 0.5 if high - low < 1e-12 else (value - low) / (high - low)


def _shade(colour: str, scaled: float) -> str:
    return mix("#ffffff", colour, 0.22 + 0.78 * scaled)


def _draw_foot(axes: Axes, height: float, means, metrics: list[str]) -> None:
    note = "Means over trials. Circles: larger and darker is better within the column. "
    note += "Bars: 0 to 1, line: 95 % CI."
    if not any(metric in metrics for metric in BATCH_METRICS):
        note += "\nOne batch: batch correction does not apply."
    axes.text(0.08, height - FOOT + 0.08, note, va="top", fontsize=5.2, color=MUTED)
