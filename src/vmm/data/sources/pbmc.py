"""The PBMC data set of scVI: two 10x runs with the labels of Lopez et al. (2018)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from vmm.data.raw import Config, Files, RawCells
from vmm.data.sources.pbmc_labels import read_labels
from vmm.data.sources.tenx import read_archive
from vmm.errors import InputError

RUNS = ("pbmc8k", "pbmc4k")


def read(files: Files, config: Config) -> RawCells:
    """Put the runs and the labels together as scvi-tools' ``pbmc_dataset`` does.

    The files are the archives of the two runs, the gene list and the pickle with the labels. Genes
    are those of the gene list that both runs express. Cells are those with a label, in the order of
    the labels. Barcodes that occur in both runs stand for the second run's cell, as there. The
    columns are ``batch`` (the run) and ``cell_type``.
    """
    import pandas as pd

    *archives, gene_list, metadata = files.values()
    runs = [read_archive(file.path) for file in archives]
    labels = read_labels(metadata.path, metadata.checksum)
    wanted = pd.read_csv(gene_list.path)["ENSG"].astype(str).tolist()
    positions = [_expressed(counts, genes) for counts, genes, _ in runs]
    genes = [gene for gene in dict.fromkeys(wanted) if all(gene in p for p in positions)]
    barcodes = np.concatenate([cells for _, _, cells in runs])
    row_of = {barcode: row for row, barcode in enumerate(barcodes.tolist())}
    found = [barcode for barcode in labels if barcode in row_of]
    if not genes or not found:
        raise InputError(f"{metadata.path} and the 10x archives have no cells or genes in common.")
    rows = np.array([row_of[barcode] for barcode in found])
    columns = [np.array([position[gene] for gene in genes]) for position in positions]
    stacked = sp.vstack([run[0][:, c] for run, c in zip(runs, columns, strict=True)], format="csr")
    run_of_row = np.repeat(RUNS, [run[0].shape[0] for run in runs])[rows]
    both = len(barcodes) - len(row_of)
    notes = []
    if lost := len(labels) - len(found):
        notes.append(f"{lost:,} of {len(labels):,} labelled barcodes are in neither run.")
    if both:
        notes.append(
            f"{both:,} barcodes occur in both runs; as in scvi-tools they are read as the second "
            f"run's cell, so that up to so many cells have another cell's label."
        )
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(run_of_row, categories=RUNS),
            "cell_type": [labels[barcode] for barcode in found],
        },
        index=found,
    )
    where = "the 10x archives of pbmc"
    return RawCells(stacked[rows], obs, genes, where, str(metadata.path), notes=notes)


def _expressed(counts: sp.csr_matrix, genes: list[str]) -> dict[str, int]:
    """Columns of the genes with any count, by name; of a repeated name, the first."""
    totals = np.asarray(counts.sum(axis=0)).ravel()
    position: dict[str, int] = {}
    for column, gene in enumerate(genes):
        if totals[column] > 0:
            position.setdefault(gene, column)
    return position
