"""Newer models of scvi-tools, with the sizes, rate and split of the others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from vmm.benchmark.baselines.scvi_tools import Fit, covariate_keys, library_model, trainer
from vmm.benchmark.spec import Spec
from vmm.data.containers import CellData
from vmm.errors import InputError
from vmm.models.records import CellNetworks

WIDTH_OF_Z = 30
"""MrVI's own of z, which is u and what a sample adds."""


def _sysvi(data: CellData, spec: Spec) -> Any:
    """Return a SysVI of log-normalised counts: a VampPrior and a cycle through another batch."""
    import scanpy as sc
    from scvi.external import SysVI

    # It sets the warm-up to none by itself, and says so in training.
    warnings.filterwarnings("ignore", message="The use of KL weight warmup")
    adata, networks = data.to_anndata(), spec.networks
    assert isinstance(networks, CellNetworks)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    SysVI.setup_anndata(adata, batch_key="batch", **covariate_keys(data))
    sizes = {key: getattr(networks, key) for key in ("n_hidden", "n_latent", "n_layers")}
    model = SysVI(adata, **sizes)
    if data.n_batches == 1:  # there is no other for the cycle, for which the library looks
        model.module.random_select_batch = lambda batch: batch
    return model


def _drvi(data: CellData, spec: Spec) -> Any:
    """Return a DRVI, which decodes each latent dimension by itself, with its own likelihood."""
    try:
        from scvi.external import DRVI
    except ImportError:
        raise InputError(
            "the method drvi needs scvi-tools 1.5 or newer, which needs Python 3.12; leave it out "
            "of experiments.cells.methods, or install that"
        ) from None
    return library_model(data, spec, DRVI, gene_likelihood="pnb")


def _mrvi(data: CellData, spec: Spec) -> Any:
    """Return a MrVI whose samples are the batches: its u, which they do not shift, is embedded."""
    try:
        from scvi.external import TorchMRVI as MRVI
    except ImportError:
        from scvi.external import MRVI

    warnings.filterwarnings("ignore", message="You are using the Torch Version of MrVI")
    adata, networks = data.to_anndata(), spec.networks
    assert isinstance(networks, CellNetworks)
    MRVI.setup_anndata(adata, sample_key="batch")
    return MRVI(
        adata,
        n_latent_u=networks.n_latent,
        n_latent=max(WIDTH_OF_Z, networks.n_latent),
        encoder_n_hidden=networks.n_hidden,
        encoder_n_layers=networks.n_layers,
    )


def _scvi_of_labelled(data: CellData, spec: Spec) -> Any:
    """Return scVI, which a scANVI starts from, for cells that have labels."""
    if not (data.labels >= 0).any():
        raise InputError(
            f"scanvi learns from labels, and no cell of {data.name} has one; leave it out of "
            "experiments.cells.methods"
        )
    return library_model(data, spec)


def _with_labels(model: Any, data: CellData, fit: Fit) -> Any:
    """Train with the labels of the training cells, from an scVI on, as long as scANVI advises."""
    import pandas as pd
    from scvi.model import SCANVI

    unknown = "unlabelled"
    while unknown in data.label_names:
        unknown += "_"
    names = np.array([*data.label_names, unknown], dtype=object)
    model.adata.obs["told"] = pd.Categorical(names[data.labels])  # -1 is the last
    told = SCANVI.from_scvi_model(model, unknown, labels_key="told")
    fit(told)
    return told


train_sysvi = trainer(_sysvi)
train_drvi = trainer(_drvi)
train_mrvi = trainer(_mrvi)
train_scanvi = trainer(_scvi_of_labelled, _with_labels)
"""The history is that of scVI, the first part."""
