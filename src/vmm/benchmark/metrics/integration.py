"""How well batches are mixed and cell types kept apart, by the metrics ``integration``.

The ten metrics and three aggregates of Luecken et al. (2022), *Nature Methods* 19, 41-50, unscaled,
as ``scib_metrics.benchmark.Benchmarker`` computes them, with these choices:

- Nearest neighbours are exact up to 100 000 cells (`neighbours`), and *KBET* is computed here
  (`kbet`).
- *Silhouette batch* is the classic batch silhouette, as in the paper. Newer releases of the library
  put BRAS in its place; `bras=True` does so too (the metric keeps its name).
- *PCR comparison* is against the raw counts, as in the paper (its section 5).
- What is not defined is ``n/a`` with a reason, never 0: everything about batches where there is one
  batch; what looks at more neighbours than there are cells; everything about classes where there is
  one class; every metric of an embedding with NaN. A class or a batch of one cell is no obstacle:
  its silhouette is 0.
- What looks at classes is computed of the cells that have one, as if there were no others; what
  looks at batches alone (iLISI, PCR comparison) of all cells.

Most of the library's time goes into compiling for each shape of input, so score many embeddings of
one data set in one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse

from vmm.benchmark.metrics.neighbours import nearest_neighbours
from vmm.benchmark.metrics.records import AGGREGATE, Metric, of_family
from vmm.benchmark.metrics.scoring import (
    NO_LABELS,
    Score,
    Undefined,
    functions_of,
    label_codes,
    score,
)
from vmm.errors import InputError

SINGLE_BATCH = "n/a: single batch"
SINGLE_CLASS = "n/a: single class"
NOT_FINITE = "n/a: the embedding is not finite"
UNDEFINED = "n/a: undefined for this embedding"
GRAPH = "n/a: a graph, no embedding"
BRAS = {
    "vmm.benchmark.metrics.silhouettes:silhouette_batch": "vmm.benchmark.metrics.silhouettes:bras"
}
N_SEARCHED = 90
"""Neighbours that are searched at once; a metric that asks for more has them searched anew."""


class _Once:
    """Something that keeps what several metrics compute of it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Hashable, ...], Any] = {}

    def once(self, function: Callable, *others: Hashable) -> Any:
        """Return ``function(self, *others)``, computed at the first call."""
        key = (function, *others)
        if key not in self._kept:
            self._kept[key] = function(self, *others)
        return self._kept[key]


class Cells(_Once):
    """What all embeddings of one data set are compared with.

    Attributes
    ----------
    counts : (N, G) scipy.sparse matrix or array
        Raw counts.
    batch, labels : (N,) int arrays
        Batch and class of each cell, 0, 1, …, read-only; a class of -1 is none, which only metrics
        that do not use labels see.
    intensities : bool
        Whether there are intensities of proteins in the place of counts.
    """

    def __init__(
        self, counts: Any, batch: ArrayLike, labels: ArrayLike, intensities: bool = False
    ) -> None:
        super().__init__()
        self.counts, self.intensities = counts, intensities
        self.batch = _read_only(np.unique(np.asarray(batch), return_inverse=True)[1])
        self.labels = _read_only(label_codes(labels))

    @cached_property
    def labelled(self) -> Cells:
        """The cells that have a label."""
        known = self.labels >= 0
        if known.all():
            return self
        parts = (self.counts[known], self.batch[known], self.labels[known])
        return Cells(*parts, self.intensities)

    @cached_property
    def batches_of_classes(self) -> np.ndarray:
        """In how many batches each class is."""
        return np.bincount(np.unique(np.stack([self.labels, self.batch]), axis=1)[0])


class Embedding(_Once):
    """The embedding of the cells that is scored, or the graph of a method that embeds nothing.

    Attributes
    ----------
    array : (N, p) float32 array
        Finite, read-only; p = 0 where there is a graph.
    graph : (N, N) scipy.sparse matrix, optional
        Weights of neighbours.
    """

    def __init__(self, array: np.ndarray, graph: Any = None) -> None:
        super().__init__()
        self.array = array.view()
        self.array.flags.writeable = False
        self.graph = graph

    def of(self, rows: np.ndarray) -> Embedding:
        """Return the embedding of some of the cells, given as truth values (N,)."""
        if rows.all():
            return self
        graph = None if self.graph is None else self.graph[rows][:, rows]
        return Embedding(self.array[rows], graph)

    def neighbours(self, n: int) -> Any:
        """Return the `n` nearest neighbours of each cell, itself among them.

        Returns
        -------
        scib_metrics.nearest_neighbors.NeighborsResults
            ``indices`` and ``distances``, both (N, n).

        Raises
        ------
        Undefined
            If there are fewer cells.
        """
        if len(self.array) < n:
            raise Undefined(f"fewer than {n} cells")
        return self.once(_nearest, max(n, N_SEARCHED)).subset_neighbors(n)


def integration_scores(
    embeddings: Mapping[str, ArrayLike],
    counts: Any,
    batch: ArrayLike,
    labels: ArrayLike,
    bras: bool = False,
    compilation_cache: str | os.PathLike | None = None,
    metrics: Sequence[Metric] | None = None,
    intensities: bool = False,
) -> dict[str, dict[str, Score]]:
    """Score embeddings of one data set.

    Parameters
    ----------
    embeddings : mapping of str to (N, p) arrays, or to (N, N) sparse matrices
        What to score, by any names; a matrix is a graph of neighbours, which few metrics are of.
    counts : (N, G) scipy.sparse matrix or array
        Raw counts; only PCR comparison uses them.
    batch, labels : (N,) arrays
        Batch and class of each cell, integers or strings. Without a class are cells with a
        negative integer, or with what numpy or pandas take for missing.
    bras : bool
        Whether *Silhouette batch* is BRAS.
    compilation_cache : path, optional
        Folder where jax keeps compiled programs for later processes on the same kind of machine.
        With it the first embedding of a data set of this shape costs half.
    metrics : sequence of Metric, optional
        All of the family ``integration`` unless given; the parts of an aggregate with it.
    intensities : bool
        Whether `counts` are intensities of proteins.

    Returns
    -------
    dict
        Name, then metric to its value, or None, and its status.

    Raises
    ------
    InputError
        If shapes do not fit one another, or a metric has no function.
    """
    metrics = of_family("integration") if metrics is None else metrics
    if bras:
        metrics = [replace(m, function=BRAS.get(m.function, m.function)) for m in metrics]
    functions = functions_of(metrics)
    scored = {name: _embedding(name, given) for name, given in embeddings.items()}
    cells = Cells(counts, batch, labels, intensities)
    _check_sizes({name: embedding.array for name, embedding in scored.items()}, cells)
    if compilation_cache is not None:
        _cache_compilations(compilation_cache)
    return {name: _scores(embedding, cells, functions) for name, embedding in scored.items()}


def _scores(
    embedding: Embedding, cells: Cells, functions: Mapping[Metric, Callable]
) -> dict[str, Score]:
    """Return all metrics of one embedding: aggregates last, of what was scored before them."""
    finite = bool(np.isfinite(embedding.array).all())
    labelled = embedding.of(cells.labels >= 0)
    scores: dict[str, Score] = {}
    for metric in sorted(functions, key=lambda metric: metric.group == AGGREGATE):
        seen = (labelled, cells.labelled) if metric.uses_labels else (embedding, cells)
        given: tuple = seen
        if metric.group == AGGREGATE:
            given = (metric, list(functions), scores)
        obstacle = _obstacle(metric, seen[1]) or ("" if finite else NOT_FINITE)
        if embedding.graph is not None and not metric.of_graphs:
            obstacle = obstacle or GRAPH
        scores[metric.name] = (
            (None, obstacle) if obstacle else score(functions[metric], *given, otherwise=UNDEFINED)
        )
    return {metric.name: scores[metric.name] for metric in functions}


def _obstacle(metric: Metric, cells: Cells) -> str:
    """Return why a metric is not defined for any embedding of these cells, or nothing."""
    if not len(cells.batch):
        return NO_LABELS
    if metric.needs_batches and cells.batch.max() == 0:
        return SINGLE_BATCH
    if metric.needs_classes and cells.labels.max() == 0:
        return SINGLE_CLASS
    return ""


def _nearest(embedding: Embedding, n: int) -> Any:
    return nearest_neighbours(embedding.array, n)


def _read_only(codes: np.ndarray) -> np.ndarray:
    codes.flags.writeable = False
    return codes


def _embedding(name: str, given: Any) -> Embedding:
    if issparse(given):
        return Embedding(np.empty((given.shape[0], 0), np.float32), given.tocsr())
    return Embedding(_array(name, given))


def _array(name: str, array: ArrayLike) -> np.ndarray:
    array = np.ascontiguousarray(array, dtype=np.float32)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"embedding {name} has the shape {array.shape} where (N, p) is expected")
    return array


def _check_sizes(arrays: Mapping[str, np.ndarray], cells: Cells) -> None:
    """Raise InputError unless everything speaks of the same N cells."""
    sizes = {"the batches": len(cells.batch), "the labels": len(cells.labels)}
    sizes |= {"the counts": cells.counts.shape[0]}
    sizes |= {f"embedding {name}": len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        described = ", ".join(f"{what} {size}" for what, size in sizes.items())
        raise InputError(f"the numbers of cells differ: {described}")


def _cache_compilations(folder: str | os.PathLike) -> None:
    import jax

    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
