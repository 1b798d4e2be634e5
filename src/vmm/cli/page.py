"""The page that ``vmm fit`` writes."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vmm.html import embedded, style
from vmm.io import atomic
from vmm.versions import installed

if TYPE_CHECKING:
    import pandas as pd

    from vmm.cli.fit import Cells
    from vmm.scvi import SCVI

CAPTIONS = {
    "clusters": "Cells by cluster, with the number of cells.",
    "batches": "Cells by batch.",
    "labels": "Cells by known label.",
    "composition": "Part of each cluster's cells (in %) with each known label.",
    "training": "ELBO and number of utilised clusters over epochs.",
}


def write_page(
    path: Path,
    model: SCVI,
    table: pd.DataFrame,
    figures: list[str],
    cells: Cells,
    options: argparse.Namespace,
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
        Names of the figures.
    cells
        What it was trained on.
    options
        Of ``vmm fit``.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True
    )
    environment.filters["shown"] = lambda x: f"{x:.3g}" if isinstance(x, float) else f"{x}"
    folder = path.parent / "figures"
    shown = [
        {"name": name, "caption": CAPTIONS[name], "source": embedded(folder / f"{name}.png")}
        for name in figures
    ]
    text = environment.get_template("page.html.jinja").render(
        name=Path(options.path).name,
        css=style(),
        table=table,
        columns=list(table.columns),
        figures=shown,
        notes=cells.notes,
        n_cells=cells.adata.n_obs,
        n_used=cells.adata.n_vars,
        n_genes=cells.n_genes,
        n_batches=model.summary_stats.n_batch,
        epochs=len(model.history["elbo_train"]),
        best=model.best_epoch_,
        command=command(options),
        versions=installed("torch", "scvi-tools", "anndata"),
    )
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def command(options: argparse.Namespace) -> str:
    """Return the command that the options came from, with all defaults."""
    left_out = ("path", "command", "version", "overwrite")
    named = {key: value for key, value in vars(options).items() if key not in left_out}
    words = ["vmm", "fit", options.path]
    for key, value in named.items():
        option = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        elif value is not None:
            words += [option, str(value)]
    return shlex.join(words)
