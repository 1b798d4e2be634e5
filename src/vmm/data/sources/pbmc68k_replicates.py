"""Two technical replicates of the cells of ``pbmc68k``: batches whose biology is the same."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from vmm.data.randomness import generator
from vmm.data.raw import Config, Files, RawCells
from vmm.data.sources import pbmc68k

CAPTURE = {"replicate 1": (8.0, 2.0), "replicate 2": (6.0, 4.0)}
"""Parameters of the Beta distribution of a gene's capture rate: means 0.8 and 0.6."""

SEED = 20240207


def read(files: Files, config: Config) -> RawCells:
    """Make two technical replicates of every cell of ``pbmc68k``.

    The 700 cells of the first replicate come first, then the same cells in the same order.
    """
    import pandas as pd

    raw = pbmc68k.read(files, config)
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
    independent of each other. Returned are the counts (N, G) of each, by its name in
    :data:`CAPTURE`. The seed is fixed, so that everybody has the same data.
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
