"""A few cells for the readers of AnnData."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp


def made(n_cells: int = 6, n_genes: int = 4) -> anndata.AnnData:
    random = np.random.default_rng(0)
    counts = sp.csr_matrix(random.poisson(2, size=(n_cells, n_genes)).astype(np.float32))
    obs = pd.DataFrame(
        {"batch": ["a", "b"] * (n_cells // 2), "cell_type": ["T", "B", "B"] * (n_cells // 3)},
        index=[f"c{i}" for i in range(n_cells)],
    )
    adata = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=list("WXYZ")[:n_genes]))
    adata.layers["counts"] = counts.copy()
    return adata
