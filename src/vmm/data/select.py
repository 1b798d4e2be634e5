"""Selection of genes and cells: highly variable genes, and a minimum of counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import scipy.sparse as sp

from vmm.errors import InputError

MIN_COUNTS = 3
"""Cells and genes with fewer counts are dropped."""

SPANS = (0.3, 0.5, 0.75, 1.0)
"""Part of the genes in each local regression of variance on mean: Seurat's, then wider ones, for
data on which it is singular (few genes, many of them with the same mean and variance)."""

MIN_GENES_TO_RANK = 4
"""With fewer genes that vary, the local regression ends the process, without an exception."""

MIN_CELLS_TO_RANK = 20
"""Batches with fewer cells take no part in ranking genes: their variances say nothing."""


class Blocks(Protocol):
    """Counts in blocks of rows, int32 CSR, each with its first row; N × G in all."""

    @property
    def shape(self) -> tuple[int, int]:
        """N and G."""

    def __iter__(self) -> Iterator[tuple[int, sp.csr_matrix]]: ...


def highly_variable(
    counts: Blocks, batch: np.ndarray, n_top_genes: int, where: str
) -> tuple[np.ndarray, list[str]]:
    """Choose the most variable genes by the variance-stabilising ranking of Seurat v3.

    Genes are ranked in each batch by the variance of their standardised counts, and those with the
    best median rank are taken: the genes of scanpy's flavour ``seurat_v3``. Counts are gone through
    twice, for means and variances, and for what is clipped at the limits that follow from these;
    sums are of whole numbers, so that they do not depend on the blocks.

    Parameters
    ----------
    counts
        N × G.
    batch
        (N,) codes.
    n_top_genes
        How many genes; all, if there are not more.
    where
        File, for messages.

    Returns
    -------
    chosen : numpy.ndarray
        (G,) bool.
    notes : list of str
        What departs from the plain procedure.

    Raises
    ------
    InputError
        If the genes cannot be ranked.

    References
    ----------
    Stuart et al., "Comprehensive integration of single-cell data", Cell 177 (2019).
    """
    n_genes = counts.shape[1]
    if n_top_genes >= n_genes:
        note = f"All {n_genes:,} genes were kept: {n_top_genes:,} were asked for."
        return np.ones(n_genes, dtype=bool), [note]
    large = np.flatnonzero(np.bincount(batch) >= MIN_CELLS_TO_RANK)
    codes = np.searchsorted(large, batch) if len(large) else np.zeros_like(batch)
    left_out = ~np.isin(batch, large) if len(large) else np.zeros(len(batch), dtype=bool)
    notes = []
    if left_out.any():
        notes.append(
            f"{int(left_out.sum()):,} cells in batches of fewer than {MIN_CELLS_TO_RANK} cells "
            "took no part in ranking genes."
        )
    codes = np.where(left_out, -1, codes)
    sizes, mean, variance = _moments(counts, codes)
    for span in SPANS:
        try:
            sd = np.stack([_smoothed(*of, span) for of in zip(mean, variance, strict=True)])
        except ValueError as error:  # the local regression is singular
            failure = error
            continue
        if span != SPANS[0]:
            notes.append(f"Variances were smoothed with span {span:g}: {SPANS[0]:g} is singular.")
        return _best(_standardised(counts, codes, sizes, mean, sd), n_top_genes), notes
    within = "within its batches" if len(large) > 1 else "in it"
    raise InputError(
        f"{where}: highly variable genes cannot be ranked {within} ({_first_line(failure)}); set "
        f"`n_top_genes: null` to keep all genes, or give more cells."
    )


def _moments(counts: Blocks, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sizes (B,) of batches, means and variances (B, G) in them; a code of -1 is none."""
    sizes = np.bincount(codes[codes >= 0])
    sums, squares = (np.zeros((len(sizes), counts.shape[1]), dtype=np.int64) for _ in range(2))
    for start, block in counts:
        own = codes[start : start + block.shape[0]]
        cells = np.flatnonzero(own >= 0)
        ones = np.ones(len(cells), dtype=np.int64)
        of_batch = sp.csr_matrix((ones, (own[cells], cells)), shape=(len(sizes), len(own)))
        values = block.astype(np.int64)
        _add(of_batch @ values, sums)
        values.data **= 2
        _add(of_batch @ values, squares)
    n = sizes[:, None]
    # Exactly, or a gene that does not vary would seem to; Python's numbers know no greatest one.
    fits = max(float(sums.max()) ** 2, float(n.max()) * float(squares.max())) < 2.0**63
    exact = np.int64 if fits else object
    spread = n.astype(exact) * squares.astype(exact) - sums.astype(exact) ** 2
    return sizes, sums / n, spread.astype(np.float64) / (n * (n - 1.0))


def _smoothed(mean: np.ndarray, variance: np.ndarray, span: float) -> np.ndarray:
    """Return the sd (G,) that genes of such a mean have: a local regression on logarithms."""
    from skmisc.loess import loess

    varying = variance > 0
    if varying.sum() < MIN_GENES_TO_RANK:
        raise ValueError(f"counts differ between cells in only {int(varying.sum())} genes")
    model = loess(np.log10(mean[varying]), np.log10(variance[varying]), span=span, degree=2)
    model.fit()
    fitted = np.zeros(len(mean))
    fitted[varying] = model.outputs.fitted_values
    return np.sqrt(10**fitted)


def _standardised(
    counts: Blocks, codes: np.ndarray, sizes: np.ndarray, mean: np.ndarray, sd: np.ndarray
) -> np.ndarray:
    """Return the variances (B, G) of counts divided by `sd` and clipped √n above the mean."""
    n = sizes[:, None]
    limit = sd * np.sqrt(n) + mean
    n_clipped, sums, squares = (np.zeros(limit.shape, dtype=np.int64) for _ in range(3))
    for start, block in counts:
        of_row = codes[start : start + block.shape[0]]
        own, genes = np.repeat(of_row, np.diff(block.indptr)), block.indices
        values = block.data.astype(np.int64)
        over = (own >= 0) & (values > limit[own, genes])
        kept = (own >= 0) & ~over
        np.add.at(n_clipped, (own[over], genes[over]), 1)
        shape = (len(sizes), limit.shape[1])
        for total, power in ((sums, 1), (squares, 2)):
            entries = (values[kept] ** power, (own[kept], genes[kept]))
            _add(sp.csr_matrix(entries, shape=shape), total)
    total, square = sums + n_clipped * limit, squares + n_clipped * limit**2
    return (n * mean**2 + square - 2 * total * mean) / ((n - 1) * sd**2)


def _add(part: sp.csr_matrix, total: np.ndarray) -> None:
    """Add a sparse matrix without repeated entries to a dense one."""
    total[np.repeat(np.arange(len(total)), np.diff(part.indptr)), part.indices] += part.data


def _best(variances: np.ndarray, n_top_genes: int) -> np.ndarray:
    """Return which genes (G,) have the best median rank in batches (B, G) where they are on top."""
    ranks = np.argsort(np.argsort(-variances, axis=1, kind="stable"), axis=1).astype(float)
    on_top = ranks < n_top_genes
    ranks[~on_top] = np.nan
    median = np.ma.median(np.ma.masked_invalid(ranks), axis=0).filled(np.inf)
    chosen = np.zeros(variances.shape[1], dtype=bool)
    chosen[np.lexsort((-on_top.sum(axis=0), median))[:n_top_genes]] = True
    return chosen


def _first_line(error: Exception) -> str:
    text = str(error.args[0] if error.args else error)
    return text.removeprefix("b'").strip("'").splitlines()[0].strip()


def with_enough_counts(counts: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Find the cells and genes to keep: those with at least three counts.

    Genes go first, then cells, again until nothing changes, so that the rule holds in the result.

    Parameters
    ----------
    counts
        N × G.

    Returns
    -------
    cells, genes : numpy.ndarray
        (N,) and (G,) bool.
    """
    cells = np.ones(counts.shape[0], dtype=bool)
    genes = np.ones(counts.shape[1], dtype=bool)
    while True:
        of_genes = np.zeros(len(genes), dtype=np.int64)
        for start, block in counts:
            of_genes += block.T @ cells[start : start + block.shape[0]].astype(np.int64)
        new_genes = genes & (of_genes >= MIN_COUNTS)
        of_cells = [block @ new_genes.astype(np.int64) for _, block in counts]
        new_cells = cells & (np.concatenate(of_cells) >= MIN_COUNTS)
        if (new_genes == genes).all() and (new_cells == cells).all():
            return cells, genes
        cells, genes = new_cells, new_genes
