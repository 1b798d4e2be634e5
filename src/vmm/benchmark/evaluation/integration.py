"""Embeddings scored by scIB's metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from scipy.sparse import issparse

from vmm.benchmark.evaluation.folders import Folders, rows_of
from vmm.benchmark.graphs import read_embedding
from vmm.benchmark.metrics.integration import integration_scores
from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.rows import diverged_rows, rows_from_scores
from vmm.data.containers import load
from vmm.data.stratified import stratified_sample
from vmm.io import read_json

if TYPE_CHECKING:
    import pandas as pd

    from vmm.data.containers import CellData

SAMPLED_GRAPH = "n/a: a graph of more cells than are scored"


def evaluate_integration(
    folders: Folders,
    data_path: str | Path,
    bras: bool = False,
    cells: int | None = None,
    newer: bool = False,
) -> pd.DataFrame:
    """Score the embeddings of one cell data set by scIB's metrics, in one process.

    Parameters
    ----------
    folders : iterable of path
        Models' folders.
    data_path : path
    bras : bool
        Whether "Silhouette batch" is BRAS instead of the classic silhouette of the paper.
    cells : int, optional
        Score a stratified sample of so many cells, the same for all folders, where there are more.
    newer : bool
        Whether to score metrics that are newer than the paper too.

    Returns
    -------
    pandas.DataFrame
        Tidy rows, the metrics of the family ``integration``.
    """
    data = cast("CellData", load(data_path))
    paths = [Path(folder) for folder in dict.fromkeys(folders)]
    rows = stratified_sample(cells, data.batch, data.labels)
    embeddings, sampled_graphs = {}, []
    for folder in paths:
        if read_json(folder / "run.json", "status")["status"] == "ok":
            embedding = read_embedding(folder)
            if issparse(embedding) and len(rows) < data.n_cells:
                sampled_graphs.append(folder)
            else:
                embeddings[str(folder)] = embedding[rows]
    counts = data.counts if len(rows) == data.n_cells else data.counts[rows]
    metrics = of_family("integration", newer)
    scores = integration_scores(
        embeddings,
        counts,
        data.batch[rows],
        data.labels[rows],
        bras=bras,
        metrics=metrics,
        intensities=data.intensities,
    )

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
        if folder in sampled_graphs:
            return diverged_rows(run["spec"], [m.name for m in metrics], SAMPLED_GRAPH)
        return rows_from_scores(run["spec"], scores[str(folder)])

    return rows_of(paths, "integration", score, newer)
