"""Leiden's clusters of embeddings scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from scipy.sparse import issparse

from vmm.benchmark.evaluation.folders import Folders, rows_of
from vmm.benchmark.graphs import read_embedding
from vmm.benchmark.metrics.clustering import assignment_scores
from vmm.benchmark.metrics.leiden import leiden_clusters, leiden_of_graph
from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.rows import rows_from_scores
from vmm.benchmark.setting import LEIDEN
from vmm.data.containers import load
from vmm.data.stratified import stratified_sample

if TYPE_CHECKING:
    import pandas as pd

    from vmm.data.containers import CellData


def evaluate_leiden(
    folders: Folders,
    data_path: str | Path,
    resolution: float = 1.0,
    cells: int | None = None,
    newer: bool = False,
) -> pd.DataFrame:
    """Score Leiden's clusters of the embeddings of one data set.

    Parameters
    ----------
    folders : iterable of path
        Models' folders.
    data_path : path
    resolution : float
    cells : int, optional
        Cluster and score a stratified sample of so many cells where there are more.
    newer : bool
        Whether to score metrics that are newer than the paper too.

    Returns
    -------
    pandas.DataFrame
        Tidy rows with the setting ``leiden``, the metrics of the family ``clustering``.
    """
    data = cast("CellData", load(data_path))
    scored = stratified_sample(cells, data.batch, data.labels)
    labels, batch, metrics = data.labels[scored], data.batch[scored], of_family("clustering", newer)

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
        embedding = read_embedding(folder)
        if issparse(embedding):  # of a graph all cells are clustered, and these scored
            assignment = leiden_of_graph(embedding, resolution)[scored]
        else:
            assignment = leiden_clusters(embedding[scored], resolution)
        scores = assignment_scores(labels, assignment, metrics, batch)
        return rows_from_scores(run["spec"] | {"setting": str(LEIDEN)}, scores)

    rows = rows_of(folders, "clustering", score, newer)
    return rows.assign(setting=str(LEIDEN))
