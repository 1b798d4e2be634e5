"""Small cells for every model of scvi-tools that takes a prior."""

from __future__ import annotations

import anndata
import mudata
import numpy as np
import pandas as pd

import vmm

N_CELLS, N_GENES, N_PROTEINS = 120, 30, 8
SIZES = {"n_components": 10, "n_latent": 4}
TRAIN = {
    "max_epochs": 2,
    "batch_size": 32,
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
SETUP = {"TOTALVI": {"protein_expression_obsm_key": "protein"}}
"""What a model is set up with besides the batches; else the labels."""
MODALITIES = {f"{name}_layer": name for name in ("rna", "atac", "protein")}
N_RNA = 18
"""Of the genes, those that are genes where the others are peaks."""


def cells(name: str, seed: int = 0, batches: str = "ab") -> anndata.AnnData:
    """Return cells of three types in some batches, with data that a model of this name takes."""
    random = np.random.default_rng(seed)
    types = random.integers(3, size=N_CELLS)
    means = np.exp(np.random.default_rng(1).normal(0, 1.2, (3, N_GENES + N_PROTEINS)))
    counts = random.poisson(3 * means[types]).astype(np.float32)
    adata = anndata.AnnData(counts[:, :N_GENES])
    if name == "CYTOVI":
        adata.X = np.log1p(adata.X)
    adata.obs["batch"] = random.choice(list(batches), N_CELLS)
    adata.obs["type"] = np.array(list("xyz"))[types]
    adata.obs["donor"] = random.choice(["d1", "d2", "d3"], N_CELLS)
    adata.obs["age"] = random.normal(size=N_CELLS)
    adata.obs_names = [f"cell_{i}" for i in range(N_CELLS)]
    proteins = [f"protein_{i}" for i in range(N_PROTEINS)]
    adata.obsm["protein"] = pd.DataFrame(counts[:, N_GENES:], adata.obs_names, proteins)
    adata.var_names = [f"gene_{i}" for i in range(N_GENES)]
    return modalities_of(adata) if name == "MULTIVI" else adata


def modalities_of(adata: anndata.AnnData) -> mudata.MuData:
    """Return genes, peaks and proteins of which some cells lack one each."""
    made = {"rna": adata[:, :N_RNA].copy(), "atac": adata[:, N_RNA:].copy()}
    made["protein"] = anndata.AnnData(adata.obsm["protein"].astype(np.float32))
    for place, part in enumerate(made.values()):
        values = part.X.copy()
        values[place::8] = 0
        part.X = values
        part.obs, part.obsm = adata.obs[[]], {}
    found = mudata.MuData(made)
    found.obs = adata.obs
    return found


def set_up(name: str, adata: anndata.AnnData | mudata.MuData, model=None, **more):
    """Set cells up and return the class, ours unless another is given."""
    model = model or getattr(vmm.scvi_tools, name)
    if name == "MULTIVI":
        model.setup_mudata(adata, batch_key="batch", modalities=MODALITIES, **more)
        return model
    model.setup_anndata(adata, batch_key="batch", **SETUP.get(name, {"labels_key": "type"}), **more)
    return model
