"""Figure 1: the VMM's utilised clusters and unmerged NMI against batch size."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from vmm.benchmark.grid import TUNED_METHOD
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.setting import Setting
from vmm.errors import InputError
from vmm.paper.labels import dataset_label
from vmm.plots.colours import TYPE_PALETTE
from vmm.plots.curves import box, count_axis, draw_curves, log_settings_axis
from vmm.plots.style import new_figure, note_figure, panel_letter, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PANELS = {"Utilized clusters": "Utilised clusters", "NMI (unmerged)": "NMI (unmerged)"}
PEAK_METRIC = "NMI (unmerged)"
COLOURS = [TYPE_PALETTE[i] for i in (0, 9, 2, 14, *range(4, len(TYPE_PALETTE)))]


@styled
def batch_size_figure(rows: pd.DataFrame) -> Figure:
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
        parts = {name: part[part["dataset"] == name] for name in datasets}
        points[metric] = draw_curves(axes, parts, "batch", dataset_label, COLOURS)
        axes.set_ylabel(PANELS[metric])
        panel_letter(axes, letter)
        log_settings_axis(axes, sizes, "Batch size")
    panels["Utilized clusters"].set_ylim(bottom=0)
    count_axis(panels["Utilized clusters"].yaxis)
    _draw_boxes(panels[PEAK_METRIC], points[PEAK_METRIC], sizes)
    handles, labels = panels[PEAK_METRIC].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=max(len(labels), 1))
    return figure


def _select(rows: pd.DataFrame) -> pd.DataFrame:
    frame = rows[rows["prior"] == METHODS["images"][TUNED_METHOD].prior]
    settings = frame["setting"].map(Setting.parse)
    stopped = settings.map(lambda setting: setting.stop == "nmi").astype(bool)
    frame = frame.assign(batch=settings.map(lambda setting: setting.batch_size))
    frame = frame[stopped & frame["metric"].isin(list(PANELS))]
    if frame.empty:
        raise InputError(
            "the batch-size figure has nothing to draw: no row of the VMM has a setting "
            f"b<batch>-nmi and a metric among {list(PANELS)}"
        )
    return frame[frame["status"] == "ok"]


def _draw_boxes(axes, points: dict[str, dict], sizes) -> None:
    """Box each data set's peak; data sets that peak at one batch size share a box."""
    means = defaultdict(list)
    for of in filter(None, points.values()):
        peak = max(of, key=lambda x: of[x].mean)
        means[peak].append(of[peak].mean)
    for x, around in means.items():
        box(axes, x, around, sizes)
