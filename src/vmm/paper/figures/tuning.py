"""Figure 5: tuning of batch size and prior learning ratio for scVI with a VMM prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vmm.benchmark.setting import Setting
from vmm.errors import InputError
from vmm.paper.figures.rows import as_frame, usable
from vmm.plots.colours import MARKERS, ordered_colours
from vmm.plots.curves import box, draw_curve, intervals_by, log_settings_axis
from vmm.plots.style import CHOICE, MUTED, REFERENCE, new_figure, panel_letter, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLUSTERS = "Utilized clusters"


@styled
def tuning_figure(
    rows: pd.DataFrame | Iterable[Mapping[str, Any]], choice: Mapping[str, Any], n_types: int
) -> Figure:
    """Draw Figure 5 of the paper for one data set.

    Left the utilised clusters with a dashed red line at the number of cell types, right the score
    that the choice was made by; over the prior learning ratio (log), a line per batch size, with
    shading for the 95 % confidence interval over trials. Settings whose mean number of clusters is
    below the number of types, and which therefore could not be chosen, have open markers. The
    dotted green box is at the choice.

    Parameters
    ----------
    rows
        Tidy rows of tuning, with settings ``b<batch>-r<ratio>``.
    choice
        ``batch_size``, ``prior_learning_ratio`` and ``criterion`` (the score's metric name), as in
        ``tuning/<dataset>.json``.
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
    criterion, batch_size, ratio = _read_choice(choice)
    frame = _select(rows, criterion)
    ratios = sorted(frame["ratio"].unique())
    batches = sorted(frame["batch"].unique())
    clusters = {b: intervals_by(_part(frame, CLUSTERS, b), "ratio") for b in batches}
    too_few = {b: [x for x, p in of.items() if p.mean < n_types] for b, of in clusters.items()}

    figure = new_figure(6.4, 2.55, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_lines(left, frame, CLUSTERS, batches, too_few)
    scores = _draw_lines(right, frame, criterion, batches, too_few)
    for letter, axes in zip("ab", (left, right), strict=True):
        log_settings_axis(axes, ratios, "Prior learning ratio")
        panel_letter(axes, letter)
    left.axhline(n_types, color=REFERENCE, linestyle="--", linewidth=1, gid="n_types", zorder=1)
    left.set_ylabel("Utilised clusters")
    left.set_ylim(bottom=0)
    right.set_ylabel(f"{criterion} score")
    point = scores.get(batch_size, {}).get(ratio)
    if point is not None:
        box(right, ratio, [point.mean], ratios)
    _legend(figure, right, n_types, any(too_few.values()), point is not None)
    return figure


def _read_choice(choice: Mapping[str, Any]) -> tuple[str, int, float]:
    missing = [k for k in ("batch_size", "prior_learning_ratio", "criterion") if k not in choice]
    if missing:
        raise InputError(f"the tuning choice lacks {missing}; it has {sorted(choice)}")
    batch_size, ratio = int(choice["batch_size"]), float(choice["prior_learning_ratio"])
    return str(choice["criterion"]), batch_size, ratio


def _select(rows: pd.DataFrame | Iterable[Mapping[str, Any]], criterion: str) -> pd.DataFrame:
    frame = usable(as_frame(rows))
    parsed = frame["setting"].map(Setting.parse)
    of_tuning = parsed.map(lambda setting: setting.is_tuning).astype(bool)
    frame = frame[of_tuning & frame["metric"].isin([CLUSTERS, criterion])]
    if frame.empty:
        raise InputError(
            "the tuning figure has nothing to draw: no row has a setting b<batch>-r<ratio>, a "
            f"metric among {[CLUSTERS, criterion]} and the status ok"
        )
    parsed = parsed[frame.index]
    return frame.assign(batch=[p.batch_size for p in parsed], ratio=[p.ratio for p in parsed])


def _part(frame: pd.DataFrame, metric: str, batch: int) -> pd.DataFrame:
    return frame[(frame["metric"] == metric) & (frame["batch"] == batch)]


def _draw_lines(
    axes: Axes, frame: pd.DataFrame, metric: str, batches: list[int], too_few: dict[int, list]
) -> dict[int, dict]:
    parts = {batch: _part(frame, metric, batch) for batch in batches}
    points = {batch: intervals_by(part, "ratio") for batch, part in parts.items()}
    n_full = max((p.n for of in points.values() for p in of.values()), default=0)
    for i, (batch, colour) in enumerate(zip(batches, ordered_colours(len(batches)), strict=True)):
        if points[batch]:
            draw_curve(
                axes,
                points[batch],
                label=f"batch size {batch}",
                colour=colour,
                marker=MARKERS[i % len(MARKERS)],
                n_full=n_full,
                hollow=[x for x in too_few[batch] if x in points[batch]],
                trials=parts[batch][["ratio", "value"]].itertuples(index=False, name=None),
            )
    return points


def _legend(figure: Figure, axes: Axes, n_types: int, hollow: bool, boxed: bool) -> None:
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    handles.append(Line2D([], [], color=REFERENCE, linestyle="--", linewidth=1))
    labels.append(f"{n_types} cell types")
    if hollow:
        handles.append(Line2D([], [], marker="o", mfc="white", mec=MUTED, linestyle="none"))
        labels.append("fewer clusters than types")
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
