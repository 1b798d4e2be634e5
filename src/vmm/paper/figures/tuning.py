"""Figure 5: tuning of batch size and prior learning ratio for scVI with a VMM prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vmm.benchmark.choice import AGREEMENT, ELBO
from vmm.benchmark.metrics.records import CLUSTERS
from vmm.benchmark.setting import Setting
from vmm.errors import InputError
from vmm.plots.colours import ordered_colours
from vmm.plots.curves import box, count_axis, draw_curves, intervals_by, log_settings_axis
from vmm.plots.style import CHOICE, MUTED, REFERENCE, new_figure, panel_letter, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KEYS = ("batch_size", "prior_learning_ratio", "criteria", "rule")
LABELS = {
    CLUSTERS: "Utilised clusters",
    ELBO: "Validation ELBO (nats per cell)",
    AGREEMENT: AGREEMENT,
}
ELIGIBLE = ("chosen", "less stable")
"""Statuses of settings that a choice without labels may fall on."""


@styled
def tuning_figure(rows: pd.DataFrame, choice: Mapping[str, Any], n_types: int) -> Figure:
    """Draw Figure 5 of the paper for one data set.

    Left the utilised clusters, then what the choice was made by; over the prior learning ratio
    (log), a line per batch size, with shading for the 95 % confidence interval over trials. Where
    labels chose, a dashed red line is at the number of cell types, and the score is at the right;
    where they did not, the validation ELBO and the agreement of trials are. Settings that could not
    be chosen have open markers: those whose mean number of clusters is below the number of types,
    or that fit worse than the best, or gave one cluster, or diverged. The dotted green box is at
    the choice.

    Parameters
    ----------
    rows
        Tidy rows of tuning, with settings ``b<batch>-r<ratio>``.
    choice
        As in ``tuning/<dataset>.json`` (:mod:`vmm.benchmark.choice`).
    n_types
        Number of annotated cell types.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If no usable row is among `rows`, or the choice lacks a key.
    """
    if missing := [key for key in KEYS if key not in choice]:
        raise InputError(f"the tuning choice lacks {missing}; it has {sorted(choice)}")
    criteria, by_labels = choice["criteria"], choice["rule"] == "supervised"
    frame = _select(rows, criteria)
    ratios = sorted(frame["ratio"].unique())
    batches = sorted(frame["batch"].unique())
    if by_labels:
        clusters = {b: intervals_by(_part(frame, CLUSTERS, b), "ratio") for b in batches}
        barred = {b: [x for x, p in of.items() if p.mean < n_types] for b, of in clusters.items()}
    else:
        barred = _barred(choice["table"], batches)

    figure = new_figure(6.4, 2.55, layout="constrained")
    panels = figure.subplots(1, 1 + len(criteria))
    points: dict[int, dict] = {}
    for letter, axes, metric in zip("abc", panels, [CLUSTERS, *criteria], strict=False):
        parts = {batch: _part(frame, metric, batch) for batch in batches}
        colours = ordered_colours(len(batches))
        points = draw_curves(axes, parts, "ratio", "batch size {}".format, colours, barred)
        log_settings_axis(axes, ratios, "Prior learning ratio")
        panel_letter(axes, letter)
        axes.set_ylabel(LABELS.get(metric, f"{metric} score"))
    if by_labels:
        panels[0].axhline(
            n_types, color=REFERENCE, linestyle="--", linewidth=1, gid="n_types", zorder=1
        )
    panels[0].set_ylim(bottom=0)
    count_axis(panels[0].yaxis)
    ratio = float(choice["prior_learning_ratio"])
    point = points.get(int(choice["batch_size"]), {}).get(ratio)
    if point is not None:
        box(panels[-1], ratio, [point.mean], ratios)
    why = "fewer clusters than types" if by_labels else "not eligible"
    hollow = why if any(barred.values()) else ""
    _legend(figure, panels[-1], n_types if by_labels else None, hollow, point is not None)
    return figure


def _barred(table: Iterable[Mapping[str, Any]], batches: list[int]) -> dict[int, list[float]]:
    """Return the ratios that could not be chosen without labels, by batch size."""
    barred: dict[int, list[float]] = {batch: [] for batch in batches}
    for row in table:
        setting = Setting.parse(row["setting"])
        if row["status"] not in ELIGIBLE and setting.batch_size in barred:
            barred[setting.batch_size].append(setting.ratio or 0.0)
    return barred


def _select(rows: pd.DataFrame, criteria: list[str]) -> pd.DataFrame:
    frame = rows[rows["status"] == "ok"]
    parsed = frame["setting"].map(Setting.parse)
    of_tuning = parsed.map(lambda setting: setting.is_tuning).astype(bool)
    frame = frame[of_tuning & frame["metric"].isin([CLUSTERS, *criteria])]
    if frame.empty:
        raise InputError(
            "the tuning figure has nothing to draw: no row has a setting b<batch>-r<ratio>, a "
            f"metric among {[CLUSTERS, *criteria]} and the status ok"
        )
    parsed = parsed[frame.index]
    return frame.assign(batch=[p.batch_size for p in parsed], ratio=[p.ratio for p in parsed])


def _part(frame: pd.DataFrame, metric: str, batch: int) -> pd.DataFrame:
    return frame[(frame["metric"] == metric) & (frame["batch"] == batch)]


def _legend(figure: Figure, axes: Axes, n_types: int | None, hollow: str, boxed: bool) -> None:
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    if n_types is not None:
        handles.append(Line2D([], [], color=REFERENCE, linestyle="--", linewidth=1))
        labels.append(f"{n_types} cell types")
    if hollow:
        handles.append(Line2D([], [], marker="o", mfc="white", mec=MUTED, linestyle="none"))
        labels.append(hollow)
    if boxed:
        handles.append(Line2D([], [], color=CHOICE, linestyle=(0, (1, 1.2)), linewidth=1.3))
        labels.append("choice")
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=len(labels),
        columnspacing=1.2,
        handletextpad=0.5,
    )
