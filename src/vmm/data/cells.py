"""Preparation of cells: checks, choice of genes and cells, and numbers that describe the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from vmm.data import checks, select
from vmm.data.blocks import Counts, Whole, chosen_counts
from vmm.data.containers import CellData
from vmm.data.covariates import read_covariates, refuse_columns_twice
from vmm.data.features import read_features
from vmm.data.intensities import read_intensities
from vmm.data.raw import Config, RawCells
from vmm.data.source import BESIDE, Source
from vmm.errors import InputError

COVARIATE_KEYS = ("categorical_covariate_keys", "continuous_covariate_keys", "size_factor_key")
"""Keys of a data set that name columns of covariates."""


@dataclass
class Selection:
    """How many cells and genes each step of the preparation left."""

    cells_read: int
    genes_read: int
    highly_variable_genes: int | None = None
    cells_dropped: int = 0
    genes_dropped: int = 0
    notes: list[str] = field(default_factory=list)


def build(
    raw: RawCells, name: str, source: Source, config: Config
) -> tuple[CellData, dict[str, Any], list[str]]:
    """Prepare cells by their configuration, and by their record where it says nothing."""
    data, selection = build_cells(
        raw,
        name,
        batch_key=config.get("batch_key", source.batch_key),
        label_key=config.get("label_key", source.label_key),
        n_top_genes=config.get("n_top_genes", source.n_top_genes),
        intensities=config.get("intensities", False),
        **{key: config[key] for key in COVARIATE_KEYS if key in config},
    )
    selected = asdict(selection)
    notes = selected.pop("notes")
    return data, {**describe(data), "selection": selected}, notes


def build_cells(
    raw: RawCells,
    name: str,
    batch_key: str | None,
    label_key: str | None,
    n_top_genes: int | None = None,
    intensities: bool = False,
    **covariate_keys: Any,
) -> tuple[CellData, Selection]:
    """Check cells, choose genes, drop what has too few counts.

    Parameters
    ----------
    raw
        Counts and the table of cells.
    name
        Name of the data set.
    batch_key, label_key
        Columns with the batches (None: one batch) and the cell types (None: no cell has one).
    n_top_genes
        Number of highly variable genes; None: all genes.
    intensities
        Whether the values are intensities of proteins, all of which are kept, and no counts.
    **covariate_keys
        Columns of covariates, as :func:`vmm.data.covariates.read_covariates` takes them.

    Returns
    -------
    data : CellData
    selection : Selection
        What was chosen and dropped, and notes.

    Raises
    ------
    InputError
        If the data are not fit for use.
    """
    if len(raw.obs) == 0:
        raise InputError(f"{raw.where} is empty (0 cells × {len(raw.genes)} genes).")
    keys = {"batch_key": batch_key, "label_key": label_key, **covariate_keys}
    refuse_columns_twice(keys, raw.file)
    if label_key is None:
        labels, label_names = np.full(len(raw.obs), -1), list[str]()
    else:
        labels, label_names = checks.column(
            raw.obs, label_key, "label_key", raw.file, may_lack=True
        )
    checks.several_types(labels, label_names, label_key, raw.file)
    if batch_key is None:
        batch, batch_names = np.zeros(len(labels), dtype=np.int64), ["all"]
    else:
        batch, batch_names = checks.column(raw.obs, batch_key, "batch_key", raw.file)
    covariates = read_covariates(raw.obs, raw.file, **covariate_keys)
    cells, cell_notes = checks.unique_names(list(raw.obs.index), "cell")
    feature = "protein" if intensities else "gene"
    genes, gene_notes = checks.unique_names(list(raw.genes), feature)
    if n_top_genes is not None:
        _check_n_top_genes(n_top_genes)
    found = None if intensities else Counts(raw, cells, genes)
    beside = {key: read_features(of, cells, BESIDE[key]) for key, of in raw.beside.items()}
    selection = Selection(
        cells_read=len(cells),
        genes_read=len(genes),
        notes=[*raw.notes, *cell_notes, *gene_notes, *chain(*(of[1] for of in beside.values()))],
    )
    if found is None:
        counts, notes = read_intensities(raw, cells, genes)
        keep_cells, keep_genes = (np.ones(n, dtype=bool) for n in counts.shape)
    else:
        counts, chosen, notes = chosen_counts(found, batch, n_top_genes)
        genes = genes[chosen]
        keep_cells, keep_genes = select.with_enough_counts(Whole(counts))
    selection.notes += notes
    if n_top_genes is not None:
        selection.highly_variable_genes = len(genes)
    selection.cells_dropped = int((~keep_cells).sum())
    selection.genes_dropped = int((~keep_genes).sum())
    if found is not None:
        counts = Whole(counts).part(keep_cells, keep_genes)
    checks.enough(counts.shape, raw.where)
    batch, batch_names = checks.recoded(batch[keep_cells], batch_names)
    labels, label_names = checks.recoded(labels[keep_cells], label_names)
    covariates = covariates.rows(keep_cells)
    checks.several_types(labels, label_names, label_key, raw.file)
    selection.notes += checks.singletons(batch, batch_names, "batch")
    selection.notes += checks.singletons(labels, label_names, "cell type")
    selection.notes += checks.unlabelled(labels)
    selection.notes += covariates.remarks()
    counts.sort_indices()
    data = CellData(
        name,
        counts,
        batch,
        batch_names,
        labels,
        label_names,
        genes[keep_genes],
        cells[keep_cells],
        covariates,
        **{key: features.rows(keep_cells) for key, (features, _) in beside.items()},
    )
    return data, selection


def _check_n_top_genes(value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 2:
        raise InputError(f"`n_top_genes: {value}` must be a whole number of at least 2, or null.")


def describe(data: CellData) -> dict[str, Any]:
    """Numbers about cells, counted from the data."""
    more: dict[str, Any] = {}
    if data.intensities:
        values = data.counts
        more["intensities"] = {"least": float(values.min()), "largest": float(values.max())}
    else:
        sums = [np.asarray(block.sum(axis=1)).ravel() for _, block in Whole(data.counts)]
        totals = np.concatenate(sums)
        more["counts"] = {
            "total": int(totals.sum()),
            "median_per_cell": float(np.median(totals)),
            "largest": int(data.counts.data.max()),
            "fraction_zero": 1 - data.counts.nnz / (data.n_cells * data.n_genes),
        }
    if data.covariates:
        more["covariates"] = data.covariates.described()
    for key in BESIDE:
        if (features := getattr(data, key)) is not None:
            more[f"n_{key}"] = len(features.names)
    return {
        "n_cells": data.n_cells,
        "n_genes": data.n_genes,
        "n_batches": data.n_batches,
        "n_types": data.n_types,
        "n_labelled": int((data.labels >= 0).sum()),
        "batches": checks.sizes(data.batch, data.batch_names),
        "cell_types": checks.sizes(data.labels, data.label_names),
        "isolated_types": _isolated(data),
        **more,
    }


def _isolated(data: CellData) -> list[str]:
    """Return the cell types that are in the fewest batches, of which "Isolated labels" speaks."""
    known = data.labels >= 0
    pairs = np.unique(np.stack([data.labels[known], data.batch[known]]), axis=1)
    n_batches = np.bincount(pairs[0], minlength=data.n_types)
    return [
        data.label_names[code] for code in np.flatnonzero(n_batches == min(n_batches, default=0))
    ]
