"""700 blood cells that ship with scanpy."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp

from vmm.data.raw import Config, Files, RawCells

MAX_DEVIATION = 0.1


def read(files: Files, config: Config) -> RawCells:
    """Reconstruct the counts of scanpy's ``pbmc68k_reduced``, of 700 cells × 765 genes.

    The file has log-normalised values only: counts = round(expm1(``raw``) · ``n_counts`` / 10⁴).
    Where that is 0.1 or more from a whole number, it is another file.
    """
    import scanpy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = scanpy.datasets.pbmc68k_reduced()
    raw = sp.csr_matrix(adata.raw.X, dtype=np.float64)
    totals = adata.obs["n_counts"].to_numpy(dtype=np.float64)
    counts = sp.csr_matrix(sp.diags(totals / 1e4) @ raw.expm1())
    deviation = float(np.abs(counts.data - np.rint(counts.data)).max())
    if deviation >= MAX_DEVIATION:
        raise RuntimeError(f"pbmc68k_reduced: a count is {deviation:.2f} from a whole number")
    counts.data = np.rint(counts.data)
    note = (
        "The counts are a reconstruction from log-normalised values, round(expm1(x) · n_counts / "
        f"10⁴); before rounding the largest deviation from a whole number was {deviation:.3f}."
    )
    where = "scanpy's pbmc68k_reduced"
    genes = adata.raw.var_names.astype(str).tolist()
    return RawCells(counts, adata.obs, genes, where, where, notes=[note])
