"""Training curves for the report: ELBO and utilised clusters over epochs, method by method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from vmm.errors import InputError
from vmm.figures.colours import METHOD_COLOURS, mix
from vmm.figures.style import FONT_SIZE, MUTED, PAGE_WIDTH, SMALL, new_figure, styled
from vmm.io import read_table
from vmm.names import METHODS

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
def training_curves_figure(
    histories: Mapping[str, Sequence[pd.DataFrame]],
    best_epochs: Mapping[str, Sequence[int | None]] | None = None,
    kind: str = "images",
    title: str | None = None,
) -> Figure:
    """Draw small multiples of the trials' training: a column per method, a row per quantity.

    The top row shows the ELBO on training (pale) and validation data (dark), a line per trial, the
    next the utilised clusters where the method has any, the last the validation NMI where it was
    recorded. Axes are shared along a row, so that methods can be compared; the ELBO's steep first
    epochs are cut off.

    Parameters
    ----------
    histories
        ``{method: histories of its trials}``, the method by its short name in
        :data:`vmm.names.METHODS`, each history as :func:`read_history` gives it.
    best_epochs
        ``{method: best epoch of each trial}``, marked by a dot; None where there is none.
    kind
        ``images`` or ``cells``: which labels the methods have.
    title
        Printed above.

    Returns
    -------
    matplotlib.figure.Figure
        Axes are labelled ``<method>/<row>``.

    Raises
    ------
    InputError
        If there is no epoch to draw.
    """
    histories, best = _drop_empty(histories, best_epochs or {})
    if not histories:
        raise InputError("the training curves have nothing to draw: no history has an epoch")
    rows = [row for row in PANELS if any(_has(h, row) for of in histories.values() for h in of)]
    width = min(PAGE_WIDTH, 1.1 + 1.6 * len(histories))
    figure = new_figure(width, 0.6 + 1.35 * len(rows), layout="constrained")
    grid = figure.subplots(len(rows), len(histories), squeeze=False, sharex=True, sharey="row")
    for j, (method, trials) in enumerate(histories.items()):
        for i, row in enumerate(rows):
            axes = grid[i, j]
            axes.set_label(f"{method}/{row}")
            _draw(axes, row, trials, best[method], METHOD_COLOURS.get(method, "#444444"))
        grid[0, j].set_title(_label(method, kind), fontsize=FONT_SIZE, fontweight="bold")
        grid[-1, j].set_xlabel("Epoch")
    for i, row in enumerate(rows):
        grid[i, 0].set_ylabel(PANELS[row])
    grid[0, 0].set_ylim(*_elbo_limits(histories))
    if "utilized_clusters" in rows:
        grid[rows.index("utilized_clusters"), 0].set_ylim(bottom=0)
    _legend(figure, title)
    return figure


def _drop_empty(histories, best_epochs) -> tuple[dict[str, list], dict[str, list]]:
    """Leave out histories without an epoch, with their best epochs, and methods without any."""
    kept, best = {}, {}
    for method, trials in histories.items():
        epochs = list(best_epochs.get(method, [None] * len(trials)))
        pairs = [(h, e) for h, e in zip(trials, epochs, strict=True) if len(h)]
        if pairs:
            kept[method], best[method] = ([pair[i] for pair in pairs] for i in (0, 1))
    return kept, best


def _label(method: str, kind: str) -> str:
    known = METHODS[kind].get(method)
    return known.label if known else method


def _has(history: pd.DataFrame, row: str) -> bool:
    columns = ELBOS if row == "elbo" else [row]
    known = set(columns) <= set(history.columns)
    return known and bool(np.isfinite(history[columns].astype(float)).any(axis=None))


def _draw(axes: Axes, row: str, trials, best, colour: str) -> None:
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


def _elbo_limits(histories: Mapping[str, Sequence[pd.DataFrame]]) -> tuple[float, float]:
    """Limits that hold every trial from a tenth of its epochs on, and all maxima."""
    late, top = [], []
    for trials in histories.values():
        for history in trials:
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
