"""Cells from a new batch mapped onto a trained model: PBMC of another 10x chemistry."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
from real_cells import SETTINGS
from sklearn.metrics import normalized_mutual_info_score

import vmm

PRIORS = ["vmm", "vampprior", "gmm", "normal"]


@pytest.fixture(scope="module")
def cells(shared_data):
    """Return reference (3' chemistries) and query (5'), the 250 genes with the most counts."""
    adata = anndata.read_h5ad(shared_data / "cells" / "pbmc_3tech_symphony.h5ad")
    top = np.sort(np.argsort(-np.asarray(adata.X.sum(0)).ravel())[:250])
    adata = adata[:, top]
    query = adata.obs["batch"] == "5p"
    return adata[~query].copy(), adata[query].copy()


def train_reference(reference, prior: str):
    vmm.SCVI.setup_anndata(reference, batch_key="batch")
    model = vmm.SCVI(reference, prior=prior, n_hidden=32, n_components=12, n_latent=6)
    model.train(**SETTINGS | {"max_epochs": 20})
    return model


@pytest.mark.parametrize("prior", PRIORS)
def test_only_the_new_batch_is_learnt(cells, prior, tmp_path):
    reference, query = cells[0].copy(), cells[1].copy()
    model = train_reference(reference, prior)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    mapped = vmm.SCVI.load_query_data(query, model)
    with pytest.raises(RuntimeError, match="untrained"):
        mapped.get_latent_representation()
    start = float(mapped.get_elbo())
    mapped.train(**SETTINGS)
    assert float(mapped.get_elbo()) > start + 2

    batches = {"networks.encoder.0.linear.weight": 250, "networks.decoder.0.linear.weight": 6}
    for name, value in mapped.module.state_dict().items():
        old = before[name]
        if name in batches:
            assert value.shape[1] == old.shape[1] + 1
            assert (value[:, -1] != 0).any()
        elif name.endswith("pseudo_inputs"):
            assert value.shape[1] == old.shape[1] + 1
        else:
            assert value.shape == old.shape and (value == old).all(), name
        part = value if value.shape == old.shape else value[:, : old.shape[1]]
        assert (part == old).all(), name
    # So the reference's cells stay where they were, in the same clusters.
    copy = reference.copy()
    copy.obs = copy.obs[["batch"]]
    np.testing.assert_allclose(
        mapped.get_latent_representation(copy), model.get_latent_representation(), atol=1e-5
    )
    if prior != "normal":
        assert list(mapped.predict(copy)) == list(model.predict())
        for key, value in model.get_prior_parameters().items():
            np.testing.assert_array_equal(mapped.get_prior_parameters()[key], value)

    mapped.save(tmp_path / "mapped")
    loaded = vmm.SCVI.load(tmp_path / "mapped", query)
    np.testing.assert_array_equal(
        loaded.get_latent_representation(), mapped.get_latent_representation()
    )


def test_query_finds_the_clusters_of_its_cell_types(cells, tmp_path):
    reference, query = cells[0].copy(), cells[1].copy()
    model = train_reference(reference, "vmm")
    model.save(tmp_path / "reference")
    mapped = vmm.SCVI.load_query_data(query, tmp_path / "reference")
    mapped.train(**SETTINGS | {"max_epochs": 30})
    known, found = np.asarray(model.predict()), np.asarray(mapped.predict())
    assert normalized_mutual_info_score(query.obs["cell_type"], found) > 0.5
    for kind in ("B", "Mono_CD14"):
        at_home = pd.Series(known[reference.obs["cell_type"] == kind]).mode()[0]
        assert (found[query.obs["cell_type"] == kind] == at_home).mean() > 0.8


def test_known_batches_need_no_training(cells):
    reference = cells[0].copy()
    model = train_reference(reference, "gmm")
    some = reference[:50].copy()
    mapped = vmm.SCVI.load_query_data(some, model)
    assert mapped.is_trained and list(mapped.predict()) == list(model.predict()[:50])
    with pytest.raises(ValueError, match="no batch that the reference does not know"):
        mapped.train()


def test_other_genes_are_told(cells):
    model = train_reference(cells[0].copy(), "gmm")
    fewer = cells[1][:, 20:].copy()
    with pytest.raises(ValueError, match="adata lacks 20 of the model's 250 genes"):
        vmm.SCVI.load_query_data(fewer, model)
    padded = vmm.SCVI.prepare_query_anndata(fewer, model, inplace=False)
    assert list(padded.var_names) == list(cells[0].var_names)
