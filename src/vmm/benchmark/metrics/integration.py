"""How well batches are mixed and cell types kept apart: scIB through scib-metrics (SPEC section 5).

The ten metrics and three aggregates of Luecken et al. (2022), *Nature Methods* 19, 41-50, unscaled,
as ``scib_metrics.benchmark.Benchmarker`` computes them, with these choices:

- Nearest neighbours are exact, everywhere: they are faster than the library's approximate search up
  to some 1e5 cells, whose compilation alone costs a minute in each process, and reproducible.
- kBET searches neighbours in a diffusion map, whose axes the library scales by e / (1 - e), or by 1
  if e = 1, e an eigenvalue. The leading one is 1 but for rounding: where it came out as 1 - 6e-8
  its axis was blown up by 1e7 and alone decided the neighbours (of pbmc_3tech_symphony's PCA, one
  class' kBET was 0.68 instead of 0.24, *KBET* 0.133 instead of 0.077). Here it is 1 exactly. The
  eigenvectors are searched from a fixed start.
- *Silhouette batch* is the classic batch silhouette, as in the paper. Newer releases of the library
  put BRAS in its place; `bras=True` does so too (the metric keeps its name).
- *PCR comparison* is against the raw counts, as in the paper (its section 5): their first 50
  principal components, neither normalised nor logarithmised, which is what ``Benchmarker`` takes
  when its ``adata.X`` holds the counts, as in the paper's published code.
- What is not defined is ``n/a`` with a reason, never 0: everything about batches where there is one
  batch; LISI with fewer than 90 cells, kBET with fewer than 50, graph connectivity with fewer than
  15 (the numbers of neighbours they look at); kBET where no class has 10 cells from two batches;
  batch silhouette where no class has cells from two batches (or all its cells are from different
  ones); everything about classes where there is one class; every metric of an embedding with NaN.
  An aggregate is ``n/a`` when one of its parts is. A class or a batch of one cell is no obstacle:
  its silhouette is 0.

Most of the library's time goes into compiling for each shape of input, so score many embeddings of
one data set in one process. Two metrics that work class by class, and so would compile for each
size of a class, are computed without: the chi-squared test of kBET by scipy, and silhouettes by
scikit-learn, after whose function the library's is modelled (it has no BRAS, which does compile).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vmm.benchmark.names import BATCH_METRICS, BIO_METRICS, INTEGRATION_METRICS
from vmm.errors import InputError

SINGLE_BATCH = "n/a: single batch"
NOT_FINITE = "n/a: the embedding is not finite"
UNDEFINED = "n/a: undefined for this embedding"
NEIGHBOURS = {"Graph connectivity": 15, "KBET": 50, "iLISI": 90, "cLISI": 90}
"""How many nearest neighbours of a cell, itself among them, each metric looks at."""

KBET_MIN_CELLS = 10
N_COMPONENTS = 50
ROUNDING = 1e-6

Score = tuple[float | None, str]


class _Cells(NamedTuple):
    """What all embeddings of one data set are compared with."""

    batch: np.ndarray
    labels: np.ndarray
    principal_components: np.ndarray | None


def integration_scores(
    embeddings: Mapping[str, ArrayLike],
    counts: Any,
    batch: ArrayLike,
    labels: ArrayLike,
    bras: bool = False,
    n_jobs: int = 1,
    compilation_cache: str | os.PathLike | None = None,
) -> dict[str, dict[str, Score]]:
    """Score embeddings of one data set.

    Parameters
    ----------
    embeddings : mapping of str to (N, p) arrays
        What to score, by any names.
    counts : (N, G) scipy.sparse matrix or array
        Raw counts; only PCR comparison uses them.
    batch, labels : (N,) arrays
        Batch and class of each cell, integers or strings.
    bras : bool
        Whether *Silhouette batch* is BRAS.
    n_jobs : int
        Processes for the search of neighbours.
    compilation_cache : path, optional
        Folder where jax keeps compiled programs for later processes on the same kind of machine.
        With it the first embedding of a data set of this shape costs half.

    Returns
    -------
    dict
        Name, then metric (``INTEGRATION_METRICS``) to its value, or None, and its status.

    Raises
    ------
    InputError
        If shapes do not fit one another.
    """
    arrays = {name: _embedding(name, array) for name, array in embeddings.items()}
    cells = _cells(arrays, counts, batch, labels)
    reasons = {metric: _reason(metric, cells) for metric in BATCH_METRICS + BIO_METRICS}
    if not arrays:
        return {}
    with exact_scib(n_jobs, compilation_cache), _without_compiling():
        functions = _functions(bras)
        return {
            name: _with_aggregates(_scores(array, cells, reasons, functions, n_jobs))
            for name, array in arrays.items()
        }


def count_components(counts: Any) -> np.ndarray:
    """Return the first 50 principal components of counts, (N, min(50, N - 1, G - 1)).

    The same as ``scanpy.pp.pca(adata, svd_solver="arpack")`` of the counts, without scanpy.
    """
    from scipy.sparse import issparse
    from sklearn.decomposition import PCA

    matrix = counts.tocsr().astype(np.float32) if issparse(counts) else np.asarray(counts, "f4")
    n_components = min(N_COMPONENTS, min(matrix.shape) - 1)
    pca = PCA(n_components=n_components, svd_solver="arpack", random_state=0)
    return pca.fit_transform(matrix).astype(np.float32)


def exact_neighbours(array: np.ndarray, n_neighbors: int, n_jobs: int = 1, **_: Any) -> Any:
    """Return the exact nearest neighbours of each row, itself among them, for scib-metrics.

    Can be given to ``Benchmarker.prepare(neighbor_computer=...)``. There are at most N of them.
    """
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(array)), n_jobs=n_jobs).fit(array)
    distances, indices = search.kneighbors(array)
    return NeighborsResults(indices=indices, distances=distances)


def _embedding(name: str, array: ArrayLike) -> np.ndarray:
    array = np.ascontiguousarray(array, dtype=np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"embedding {name} has the shape {array.shape} where (N, p) is expected")
    return array


def _cells(arrays: dict[str, np.ndarray], counts: Any, batch: Any, labels: Any) -> _Cells:
    """Check that everything speaks of the same N cells, and prepare what embeddings share."""
    codes = [np.unique(np.asarray(values), return_inverse=True)[1] for values in (batch, labels)]
    sizes = {"the batches": len(codes[0]), "the labels": len(codes[1])}
    sizes |= {"the counts": counts.shape[0]}
    sizes |= {f"embedding {name}": len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        described = ", ".join(f"{what} {size}" for what, size in sizes.items())
        raise InputError(f"the numbers of cells differ: {described}")
    several = codes[0].max(initial=0) > 0 and min(counts.shape) > 1
    return _Cells(codes[0], codes[1], count_components(counts) if several else None)


def _reason(metric: str, cells: _Cells) -> str | None:
    """Return why a metric is not defined for these cells, or None."""
    n_cells = len(cells.labels)
    if metric in BATCH_METRICS and cells.batch.max() == 0:
        return SINGLE_BATCH
    if n_cells < NEIGHBOURS.get(metric, 0):
        return f"n/a: fewer than {NEIGHBOURS[metric]} cells"
    if metric in BIO_METRICS and cells.labels.max() == 0:
        return "n/a: single class"
    if metric == "PCR comparison" and cells.principal_components is None:
        return "n/a: single gene"
    # for each class, the number of cells and of batches
    pairs = np.unique(np.stack([cells.labels, cells.batch]), axis=1)
    n_batches, n_members = np.bincount(pairs[0]), np.bincount(cells.labels)
    if metric == "Silhouette batch" and not ((n_batches > 1) & (n_batches < n_members)).any():
        return "n/a: no class with cells of two batches"
    if metric == "KBET" and not ((n_batches > 1) & (n_members >= KBET_MIN_CELLS)).any():
        return f"n/a: no class with {KBET_MIN_CELLS} cells of two batches"
    return None


def _functions(bras: bool) -> dict[tuple[str, ...], Callable[..., tuple]]:
    """Return for each metric (or pair) a function of embedding, neighbours and cells."""
    import scib_metrics as scib

    def kmeans(z: np.ndarray, near: Any, cells: _Cells) -> tuple:
        # a copy, because the library centres and uncentres its argument in place
        scores = scib.nmi_ari_cluster_labels_kmeans(z.copy(), cells.labels)
        return scores["ari"], scores["nmi"]

    silhouette_batch = scib.bras if bras else scib.silhouette_batch
    single: dict[str, Callable] = {
        "Graph connectivity": lambda z, near, c: scib.graph_connectivity(near(15), c.labels),
        "KBET": lambda z, near, c: scib.kbet_per_label(near(50), c.batch, c.labels),
        "PCR comparison": lambda z, near, c: scib.pcr_comparison(
            c.principal_components, z, c.batch, categorical=True
        ),
        "Silhouette batch": lambda z, near, c: silhouette_batch(z, c.labels, c.batch),
        "iLISI": lambda z, near, c: scib.ilisi_knn(near(90), c.batch),
        "Isolated labels": lambda z, near, c: scib.isolated_labels(z, c.labels, c.batch),
        "Silhouette label": lambda z, near, c: scib.silhouette_label(z, c.labels),
        "cLISI": lambda z, near, c: scib.clisi_knn(near(90), c.labels),
    }
    functions: dict[tuple[str, ...], Callable[..., tuple]] = {("KMeans ARI", "KMeans NMI"): kmeans}
    for metric, function in single.items():
        functions[(metric,)] = lambda *args, function=function: (function(*args),)
    return functions


def _scores(
    array: np.ndarray,
    cells: _Cells,
    reasons: dict[str, str | None],
    functions: dict[tuple[str, ...], Callable[..., tuple]],
    n_jobs: int,
) -> dict[str, Score]:
    """Return the ten metrics of one embedding."""
    if not np.isfinite(array).all():
        return dict.fromkeys(reasons, (None, NOT_FINITE)) | {
            metric: (None, reason) for metric, reason in reasons.items() if reason
        }
    nearest = exact_neighbours(array, max(NEIGHBOURS.values()), n_jobs)
    scores: dict[str, Score] = {}
    for metrics, function in functions.items():
        reason = reasons[metrics[0]]
        values = (None,) * len(metrics) if reason else _call(function, array, nearest, cells)
        for metric, value in zip(metrics, values or (None,), strict=True):
            defined = value is not None and math.isfinite(value)
            scores[metric] = (float(value), "ok") if defined else (None, reason or UNDEFINED)
    return scores


def _call(function: Callable, array: np.ndarray, nearest: Any, cells: _Cells) -> tuple | None:
    """Return a metric's value or values, or None where its eigenvectors do not converge."""
    import warnings

    from scipy.sparse.linalg import ArpackError

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PCR comparison score is negative")
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        try:
            return function(array, nearest.subset_neighbors, cells)
        except ArpackError:
            return None


def _with_aggregates(scores: dict[str, Score]) -> dict[str, Score]:
    """Add Batch correction, Bio conservation and Total; return all in the usual order."""
    batch = _mean("Batch correction", {metric: scores[metric] for metric in BATCH_METRICS})
    bio = _mean("Bio conservation", {metric: scores[metric] for metric in BIO_METRICS})
    if batch[0] is None or bio[0] is None:
        total: Score = (None, batch[1] if batch[0] is None else bio[1])
    else:
        total = (0.4 * batch[0] + 0.6 * bio[0], "ok")
    aggregates = {"Batch correction": batch, "Bio conservation": bio, "Total": total}
    return {metric: (aggregates | scores)[metric] for metric in INTEGRATION_METRICS}


def _mean(name: str, scores: dict[str, Score]) -> Score:
    """Return the mean of some metrics, or why there is none."""
    missing = {metric: status for metric, (value, status) in scores.items() if value is None}
    if not missing:
        return float(np.mean([value for value, _ in scores.values()])), "ok"
    if len(set(missing.values())) == 1 and len(missing) == len(scores):
        return None, next(iter(missing.values()))
    return None, f"n/a: {name} needs {', '.join(missing)}"


@contextmanager
def exact_scib(
    n_jobs: int = 1, compilation_cache: str | os.PathLike | None = None
) -> Iterator[None]:
    """Have scib-metrics compute kBET from exact neighbours and eigenvalues (see the module)."""
    if compilation_cache is not None:
        _cache_compilations(compilation_cache)
    from scib_metrics import nearest_neighbors
    from scib_metrics.utils import _diffusion_nn

    def neighbours(array: np.ndarray, n_neighbors: int, **_: Any) -> Any:
        return exact_neighbours(array, n_neighbors, n_jobs)

    logger = logging.getLogger("scib_metrics")
    saved = nearest_neighbors.pynndescent, _diffusion_nn._compute_eigen, logger.level
    nearest_neighbors.pynndescent = neighbours
    _diffusion_nn._compute_eigen = _leading_eigenvectors
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        nearest_neighbors.pynndescent, _diffusion_nn._compute_eigen = saved[:2]
        logger.setLevel(saved[2])


def _leading_eigenvectors(matrix: Any, n_comps: int = 15) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues (k,), largest first, and eigenvectors (N, k) of a transition matrix.

    As scib-metrics' own function, except for the fixed start (scipy's differs at each call) and for
    eigenvalues that are 1 but for rounding, which are made 1 exactly.
    """
    from scipy.sparse.linalg import eigsh

    n = matrix.shape[0]
    start = np.random.default_rng(0).uniform(-1, 1, n)
    values, vectors = eigsh(matrix.astype(np.float64), k=min(n - 1, n_comps), v0=start)
    values = np.where(np.abs(values - 1) < ROUNDING, 1.0, values)
    return values[::-1].astype(np.float32), vectors[:, ::-1].astype(np.float32)


@contextmanager
def _without_compiling() -> Iterator[None]:
    """Have scib-metrics test neighbours by scipy and take silhouettes from scikit-learn."""
    from scib_metrics.metrics import _isolated_labels, _kbet, _silhouette

    silhouettes, test = _silhouette.silhouette_samples, _kbet.kbet
    last: list[Any] = [None, None, None]  # two metrics take the same silhouettes of all cells

    def classic_silhouettes(
        array: np.ndarray,
        labels: np.ndarray,
        chunk_size: int = 256,
        metric: str = "euclidean",
        between_cluster_distances: str = "nearest",
    ) -> np.ndarray:
        from sklearn.metrics import silhouette_samples

        defined = 1 < len(np.unique(labels)) < len(labels)
        if not defined or (metric, between_cluster_distances) != ("euclidean", "nearest"):
            return silhouettes(array, labels, chunk_size, metric, between_cluster_distances)
        if last[0] is not array or last[1] is not labels:
            last[:] = array, labels, silhouette_samples(array, labels)
        return last[2]

    _kbet.kbet = _neighbours_test
    _silhouette.silhouette_samples = _isolated_labels.silhouette_samples = classic_silhouettes
    try:
        yield
    finally:
        _kbet.kbet = test
        _silhouette.silhouette_samples = _isolated_labels.silhouette_samples = silhouettes


def _neighbours_test(
    nearest: Any, batches: np.ndarray, alpha: float = 0.05
) -> tuple[float, np.ndarray, np.ndarray]:
    """Test whether each cell's neighbours are a sample of all batches (Pearson's chi-squared).

    As ``scib_metrics.kbet``: returns the part of tests not rejected, statistics and p-values (N,).
    """
    from scipy.stats import chi2

    names, codes = np.unique(batches, return_inverse=True)
    expected = np.bincount(codes) / len(codes) * nearest.n_neighbors
    neighbours = codes[nearest.indices]
    observed = np.stack([(neighbours == code).sum(1) for code in range(len(names))], axis=1)
    statistics = ((observed - expected) ** 2 / expected).sum(1)
    p_values = chi2.sf(statistics, len(names) - 1)
    return float((p_values >= alpha).mean()), statistics, p_values


def _cache_compilations(folder: str | os.PathLike) -> None:
    import jax

    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
