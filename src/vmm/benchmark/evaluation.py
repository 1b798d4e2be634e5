"""From models' folders to tidy rows of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vmm.benchmark.metrics.clustering import assignment_scores, clustering_scores
from vmm.benchmark.metrics.leiden import leiden_clusters
from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.rows import concatenate_rows, diverged_rows, rows_from_scores
from vmm.benchmark.setting import LEIDEN
from vmm.data.containers import load
from vmm.io import read_arrays, read_json

if TYPE_CHECKING:
    import pandas as pd

    from vmm.data.containers import CellData

Folders = Iterable[str | Path]


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

    return _rows(folders, "clustering", score)


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

    rows = _rows(folders, "clustering", score)
    return rows.assign(setting=str(LEIDEN))


def evaluate_elbo_surgery(
    folder: str | Path,
    data_path: str | Path,
    split_path: str | Path,
    n_samples: int = 100,
    device: str = "auto",
    max_elements: int | None = None,
) -> pd.DataFrame:
    """Decompose the validation ELBO of one image model.

    Parameters
    ----------
    folder, data_path, split_path : path
    n_samples : int
        Samples of z for each validation image.
    device : str
    max_elements : int, optional
        Bounds memory; see :func:`vmm.benchmark.metrics.elbo_surgery.elbo_surgery`.

    Returns
    -------
    pandas.DataFrame
        Tidy rows, the metrics of the family ``elbo_surgery``.
    """
    import torch

    from vmm.benchmark.jobs import read_split
    from vmm.benchmark.metrics.aggregate_posterior import MAX_ELEMENTS
    from vmm.benchmark.metrics.elbo_surgery import elbo_surgery
    from vmm.benchmark.samples import load_model
    from vmm.numerics.seeds import seed_of

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
        spec = run["spec"]
        model, _, tensors = load_model(folder, data_path, split_path, device)
        generator = torch.Generator(tensors.device)
        generator.manual_seed(seed_of(spec["seed"], spec["trial"], "elbo surgery"))
        valid = torch.as_tensor(read_split(split_path)[1], device=tensors.device)
        batches = [tensors.batch(rows) for rows in valid.split(1000)]
        limit = max_elements or MAX_ELEMENTS
        return rows_from_scores(spec, elbo_surgery(model, batches, n_samples, generator, limit))

    return _rows([folder], "elbo_surgery", score)


def evaluate_integration(
    folders: Folders, data_path: str | Path, bras: bool = False
) -> pd.DataFrame:
    """Score the embeddings of one cell data set by scIB's metrics, in one process.

    Parameters
    ----------
    folders : iterable of path
        Models' folders.
    data_path : path
    bras : bool
        Whether "Silhouette batch" is BRAS instead of the classic silhouette of the paper.

    Returns
    -------
    pandas.DataFrame
        Tidy rows, the metrics of the family ``integration``.
    """
    from vmm.benchmark.metrics.integration import integration_scores

    data = cast("CellData", load(data_path))
    paths = [Path(folder) for folder in dict.fromkeys(folders)]
    embeddings = {
        str(folder): read_arrays(folder / "latent.npz", "embedding")["embedding"]
        for folder in paths
        if read_json(folder / "run.json", "status")["status"] == "ok"
    }
    scores = integration_scores(embeddings, data.counts, data.batch, data.labels, bras=bras)

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
        return rows_from_scores(run["spec"], scores[str(folder)])

    return _rows(paths, "integration", score)


def _rows(
    folders: Folders,
    family: str,
    score: Callable[[Path, dict[str, Any]], pd.DataFrame | None],
) -> pd.DataFrame:
    """Join the rows of all folders; a run that is not ok gets rows that say why."""
    metrics = [metric.name for metric in of_family(family)]
    parts = []
    for folder in map(Path, folders):
        run = read_json(folder / "run.json", "status", "spec")
        if run["status"] == "ok":
            rows = score(folder, run)
        else:
            rows = diverged_rows(run["spec"], metrics, run["status"])
        if rows is not None:
            parts.append(rows)
    return concatenate_rows(parts)
