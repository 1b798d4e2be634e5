"""Training curves for the report: ELBO and utilised clusters over epochs, method by method."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vmm.errors import InputError
from vmm.io import read_table
from vmm.plots.colours import mix
from vmm.plots.curves import count_axis
from vmm.plots.style import FONT_SIZE, MUTED, PAGE_WIDTH, SMALL, new_figure, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ELBOS = ["train_elbo", "valid_elbo"]
COLUMNS = ["epoch", *ELBOS, "utilized_clusters"]
NMI = "valid_unmerged_nmi"
PANELS = {
    "elbo": "ELBO",
    "utilized_clusters": "Utilised clusters",
    NMI: "NMI (unmerged),\nvalidation",
}


class Trainings(NamedTuple):
    """The trials of one method.

    Attributes
    ----------
    label, colour : str
    histories : list of pandas.DataFrame
        Of each trial, as :func:`read_history` gives it.
    best_epochs : list of int or None
        Of each trial, marked by a dot; None where there is none.
    """

    label: str
    colour: str
    histories: Sequence[pd.DataFrame]
    best_epochs: Sequence[int | None]


def read_history(path: str | PathLike) -> pd.DataFrame:
    """Read a job's ``history.csv``.

    Raises
    ------
    InputError
        If the file is damaged or a column of :data:`COLUMNS` is missing.
    """
    history = read_table(path)
    missing = [column for column in COLUMNS if column not in history.columns]
    if missing:
        raise InputError(f"{path} lacks the columns {missing}; a history has {COLUMNS}")
    return history


@styled
def training_curves_figure(methods: Sequence[Trainings], title: str | None = None) -> Figure:
    """Draw small multiples of the trials' training: a column per method, a row per quantity.

    The top row shows the ELBO on training (pale) and validation data (dark), a line per trial, the
    next the utilised clusters where the method has any, the last the validation NMI where it was
    recorded. Axes are shared along a row, so that methods can be compared; the ELBO's steep first
    epochs are cut off.

    Parameters
    ----------
    methods
        In the order of the columns.
    title
        Printed above.

    Returns
    -------
    matplotlib.figure.Figure
        Axes are labelled ``<label>/<row>``.

    Raises
    ------
    InputError
        If there is no epoch to draw.
    """
    shown = [method for method in map(_with_epochs, methods) if method.histories]
    if not shown:
        raise InputError("the training curves have nothing to draw: no history has an epoch")
    histories = [history for method in shown for history in method.histories]
    rows = [row for row in PANELS if any(_has(history, row) for history in histories)]
    width = min(PAGE_WIDTH, 1.1 + 1.6 * len(shown))
    figure = new_figure(width, 0.6 + 1.35 * len(rows), layout="constrained")
    grid = figure.subplots(len(rows), len(shown), squeeze=False, sharex=True, sharey="row")
    for j, method in enumerate(shown):
        for i, row in enumerate(rows):
            axes = grid[i, j]
            axes.set_label(f"{method.label}/{row}")
            _draw(axes, row, method)
        grid[0, j].set_title(method.label, fontsize=FONT_SIZE, fontweight="bold")
        grid[-1, j].set_xlabel("Epoch")
    for i, row in enumerate(rows):
        grid[i, 0].set_ylabel(PANELS[row])
    grid[0, 0].set_ylim(*_elbo_limits(histories))
    if "utilized_clusters" in rows:
        clusters = grid[rows.index("utilized_clusters"), 0]
        clusters.set_ylim(bottom=0)
        count_axis(clusters.yaxis)
    count_axis(grid[0, 0].xaxis)
    _legend(figure, title)
    return figure


def _with_epochs(method: Trainings) -> Trainings:
    """Leave out histories without an epoch, with their best epochs."""
    pairs = zip(method.histories, method.best_epochs, strict=True)
    kept = [(history, epoch) for history, epoch in pairs if len(history)]
    return method._replace(histories=[h for h, _ in kept], best_epochs=[e for _, e in kept])


def _has(history: pd.DataFrame, row: str) -> bool:
    columns = ELBOS if row == "elbo" else [row]
    known = set(columns) <= set(history.columns)
    return known and bool(np.isfinite(history[columns].astype(float)).any(axis=None))


def _draw(axes: Axes, row: str, method: Trainings) -> None:
    _, colour, trials, best = method
    columns = ELBOS if row == "elbo" else [row]
    axes.grid(axis="y")
    if not any(_has(history, row) for history in trials):
        word = "diverged" if row == "elbo" else "none"
        axes.text(0.5, 0.5, word, transform=axes.transAxes, ha="center", color=MUTED)
        return
    for history, epoch in zip(trials, best, strict=True):
        for column in columns:
            if not _has(history, column if row != "elbo" else row):
                continue
            pale = column == "train_elbo"
            line = mix(colour, "#ffffff", 0.6) if pale else colour
            axes.plot(history["epoch"], history[column], color=line, linewidth=0.8, label=column)
            at = history["epoch"] == epoch
            if not pale and epoch is not None and at.any():
                y = history.loc[at, column].to_numpy()
                axes.plot(
                    [epoch], y[:1], "o", color=colour, ms=3.6, mec="white", mew=0.5, gid="best"
                )


def _elbo_limits(histories: Sequence[pd.DataFrame]) -> tuple[float, float]:
    """Limits that hold every trial from a tenth of its epochs on, and all maxima."""
    late, top = [], []
    for history in histories:
        elbo = history[ELBOS].to_numpy(dtype=float)
        tail = elbo[len(elbo) // 10 :]
        late.append(np.min(tail[np.isfinite(tail)], initial=np.inf))
        top.append(np.max(elbo[np.isfinite(elbo)], initial=-np.inf))
    late = [v for v in late if np.isfinite(v)]
    top = [v for v in top if np.isfinite(v)]
    if not late or not top:
        return (-1.0, 0.0)
    low, high = min(late), max(top)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _legend(figure: Figure, title: str | None) -> None:
    from matplotlib.lines import Line2D

    dark, pale = MUTED, mix(MUTED, "#ffffff", 0.6)
    handles = [
        Line2D([], [], color=pale, linewidth=1.2, label="training"),
        Line2D([], [], color=dark, linewidth=1.2, label="validation"),
        Line2D([], [], color=dark, marker="o", ms=3.6, linestyle="none", label="best epoch"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=SMALL)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=FONT_SIZE + 1, fontweight="bold")
