"""Leiden's clusters of embeddings scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm.benchmark.evaluation.folders import Folders, rows_of
from vmm.benchmark.metrics.clustering import assignment_scores
from vmm.benchmark.metrics.leiden import leiden_clusters
from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.rows import rows_from_scores
from vmm.benchmark.setting import LEIDEN
from vmm.data.containers import load
from vmm.io import read_arrays

if TYPE_CHECKING:
    import pandas as pd


def evaluate_leiden(
    folders: Folders, data_path: str | Path, resolution: float = 1.0, newer: bool = False
) -> pd.DataFrame:
    """Score Leiden's clusters of the embeddings of one data set.

    Parameters
    ----------
    folders : iterable of path
        Models' folders.
    data_path : path
    resolution : float
    newer : bool
        Whether to score metrics that are newer than the paper too.

    Returns
    -------
    pandas.DataFrame
        Tidy rows with the setting ``leiden``, the metrics of the family ``clustering``.
    """
    data, metrics = load(data_path), of_family("clustering", newer)
    batch = getattr(data, "batch", None)  # of cells

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
        latent = read_arrays(folder / "latent.npz", "embedding")
        assignment = leiden_clusters(latent["embedding"], resolution)
        scores = assignment_scores(data.labels, assignment, metrics, batch)
        return rows_from_scores(run["spec"] | {"setting": str(LEIDEN)}, scores)

    rows = rows_of(folders, "clustering", score, newer)
    return rows.assign(setting=str(LEIDEN))
