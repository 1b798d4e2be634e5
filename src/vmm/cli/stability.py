"""``vmm fit --seeds N``: which clusters other seeds find too."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vmm.errors import InputError
from vmm.io import atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from vmm.cli.cells import Cells
    from vmm.scvi import SCVI
    from vmm.scvi.stability import ClusterStability

OF_CELLS = {"stays": "vmm_stays", "consensus": "vmm_consensus", "unsure": "vmm_unsure"}
"""Columns that the result's ``obs`` gets."""
OF_CLUSTERS = ("verdict", "jaccard", "jaccard_min", "comes_back", "stays", "n_unsure")
"""Columns that the table of the clusters gets."""
TABLE = "seeds.csv"


def stability_of(model: SCVI, cells: Cells, options: argparse.Namespace) -> ClusterStability | None:
    """Train with other seeds, if asked for; without an end of it, all else is still written."""
    if not options.seeds:
        return None
    try:
        return model.cluster_stability(options.seeds, accelerator=options.device)
    except KeyboardInterrupt:
        cells.alarm(
            "The trainings with other seeds were interrupted: which clusters come back is not "
            "known. Clusters and all else are those of the training before, which is complete."
        )
    except InputError as error:
        cells.alarm(f"Which clusters come back is not known: {error}")
    return None


def columns(stability: ClusterStability | None, options: argparse.Namespace) -> dict[str, object]:
    """Return what ``obs`` gets; before the training any values of the same kind."""
    if stability is not None:
        return {name: stability.cells[key].array for key, name in OF_CELLS.items()}
    if not options.seeds:
        return {}
    return {"vmm_stays": 0.0, "vmm_consensus": "0", "vmm_unsure": False}


def makers(model: SCVI, stability: ClusterStability | None) -> dict[str, Callable[[], Figure]]:
    """Return what draws the figures, by their names."""
    if stability is None:
        return {}
    return {name: partial(model.plot_stability, stability, name) for name in ("consensus", "stays")}


def described(table: pd.DataFrame, stability: ClusterStability | None) -> pd.DataFrame:
    """Add to a table of the clusters how well they come back, after their sizes."""
    if stability is not None:
        place = table.columns.get_loc("weight") + 1
        for offset, name in enumerate(OF_CLUSTERS):
            table.insert(place + offset, name, stability.clusters[name].reindex(table.index))
    return table


def write_seeds(folder: Path, stability: ClusterStability | None) -> None:
    """Write a row for each seed: its clusters, and its agreement with each other one."""
    path = folder / TABLE
    if stability is None:
        path.unlink(missing_ok=True)  # of options that are no longer given
        return
    table = stability.ari.add_prefix("ari_with_")
    table.insert(0, "n_clusters", stability.n_clusters)
    with atomic(path) as temporary:
        table.to_csv(temporary)
