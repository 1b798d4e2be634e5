"""Cells that ship with scanpy, once as they are and once as technical replicates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp

from vmm.data.raw import Files, RawCells
from vmm.data.splits import generator

MAX_DEVIATION = 0.1
CAPTURE = {"replicate 1": (8.0, 2.0), "replicate 2": (6.0, 4.0)}
"""Parameters of the Beta distribution of a gene's capture rate: means 0.8 and 0.6."""

SEED = 20240207


def read_pbmc68k(files: Files, config: Mapping[str, Any]) -> RawCells:
    """Reconstruct the counts of scanpy's ``pbmc68k_reduced``.

    The file has log-normalised values only: counts = round(expm1(``raw``) · ``n_counts`` / 10⁴).

    Returns
    -------
    RawCells
        700 cells × 765 genes, with the column ``bulk_labels`` among others.

    Raises
    ------
    RuntimeError
        If a reconstructed count is 0.1 or more from a whole number: it is another file.
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


def read_pbmc68k_replicates(files: Files, config: Mapping[str, Any]) -> RawCells:
    """Make two technical replicates of every cell of ``pbmc68k``.

    The 700 cells of the first replicate come first, then the same cells in the same order.
    """
    import pandas as pd

    raw = read_pbmc68k(files, config)
    thinned = thin(raw.counts)
    obs = pd.concat([raw.obs.assign(replicate=name) for name in thinned])
    suffix = obs["replicate"].str.removeprefix("replicate ")
    obs.index = (
        raw.obs.index.append([raw.obs.index] * (len(thinned) - 1)) + "-r" + suffix.to_numpy()
    )
    note = (
        "Every cell occurs twice: technical replicates made by binomial thinning of its counts "
        "with a capture rate for each gene and replicate, "
        + " and ".join(f"Beta({a:g}, {b:g}) in {name}" for name, (a, b) in CAPTURE.items())
        + "; the biology of the two batches is the same by construction."
    )
    counts = sp.vstack(list(thinned.values()), format="csr")
    return RawCells(counts, obs, raw.genes, raw.where, raw.file, notes=[*raw.notes, note])


def thin(counts: sp.spmatrix, seed: int = SEED) -> dict[str, sp.csr_matrix]:
    """Sequence the same cells again with other chemistry: x'_ig ~ Binomial(x_ig, r_g).

    The capture rates r_g ~ Beta(a, b) differ by gene and replicate; given them, the replicates are
    independent of each other.

    Parameters
    ----------
    counts
        N × G whole numbers.
    seed
        Fixed, so that everybody has the same data.

    Returns
    -------
    dict
        N × G counts of each replicate, by its name in `CAPTURE`.
    """
    counts = sp.csr_matrix(counts)
    random = generator(seed, "replicates")
    result = {}
    for name, (a, b) in CAPTURE.items():
        rates = random.beta(a, b, size=counts.shape[1])
        data = random.binomial(counts.data.astype(np.int64), rates[counts.indices])
        thinned = sp.csr_matrix(
            (data, counts.indices, counts.indptr), shape=counts.shape, copy=True
        )
        thinned.eliminate_zeros()
        result[name] = thinned
    return result
