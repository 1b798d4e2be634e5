"""Models' own clusters scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm.benchmark.evaluation.folders import Folders, rows_of
from vmm.benchmark.metrics.clustering import clustering_scores
from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.rows import rows_from_scores
from vmm.data.containers import load
from vmm.io import read_arrays

if TYPE_CHECKING:
    import pandas as pd


def evaluate_clustering(
    folders: Folders, data_path: str | Path, newer: bool = False
) -> pd.DataFrame:
    """Score the clusters of models of one data set on all its rows.

    Parameters
    ----------
    folders : iterable of path
        Models' folders; those whose method does not cluster are passed over.
    data_path : path
    newer : bool
        Whether to score metrics that are newer than the paper too.

    Returns
    -------
    pandas.DataFrame
        Tidy rows, the metrics of the family ``clustering``.
    """
    data, metrics = load(data_path), of_family("clustering", newer)
    batch = getattr(data, "batch", None)  # of cells

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame | None:
        latent = read_arrays(folder / "latent.npz", "embedding")
        if "cluster_probs" not in latent:
            return None
        scores = clustering_scores(data.labels, latent["cluster_probs"], metrics, batch)
        return rows_from_scores(run["spec"], scores)

    return rows_of(folders, "clustering", score, newer)
