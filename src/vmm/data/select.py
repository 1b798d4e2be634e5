"""Selection of genes and cells: highly variable genes, and a minimum of counts."""

from __future__ import annotations

import warnings

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


def highly_variable(
    counts: sp.csr_matrix, batch: np.ndarray, n_top_genes: int, where: str
) -> tuple[np.ndarray, list[str]]:
    """Choose the most variable genes by the variance-stabilising ranking of Seurat v3.

    Genes are ranked in each batch by the variance of their standardised counts, and those with the
    best median rank are taken (scanpy's flavour ``seurat_v3``).

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
    if n_top_genes >= counts.shape[1]:
        note = f"All {counts.shape[1]:,} genes were kept: {n_top_genes:,} were asked for."
        return np.ones(counts.shape[1], dtype=bool), [note]
    large = np.flatnonzero(np.bincount(batch) >= MIN_CELLS_TO_RANK)
    rows = np.isin(batch, large) if len(large) else np.ones(len(batch), dtype=bool)
    notes = []
    if not rows.all():
        notes.append(
            f"{int((~rows).sum()):,} cells in batches of fewer than {MIN_CELLS_TO_RANK} cells took "
            f"no part in ranking genes."
        )
        counts, batch = counts[rows], batch[rows]
    by_batch = len(large) > 1
    for span in SPANS:
        try:
            chosen = _seurat_v3(counts, batch if by_batch else None, n_top_genes, span)
        except ValueError as error:  # the local regression is singular
            failure = error
            continue
        if span != SPANS[0]:
            notes.append(f"Variances were smoothed with span {span:g}: {SPANS[0]:g} is singular.")
        return chosen, notes
    within = "within its batches" if by_batch else "in it"
    raise InputError(
        f"{where}: highly variable genes cannot be ranked {within} ({_first_line(failure)}); set "
        f"`n_top_genes: null` to keep all genes, or give more cells."
    )


def _seurat_v3(
    counts: sp.csr_matrix, batch: np.ndarray | None, n_top_genes: int, span: float
) -> np.ndarray:
    import anndata
    import pandas as pd
    import scanpy

    for code in [None] if batch is None else np.unique(batch):
        part = counts if code is None else counts[batch == code]
        varying = int((part.max(axis=0) != part.min(axis=0)).sum())
        if varying < MIN_GENES_TO_RANK:
            raise ValueError(f"counts differ between cells in only {varying} genes")
    values = counts.data.astype(np.float32)  # with the indices of counts, not copies of them
    adata = anndata.AnnData(X=sp.csr_matrix((values, counts.indices, counts.indptr), counts.shape))
    if batch is not None:
        adata.obs["batch"] = pd.Categorical(batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranked = scanpy.pp.highly_variable_genes(
            adata,
            n_top_genes=n_top_genes,
            flavor="seurat_v3",
            span=span,
            batch_key=None if batch is None else "batch",
            inplace=False,
        )
    return ranked["highly_variable"].to_numpy(dtype=bool)


def _first_line(error: Exception) -> str:
    text = str(error.args[0] if error.args else error)
    return text.removeprefix("b'").strip("'").splitlines()[0].strip()


def with_enough_counts(counts: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
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
        new_genes = genes & (counts.T @ cells.astype(np.int64) >= MIN_COUNTS)
        new_cells = cells & (counts @ new_genes.astype(np.int64) >= MIN_COUNTS)
        if (new_genes == genes).all() and (new_cells == cells).all():
            return cells, genes
        cells, genes = new_cells, new_genes
