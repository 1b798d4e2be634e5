"""One trained model, shared by the tests of the interface."""

from __future__ import annotations

import pytest
from real_cells import SETTINGS, make_pbmc

import vmm


@pytest.fixture(scope="package")
def pbmc():
    """Return 700 PBMCs in two batches."""
    return make_pbmc()


@pytest.fixture(scope="package")
def model(pbmc):
    """Return a VMM trained for a few epochs."""
    vmm.SCVI.setup_anndata(pbmc, layer="counts", batch_key="lanes", labels_key="bulk_labels")
    trained = vmm.SCVI(pbmc, prior="vmm", n_hidden=32, n_latent=5, n_components=12, seed=5)
    trained.train(**SETTINGS)
    return trained
