"""Figure 1: the VMM's utilised clusters and unmerged NMI against batch size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vmm.benchmark.grid import TUNED_METHOD
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.setting import Setting
from vmm.errors import InputError
from vmm.paper.figures.rows import as_frame, usable
from vmm.paper.labels import dataset_label
from vmm.plots.colours import MARKERS, TYPE_PALETTE
from vmm.plots.curves import box, count_axis, draw_curve, intervals_by, log_settings_axis
from vmm.plots.style import new_figure, note_figure, panel_letter, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PANELS = {"Utilized clusters": "Utilised clusters", "NMI (unmerged)": "NMI (unmerged)"}
PEAK_METRIC = "NMI (unmerged)"


@styled
def batch_size_figure(
    rows: pd.DataFrame | Iterable[Mapping[str, Any]], best: Mapping[str, int] | None = None
) -> Figure:
    """Draw Figure 1 of the paper.

    One panel shows the utilised clusters, one the unmerged NMI, over batch size (log₂): a line per
    data set through the means, shading for the 95 % confidence interval over trials (Student's t),
    a dot per trial, and a dotted green box at the peak. A point with fewer trials than the
    best-covered one says how many it has.

    Parameters
    ----------
    rows
        Tidy rows. Those of the VMM on images with settings ``b<batch>-nmi`` are used; rows that
        are not ``ok`` are left out. Where all are, the figure says so.
    best
        Batch size to box for each data set. By default the one with the best mean NMI.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        If no such row is among `rows`.
    """
    frame = _select(rows)
    if frame.empty:
        return note_figure("No training of the VMM has a value: all diverged.")
    datasets = list(dict.fromkeys(frame["dataset"]))
    sizes = sorted(frame["batch"].unique())
    figure = new_figure(6.4, 2.55, layout="constrained")
    panels = dict(zip(PANELS, figure.subplots(1, len(PANELS)), strict=True))
    points: dict[str, dict[str, dict]] = {}
    for letter, (metric, axes) in zip("ab", panels.items(), strict=True):
        part = frame[frame["metric"] == metric]
        points[metric] = _draw_panel(axes, part, datasets)
        axes.set_ylabel(PANELS[metric])
        panel_letter(axes, letter)
        log_settings_axis(axes, sizes, "Batch size")
    panels["Utilized clusters"].set_ylim(bottom=0)
    count_axis(panels["Utilized clusters"].yaxis)
    _draw_boxes(panels[PEAK_METRIC], points[PEAK_METRIC], sizes, best)
    handles, labels = panels[PEAK_METRIC].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=max(len(labels), 1))
    return figure


def _select(rows: pd.DataFrame | Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    frame = as_frame(rows)
    frame = frame[frame["prior"] == METHODS["images"][TUNED_METHOD].prior]
    settings = frame["setting"].map(Setting.parse)
    stopped = settings.map(lambda setting: setting.stop == "nmi").astype(bool)
    frame = frame.assign(batch=settings.map(lambda setting: setting.batch_size))
    frame = frame[stopped & frame["metric"].isin(list(PANELS))]
    if frame.empty:
        raise InputError(
            "the batch-size figure has nothing to draw: no row of the VMM has a setting "
            f"b<batch>-nmi and a metric among {list(PANELS)}"
        )
    return usable(frame)


def _draw_panel(axes, part: pd.DataFrame, datasets: list[str]) -> dict[str, dict]:
    drawn = {}
    by_dataset = {name: part[part["dataset"] == name] for name in datasets}
    points = {name: intervals_by(of, "batch") for name, of in by_dataset.items()}
    n_full = max((p.n for of in points.values() for p in of.values()), default=0)
    for i, name in enumerate(datasets):
        if not points[name]:
            continue
        draw_curve(
            axes,
            points[name],
            label=dataset_label(name),
            colour=TYPE_PALETTE[(0, 9, 2, 14)[i] if i < 4 else i],
            marker=MARKERS[i % len(MARKERS)],
            n_full=n_full,
            trials=by_dataset[name][["batch", "value"]].itertuples(index=False, name=None),
        )
        drawn[name] = points[name]
    return drawn


def _draw_boxes(axes, points: dict[str, dict], sizes, best: Mapping[str, int] | None) -> None:
    """Box each data set's peak; data sets that peak at one batch size share a box."""
    means = defaultdict(list)
    for name, of in points.items():
        peak = (best or {}).get(name) or max(of, key=lambda x: of[x].mean)
        if peak in of:
            means[float(peak)].append(of[peak].mean)
    for x, around in means.items():
        box(axes, x, around, sizes)
