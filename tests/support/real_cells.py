"""Real cells, small enough for tests."""

from __future__ import annotations

import anndata
import numpy as np

from vmm.data.bundled import read_pbmc68k

SETTINGS = {"max_epochs": 12, "batch_size": 64, "learning_rate": 3e-3, "enable_progress_bar": False}


def make_pbmc(n_genes: int = 120) -> anndata.AnnData:
    """Return 700 PBMCs with two batches (lanes of 10x) and the genes with the most counts."""
    raw = read_pbmc68k({}, {})
    top = np.sort(np.argsort(-np.asarray(raw.counts.sum(0)).ravel())[:n_genes])
    adata = anndata.AnnData(raw.counts[:, top].astype(np.float32), obs=raw.obs[["bulk_labels"]])
    adata.var_names = [raw.genes[i] for i in top]
    lane = adata.obs_names.str[-1].astype(int)
    adata.obs["lanes"] = np.where(lane <= 4, "1-4", "5-8")
    adata.layers["counts"] = adata.X.copy()
    return adata
