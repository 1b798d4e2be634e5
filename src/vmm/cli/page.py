"""The page that ``vmm fit`` writes."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vmm.cli.words import option_words
from vmm.html import embedded, style
from vmm.io import atomic
from vmm.versions import installed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from vmm.cli.cells import Cells
    from vmm.scvi import SCVI
    from vmm.scvi.stability import ClusterStability

CAPTIONS = {
    "clusters": "Cells by cluster, with the number of cells.",
    "batches": "Cells by batch.",
    "labels": "Cells by known label.",
    "consensus": "Cells by cluster of the partition that all trainings share; grey: it is unsure.",
    "stays": "In which part of the other trainings a cell is in the cluster most like its own.",
}
CELLS, SEEDS = ("clusters", "batches", "labels"), ("consensus", "stays")
"""Figures that stand side by side, in two sections."""
WIDE = 6.0
"""Figures wider than this, in inches, have a row of their own: what is written in them stays
readable."""
LEAST_SHOWN = 0.005
"""Smaller parts of a cluster are left blank."""
COLUMNS = {
    "n_cells": ("cells", "{:,}"),
    "fraction": ("of all", "{:.1%}"),
    "mean_probability": ("mean probability", "{:.2f}"),
    "weight": ("weight π", "{:.3f}"),
    "n_labelled": ("labelled", "{:,}"),
    "label": ("most frequent label", "{}"),
    "label_fraction": ("of the labelled", "{:.0%}"),
    "verdict": ("with other seeds", "{}"),
    "jaccard": ("mean Jaccard", "{:.2f}"),
    "comes_back": ("comes back in", "{:.0%}"),
    "n_unsure": ("unsure cells", "{:,}"),
    "markers": ("markers", "{}"),
}
"""Columns of the page's table, what they are called there and how values are shown. The file has
more: cells by name, and parts of batches, which have a table of their own here."""


@dataclass
class Heat:
    """A table of what clusters consist of, as coloured numbers.

    Parameters
    ----------
    heading, text
        What it is.
    columns
        Names of the clusters.
    rows
        Names, numbers of cells, and parts of each cluster's cells.
    """

    heading: str
    text: str
    columns: list[str]
    rows: list[tuple[str, int, list[float]]]

    @property
    def longest(self) -> int:
        """Letters of the longest name."""
        return max(len(name) for name, *_ in self.rows)


def write_page(
    path: Path,
    model: SCVI,
    table: pd.DataFrame,
    figures: Mapping[str, Figure],
    cells: Cells,
    options: argparse.Namespace,
    stability: ClusterStability | None = None,
) -> None:
    """Write one HTML file with everything inside; it links to the larger files beside it.

    Parameters
    ----------
    path
        The page; figures lie in ``figures/`` beside it.
    model
        Trained.
    table
        Of its clusters.
    figures
        By their names.
    cells
        What it was trained on.
    options
        Of ``vmm fit``.
    stability
        Of its clusters over seeds, if that was asked for.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True
    )
    environment.filters["shown"] = shown
    text = environment.get_template("page.html.jinja").render(
        name=Path(options.path).name,
        css=style(),
        table=table,
        columns={name: column for name, column in COLUMNS.items() if name in table},
        figures=[pictured(path, name, figures[name]) for name in CELLS if name in figures],
        stable=None if stability is None else stability.sentences(),
        by_seed=[pictured(path, name, figures[name]) for name in SEEDS if name in figures],
        training=pictured(path, "training", figures["training"]) if "training" in figures else None,
        composition="composition" in figures,
        heats=heats(model, cells, options),
        least_shown=LEAST_SHOWN,
        notes=cells.notes,
        alarms=cells.alarms,
        n_cells=cells.adata.n_obs,
        n_valid=len(model.validation_indices),
        n_used=cells.adata.n_vars,
        n_genes=cells.n_genes,
        n_batches=model.summary_stats.n_batch,
        epochs=len(model.history["elbo_train"]),
        best=model.best_epoch_,
        patience=options.patience,
        command=command(options),
        versions=installed("torch", "scvi-tools", "anndata"),
    )
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def shown(value: object, form: str) -> str:
    """Return a value of the table as text; nothing for what is missing."""
    return "" if isinstance(value, float) and math.isnan(value) else form.format(value)


def pictured(page: Path, name: str, figure: Figure) -> dict[str, Any]:
    """Return what the page shows of a figure."""
    width = float(figure.get_figwidth())
    return {
        "name": name,
        "caption": CAPTIONS.get(name, ""),
        "source": embedded(page.parent / "figures" / f"{name}.png"),
        "inches": round(width, 2),
        "wide": width > WIDE,
    }


def heats(model: SCVI, cells: Cells, options: argparse.Namespace) -> list[Heat]:
    """Return tables of what clusters consist of: known labels, batches."""
    clusters, found = model.predict(), []
    if cells.labels is not None and cells.labels.notna().any():
        n, n_labelled = len(cells.labels), int(cells.labels.notna().sum())
        of = "all cells have one" if n == n_labelled else f"{n_labelled:,} of {n:,} cells have one"
        heat = _heat(
            clusters,
            cells.labels.to_numpy(),
            f"Known labels: {options.label_key}",
            f"Part of each cluster's labelled cells (in %) with each label; {of}. "
            "Labels are in the order of the clusters that have most of them.",
        )
        heat.rows.sort(key=lambda row: (row[2].index(max(row[2])), -row[1]))
        found.append(heat)
    if options.batch_key is not None and model.summary_stats.n_batch > 1:
        batches = cells.adata.obs[options.batch_key]
        heat = _heat(
            clusters,
            batches.to_numpy(),
            f"Batches: {options.batch_key}",
            "Part of each cluster's cells (in %) from each batch, and of all cells.",
        )
        order = list(batches.cat.categories)
        heat.rows.sort(key=lambda row: order.index(row[0]))
        for _, n, parts in heat.rows:
            parts.append(n / len(batches))
        heat.columns.append("all")
        found.append(heat)
    return found


def _heat(clusters: pd.Categorical, of: np.ndarray, heading: str, text: str) -> Heat:
    import pandas as pd

    counts = pd.crosstab(pd.Series(of, dtype=object), pd.Series(clusters, dtype=object))
    counts = counts.reindex(columns=clusters.categories, fill_value=0)
    parts = counts / counts.sum().clip(lower=1)
    rows = [
        (str(name), int(counts.loc[name].sum()), list(parts.loc[name].astype(float)))
        for name in counts.index
    ]
    return Heat(heading, text, [str(name) for name in clusters.categories], rows)


def command(options: argparse.Namespace) -> str:
    """Return the command that the options came from, with all defaults, to be pasted.

    It writes to another folder: this one has files now. What was tuned is given as it was chosen.
    """
    left_out = ("path", "command", "version", "overwrite", "tune")
    named = {key: value for key, value in vars(options).items() if key not in left_out}
    named["output"] = options.output.rstrip("/") + "_again"
    path = f"./{options.path}" if options.path.startswith("-") else options.path
    words = ["vmm fit", shlex.quote(path)]
    for key, value in named.items():
        if isinstance(value, bool):
            given = key if value else f"no_{key}"
            words += [option_words(given)] if value or key == "cuda_graph" else []
        elif value is not None:
            each = value if isinstance(value, list) else [value]
            words += [option_words(key, str(one)) for one in each]
    return " ".join(words)
