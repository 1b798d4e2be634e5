"""Embeddings scored by scIB's metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vmm.benchmark.evaluation.folders import Folders, rows_of
from vmm.benchmark.metrics.integration import integration_scores
from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.rows import rows_from_scores
from vmm.data.containers import load
from vmm.io import read_arrays, read_json

if TYPE_CHECKING:
    import pandas as pd

    from vmm.data.containers import CellData


def evaluate_integration(
    folders: Folders, data_path: str | Path, bras: bool = False, newer: bool = False
) -> pd.DataFrame:
    """Score the embeddings of one cell data set by scIB's metrics, in one process.

    Parameters
    ----------
    folders : iterable of path
        Models' folders.
    data_path : path
    bras : bool
        Whether "Silhouette batch" is BRAS instead of the classic silhouette of the paper.
    newer : bool
        Whether to score metrics that are newer than the paper too.

    Returns
    -------
    pandas.DataFrame
        Tidy rows, the metrics of the family ``integration``.
    """
    data = cast("CellData", load(data_path))
    paths = [Path(folder) for folder in dict.fromkeys(folders)]
    embeddings = {
        str(folder): read_arrays(folder / "latent.npz", "embedding")["embedding"]
        for folder in paths
        if read_json(folder / "run.json", "status")["status"] == "ok"
    }
    metrics = of_family("integration", newer)
    scores = integration_scores(
        embeddings, data.counts, data.batch, data.labels, bras=bras, metrics=metrics
    )

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
        return rows_from_scores(run["spec"], scores[str(folder)])

    return rows_of(paths, "integration", score, newer)
