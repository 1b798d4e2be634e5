"""What clusters consist of: a heat map of clusters by known labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vmm.errors import InputError
from vmm.plots.style import FONT_SIZE, INK, SMALL, new_figure, styled, text_width

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CELL = 0.24
LEAST_PRINTED = 0.05


@styled
def composition_figure(counts: pd.DataFrame, title: str = "") -> Figure:
    """Draw the part of each cluster's cells that has each label.

    `counts` are numbers of cells, of clusters (rows, named) × labels (columns, named). Clusters are
    grouped by their most frequent label, so that agreement shows as a staircase; within a label the
    largest cluster comes first. Axes are labelled ``composition``.
    """
    if counts.size == 0 or counts.to_numpy().sum() == 0:
        raise InputError("a heat map of clusters by labels needs at least one cell")
    counts = arranged(counts)
    shares = counts.div(counts.sum(axis=1), axis=0).to_numpy()
    rows = [f"{name}  ({size:,})" for name, size in counts.sum(axis=1).items()]
    labels = [str(label) for label in counts.columns]
    left = max(text_width(row, SMALL) for row in rows) + 0.3
    below = max(text_width(label, SMALL) for label in labels) + 0.15
    top = 0.3
    width, height = left + CELL * len(labels) + 0.7, top + CELL * len(rows) + below
    figure = new_figure(width, height)
    box = (left / width, below / height, CELL * len(labels) / width, CELL * len(rows) / height)
    axes = figure.add_axes(box, label="composition")
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, j in np.argwhere(shares >= LEAST_PRINTED):
        text = f"{100 * shares[i, j]:.0f}"
        colour = "white" if shares[i, j] > 0.55 else INK
        axes.text(j, i, text, ha="center", va="center", fontsize=5, color=colour)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set_xticks(range(len(labels)), labels, rotation=90, parse_math=False)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=FONT_SIZE + 1, fontweight="bold", loc="left")
    bar = figure.add_axes((1 - 0.5 / width, box[1], 0.08 / width, box[3]), label="key")
    figure.colorbar(image, cax=bar, ticks=[0, 0.5, 1])
    bar.set_yticklabels(["0", "50", "100 %"])
    return figure


def arranged(counts: pd.DataFrame) -> pd.DataFrame:
    """Sort labels by size, and clusters by their most frequent label, then by size."""
    counts = counts.loc[counts.sum(axis=1) > 0, counts.sum(axis=0) > 0]
    counts = counts[counts.sum(axis=0).sort_values(ascending=False, kind="stable").index]
    major, sizes = counts.to_numpy().argmax(axis=1), counts.sum(axis=1).to_numpy()
    return counts.iloc[np.lexsort((-sizes, major))]
