"""Human lung atlas of the scIB benchmark, an AnnData file."""

from __future__ import annotations

import numpy as np

from vmm.data.checks import as_csr
from vmm.data.h5ad import read_h5ad
from vmm.data.raw import Config, Files, RawCells


def read(files: Files, config: Config) -> RawCells:
    """Read the lung atlas of the scIB benchmark, whose counts need rounding.

    Its ``X`` is log-normalised. The layer ``counts`` has counts, but those of the 10x batches were
    corrected for ambient RNA and are not whole numbers [1]_; they are rounded, as the correction's
    author advises [2]_.

    References
    ----------
    .. [1] https://github.com/scverse/scvi-tutorials/issues/66
    .. [2] https://github.com/constantAmateur/SoupX/issues/63
    """
    (file,) = files.values()
    raw = read_h5ad(file.path, config.get("layer") or "counts")
    return rounded(raw, "corrected for ambient RNA by the authors")


def rounded(raw: RawCells, why: str) -> RawCells:
    """Round the counts to whole numbers, and say so in the notes."""
    csr = as_csr(raw.counts, raw.where)
    whole = np.rint(csr.data)
    changed = np.isfinite(csr.data) & (whole != csr.data)
    if changed.any():
        lost = int((changed & (whole == 0)).sum())
        raw.notes.append(
            f"{changed.mean():.1%} of the {csr.nnz:,} non-zero counts were not whole numbers "
            f"({why}) and were rounded; {lost:,} of them to zero."
        )
        csr.data = np.where(changed, whole, csr.data)
    raw.counts = csr
    return raw
