"""Newer models of scvi-tools: SysVI, scANVI, DRVI; with the sizes, rate and split of the others.

Each function is as :func:`vmm.benchmark.baselines.scvi_tools.train_scvi_tools`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.baselines.scvi_tools import covariate_keys, library_model, train_each
from vmm.benchmark.spec import Spec
from vmm.benchmark.trained import Trained
from vmm.data.containers import CellData
from vmm.errors import InputError
from vmm.models.records import CellNetworks
from vmm.training.settings import Row

if TYPE_CHECKING:
    import torch


def train_sysvi(
    data: CellData,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    specs: Sequence[Spec],
    folder: Path,
    device: torch.device,
    progress: Sequence[Callable[[Row], None]],
    cuda_graph: bool = False,
) -> list[Trained]:
    """Train SysVI: a VampPrior and a cycle through another batch, on log-normalised counts."""
    with warnings.catch_warnings():
        # It sets the warm-up to none by itself, and says so.
        warnings.filterwarnings("ignore", message="The use of KL weight warmup")
        return train_each(_sysvi, data, splits, specs, device, progress)


def _sysvi(data: CellData, spec: Spec) -> Any:
    import scanpy as sc
    from scvi.external import SysVI

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


def train_drvi(
    data: CellData,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    specs: Sequence[Spec],
    folder: Path,
    device: torch.device,
    progress: Sequence[Callable[[Row], None]],
    cuda_graph: bool = False,
) -> list[Trained]:
    """Train DRVI: each latent dimension is decoded by itself; its own likelihood."""
    try:
        from scvi.external import DRVI
    except ImportError:
        raise InputError(
            "the method drvi needs scvi-tools 1.5 or newer, which needs Python 3.12; leave it out "
            "of experiments.cells.methods, or install that"
        ) from None

    def build(data: CellData, spec: Spec) -> Any:
        return library_model(data, spec, DRVI, gene_likelihood="pnb")

    return train_each(build, data, splits, specs, device, progress)


def train_scanvi(
    data: CellData,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    specs: Sequence[Spec],
    folder: Path,
    device: torch.device,
    progress: Sequence[Callable[[Row], None]],
    cuda_graph: bool = False,
) -> list[Trained]:
    """Train scANVI: scVI first, as scvi-tools' own; then so many epochs with labels as it advises.

    It is told the labels of the training cells. The history is that of the first part.
    """
    if not (data.labels >= 0).any():
        raise InputError(
            f"scanvi learns from labels, and no cell of {data.name} has one; leave it out of "
            "experiments.cells.methods"
        )
    return train_each(library_model, data, splits, specs, device, progress, _with_labels)


def _with_labels(model: Any, data: CellData, how: dict[str, Any]) -> Any:
    import pandas as pd
    from scvi.model import SCANVI

    unknown = "unlabelled"
    while unknown in data.label_names:
        unknown += "_"
    names = np.array([*data.label_names, unknown], dtype=object)
    model.adata.obs["told"] = pd.Categorical(names[data.labels])  # -1 is the last
    told = SCANVI.from_scvi_model(model, unknown, labels_key="told")
    told.train(**how)
    return told
