"""kBET within each class: whether the neighbours of a cell come from all batches alike.

Büttner et al. (2019), *Nature Methods* 16, 43-49, by classes as Luecken et al. (2022), *Nature
Methods* 19, 41-50. This is ``scib_metrics.kbet_per_label`` with its choices, but for

- neighbours in the diffusion map, which are exact here;
- the map's axes, which are scaled by e / (1 - e), or by 1 if e = 1, e an eigenvalue. The leading
  one is 1 but for rounding: where it came out as 1 - 6e-8 its axis was blown up by 1e7 and alone
  decided the neighbours (of pbmc_3tech_symphony's PCA, one class' kBET was 0.68 instead of 0.24,
  *KBET* 0.133 instead of 0.077). Here it is 1 exactly. The eigenvectors are searched from a fixed
  start;
- the chi-squared test, which is scipy's: the library's compiles anew for each size of a class.

As there, a class' map has no more components than that of any class before it, so that with classes
of fewer than 101 cells their order has some influence (in the third digit, of real cells).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.metrics.neighbours import exact_neighbours
from vmm.benchmark.metrics.scoring import Undefined

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding

N_NEIGHBOURS = 50
MIN_CELLS = 10
MAX_COMPONENTS = 100
SIGNIFICANCE = 0.05
ROUNDING = 1e-6


def kbet_by_class(embedding: Embedding, cells: Cells) -> float:
    """Return the share of cells with well mixed neighbours, mean over classes.

    Without the classes of one batch or of fewer than 10 cells.
    """
    from scipy.sparse.linalg import ArpackError

    nearest = embedding.neighbours(N_NEIGHBOURS)
    sizes = np.bincount(cells.labels)
    classes = np.flatnonzero((cells.batches_of_classes > 1) & (sizes >= MIN_CELLS))
    if len(classes) == 0:
        raise Undefined(f"no class with {MIN_CELLS} cells of two batches")
    graph = nearest.knn_graph_connectivities.tocsr()
    n_components, scores = MAX_COMPONENTS, []
    for label in classes:
        members = np.flatnonzero(cells.labels == label)
        batch = cells.batch[members]
        k = int(np.clip(len(batch) / len(np.unique(batch)) // 4, 10, 70))
        kept = _large_parts(graph[members][:, members], 3 * k)
        if len(kept) < 0.75 * len(members):
            scores.append(0.0)
            continue
        part = graph[members[kept]][:, members[kept]]
        part.sort_indices()
        n_components = min(n_components, len(kept) - 1)
        try:
            near = exact_neighbours(_diffusion_map(part, n_components), k + 1)
        except ArpackError:
            raise Undefined("undefined for this embedding") from None
        except ValueError:  # a map that is not finite: all rejected, as by the library
            scores.append(0.0)
            continue
        p_values = neighbours_test(near.indices, batch[kept])[1]
        scores.append((p_values >= SIGNIFICANCE).mean())
    return float(np.mean(scores))


def neighbours_test(indices: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Test whether each cell's neighbours are a sample of all batches (Pearson's chi-squared).

    Parameters
    ----------
    indices : (N, k) int array
        The neighbours of each cell.
    batch : (N,) array

    Returns
    -------
    statistics, p_values : (N,) arrays
    """
    from scipy.stats import chi2

    names, codes = np.unique(batch, return_inverse=True)
    expected = np.bincount(codes) / len(codes) * indices.shape[1]
    neighbours = codes[indices]
    observed = np.stack([(neighbours == code).sum(1) for code in range(len(names))], axis=1)
    statistics = ((observed - expected) ** 2 / expected).sum(1)
    return statistics, chi2.sf(statistics, len(names) - 1)


def _large_parts(graph: Any, least: int) -> np.ndarray:
    """Return the cells in parts of the graph that have `least` cells; all if it is connected."""
    from scipy.sparse.csgraph import connected_components

    n_parts, parts = connected_components(graph, connection="strong")
    if n_parts == 1:
        return np.arange(len(parts))
    return np.flatnonzero(np.bincount(parts)[parts] >= least)


def _diffusion_map(graph: Any, n_components: int) -> np.ndarray:
    """Return coordinates (N, n) whose distances are those of diffusion over all times.

    Coifman et al. (2005), *PNAS* 102, 7426-7431, as scanpy and scib-metrics compute it, of
    symmetric connectivities (N, N).
    """
    from scipy.sparse import diags

    by_density = diags(1 / np.asarray(graph.sum(axis=0)).ravel())
    kernel = by_density @ graph @ by_density
    by_degree = diags(1 / np.sqrt(np.asarray(kernel.sum(axis=0)).ravel()))
    values, vectors = leading_eigenvectors(by_degree @ kernel @ by_degree, n_components)
    values = values + np.float32(1e-8)
    with np.errstate(divide="ignore"):
        return vectors * np.where(values == 1, values, values / (1 - values))


def leading_eigenvectors(matrix: Any, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues (k,), largest first, and eigenvectors (N, k) of a transition matrix.

    From a fixed start, and restarts (scipy's differ at each call), and with the eigenvalues that
    are 1 but for rounding made 1 exactly.
    """
    from scipy.sparse.linalg import eigsh

    n = matrix.shape[0]
    start = np.random.default_rng(0).uniform(-1, 1, n)
    values, vectors = eigsh(matrix.astype(np.float64), k=min(n - 1, n_components), v0=start, rng=0)
    values = np.where(np.abs(values - 1) < ROUNDING, 1.0, values)
    return values[::-1].astype(np.float32), vectors[:, ::-1].astype(np.float32)
