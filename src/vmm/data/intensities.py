"""Intensities of proteins, as cytometers measure them: any numbers, and no counts."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from vmm.data import checks
from vmm.data.covariates import UNSCALED
from vmm.data.raw import RawCells
from vmm.errors import InputError

MASK = "_nan_mask"
"""Layer in which scvi-tools keeps which proteins a cell was not measured for."""


def read_intensities(
    raw: RawCells, cells: checks.Names, proteins: checks.Names
) -> tuple[sp.csr_matrix, list[str]]:
    """Check intensities (N, P), and return them as float32, with notes.

    `cells` and `proteins` are names, for messages.
    """
    whole = "the benchmark takes proteins that were measured in all cells; leave the others out, "
    whole += "or use vmm.CYTOVI from Python, which takes `nan_layer`"
    if MASK in raw.layers:
        raise InputError(f"{raw.file} has the layer {MASK!r}, so that some are missing: {whole}.")
    values = checks.as_csr(raw.counts, raw.where).astype(np.float32)
    checks.refuse_shape(values.shape, raw.where, cells, proteins, "protein")
    if min(values.shape) < 2:
        size = f"{values.shape[0]} cells × {values.shape[1]} proteins"
        raise InputError(f"{raw.where} is {size}; at least 2 of each are needed.")
    bad = ~np.isfinite(values.data)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(values.indptr, place, side="right")) - 1
        raise InputError(
            f"intensities in {raw.where} are missing or infinite (first: {values.data[place]:g} at "
            f"cell {row}, {str(cells[row])!r}, protein {str(proteins[values.indices[place]])!r}; "
            f"{int(bad.sum()):,} in all); {whole}."
        )
    values.eliminate_zeros()
    if values.nnz == 0:
        raise InputError(f"all intensities in {raw.where} are zero.")
    largest = float(np.abs(values.data).max())
    if largest <= UNSCALED:
        return values, []
    return values, [
        f"Intensities in {raw.where} are up to {largest:.4g}; CytoVI is made for transformed ones, "
        "such as scvi.external.cytovi.transform_arcsinh and scale make them."
    ]
