"""Clusters scored: the models' own, and Leiden's of their embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm.benchmark.evaluation.folders import Folders, rows_of
from vmm.benchmark.metrics.clustering import assignment_scores, clustering_scores
from vmm.benchmark.metrics.leiden import leiden_clusters
from vmm.benchmark.metrics.rows import rows_from_scores
from vmm.benchmark.setting import LEIDEN
from vmm.data.containers import load
from vmm.io import read_arrays

if TYPE_CHECKING:
    import pandas as pd


def evaluate_clustering(folders: Folders, data_path: str | Path) -> pd.DataFrame:
    """Score the clusters of models of one data set on all its rows.

    Parameters
    ----------
    folders : iterable of path
        Models' folders; those whose method does not cluster are passed over.
    data_path : path

    Returns
    -------
    pandas.DataFrame
        Tidy rows, the metrics of the family ``clustering``.
    """
    data = load(data_path)

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame | None:
        latent = read_arrays(folder / "latent.npz", "embedding")
        if "cluster_probs" not in latent:
            return None
        scores = clustering_scores(data.labels, latent["cluster_probs"])
        return rows_from_scores(run["spec"], scores)

    return rows_of(folders, "clustering", score)


def evaluate_leiden(
    folders: Folders, data_path: str | Path, resolution: float = 1.0
) -> pd.DataFrame:
    """Score Leiden's clusters of the embeddings of one data set.

    Parameters
    ----------
    folders : iterable of path
        Models' folders.
    data_path : path
    resolution : float

    Returns
    -------
    pandas.DataFrame
        Tidy rows with the setting ``leiden``, the metrics of the family ``clustering``.
    """
    data = load(data_path)

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
        latent = read_arrays(folder / "latent.npz", "embedding")
        assignment = leiden_clusters(latent["embedding"], resolution)
        scores = assignment_scores(data.labels, assignment)
        return rows_from_scores(run["spec"] | {"setting": str(LEIDEN)}, scores)

    rows = rows_of(folders, "clustering", score)
    return rows.assign(setting=str(LEIDEN))
