"""The cells of ``vmm fit``: read from the user's file, checked, their genes chosen."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.data import checks
from vmm.data.blocks import Counts, as_floats, chosen_counts
from vmm.data.covariates import read_covariates, refuse_columns_twice
from vmm.data.h5ad import named_columns, read_h5ad
from vmm.data.messages import as_text

if TYPE_CHECKING:
    import anndata
    import pandas as pd

NO_LABEL = ("", "nan", "NaN")
"""Texts in a column of labels that say that there is none."""


@dataclass
class Cells:
    """What the model is trained on.

    Parameters
    ----------
    adata
        All cells × the chosen genes; ``X`` has the counts.
    index
        Names of the cells in the file, which need not differ.
    labels
        Known types of the cells, missing where a cell has none; None without ``--label-key``.
    n_genes
        Genes of the file.
    modality
        Of a MuData file, the one that they are.
    notes
        Facts worth a line on the page.
    alarms
        What the reader of the page must know first.
    """

    adata: anndata.AnnData
    index: pd.Index
    labels: pd.Series | None
    n_genes: int
    modality: str = ""
    notes: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)

    def note(self, *sentences: str) -> None:
        """Say sentences, and keep them for the page."""
        for sentence in sentences:
            tell(sentence)
            self.notes.append(sentence)

    def alarm(self, sentence: str) -> None:
        """Say what matters most, and keep it for the top of the page."""
        tell(sentence)
        self.alarms.append(sentence)


def read_cells(options: argparse.Namespace) -> Cells:
    """Read and check a file, and choose its most variable genes."""
    import anndata
    import pandas as pd

    covariate_keys = covariate_arguments(options)
    columns_read = named_columns(vars(options))
    raw = read_h5ad(options.path, options.layer, columns_read, options.modality or "")
    refuse_columns_twice(
        {"batch_key": options.batch_key, "label_key": options.label_key, **covariate_keys}, raw.file
    )
    names, notes = checks.unique_names(list(raw.obs.index), "cell")
    genes, more = checks.unique_names(list(raw.genes), "gene")
    batch, columns, labels = np.zeros(len(names), dtype=np.int64), {}, None
    if options.batch_key is not None:
        batch, batch_names = checks.column(raw.obs, options.batch_key, "batch_key", raw.file)
        columns[options.batch_key] = pd.Categorical.from_codes(batch, batch_names)
    if options.label_key is not None:
        if options.label_key not in raw.obs:
            checks.column(raw.obs, options.label_key, "label_key", raw.file)  # says what there is
        labels = _labels(raw.obs[options.label_key], names)
        subject = f"column {options.label_key!r} of {raw.file} (`label_key:`)"
        checks.refuse_names_of_cells(list(labels.dropna().unique()), len(labels), subject)
        if labels.isna().all():
            more.append(f"No cell has a value in the column {options.label_key!r} (--label-key).")
        columns[options.label_key] = labels.fillna("(no label)").to_numpy()
    known = read_covariates(raw.obs, raw.file, **covariate_keys)
    for key, (codes, categories) in known.categorical.items():
        columns[key] = pd.Categorical.from_codes(codes, categories)
    columns |= known.continuous
    if known.size_factor is not None:
        columns[options.size_factor_key] = known.size_factor
    found = Counts(raw, names, genes, "by --round", rounded=options.round, copy=False)
    raw.counts = None  # not to hold it twice
    checks.enough(found.shape, raw.where)
    n_top_genes = options.n_top_genes if 0 < options.n_top_genes < len(genes) else None
    counts, chosen, told = chosen_counts(found, batch, n_top_genes)
    genes, more = genes[chosen], more + told
    del found
    as_floats(counts)
    adata = anndata.AnnData(counts)
    adata.obs_names, adata.var_names = names, genes
    for key, values in columns.items():
        adata.obs[key] = values
    index = pd.Index([str(name) for name in raw.obs.index], dtype=object)
    cells = Cells(adata, index, labels, len(raw.genes), raw.modality)
    if raw.modality:
        cells.note(f"Cells and genes are those of the {raw.file}.")
    cells.note(*raw.notes, *notes, *more, *known.remarks())
    return cells


def covariate_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return the columns of covariates by the arguments that take them."""
    return {
        "categorical_covariate_keys": options.categorical_covariate_key,
        "continuous_covariate_keys": options.continuous_covariate_key,
        "size_factor_key": options.size_factor_key,
    }


def _labels(column: pd.Series, names: np.ndarray) -> pd.Series:
    """Return labels as text, None where a cell has none."""
    values = column.convert_dtypes(convert_string=False).astype(object)  # 7, where some are missing
    values = values.where(values.notna() & ~values.isin(NO_LABEL), None)
    return values.map(as_text, na_action="ignore").set_axis(names)


def tell(message: str) -> None:
    """Say something at once, where it does not mix with results."""
    print(message, file=sys.stderr, flush=True)
