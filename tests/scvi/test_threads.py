"""Numbers do not depend on what other libraries made of the process's threads."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

import vmm
from vmm.scvi.threads import COMPUTING, cpu_threads

OTHERS = {
    "adata", "adata_manager", "cluster_names", "data_registry", "deregister_manager", "device",
    "get_anndata_manager", "get_from_registry", "get_normalized_function_name", "get_setup_arg",
    "get_state_registry", "get_var_names", "history", "is_trained", "plot_training", "registry",
    "rename_clusters", "run_id", "run_name", "save", "summary_string", "test_indices", "to_device",
    "train", "train_indices", "transfer_fields", "update_setup_method_args", "validation_indices",
    "view_anndata_setup", "view_registry", "view_setup_method_args",
}  # fmt: skip
"""Attributes and methods that compute nothing; and `train`, which has an argument."""


@pytest.fixture
def three():
    """Let the process have three threads, as another library would."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_a_number_is_put_back(three):
    with cpu_threads(2):
        assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), cpu_threads(1):
        raise KeyError


def test_every_method_is_sorted():
    """A method that is added must be told to compute, or not to."""
    public = {
        name
        for name in dir(vmm.SCVI)
        if not name.startswith("_")
        and not isinstance(inspect.getattr_static(vmm.SCVI, name), (classmethod, staticmethod))
    }
    assert public == set(COMPUTING) | OTHERS


def test_everything_computes_with_the_models_threads(model, three, monkeypatch):
    seen = []
    inner = type(model.module.networks).posterior

    def posterior(self, *args, **kwargs):
        seen.append(torch.get_num_threads())
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(type(model.module.networks), "posterior", posterior)
    for threads in (1, 2):
        model.threads = threads
        try:
            model.predict()
            model.get_latent_representation()
            model.get_elbo()
            model.get_normalized_expression()
            model.get_prior_parameters()
        finally:
            model.threads = 1
        assert set(seen) == {threads}
        seen.clear()


def test_training(pbmc, three, monkeypatch):
    cells = pbmc[:100].copy()
    vmm.SCVI.setup_anndata(cells, layer="counts")
    seen, step = [], vmm.training.steps.variational_step

    def spy(*args, **kwargs):
        seen.append(torch.get_num_threads())
        return step(*args, **kwargs)

    monkeypatch.setattr(vmm.training.steps, "variational_step", spy)
    results = []
    for threads, expected in ((None, 2), (1, 1)):
        model = vmm.SCVI(cells, n_hidden=16, n_components=5, threads=2)
        model.train(max_epochs=2, enable_progress_bar=False, threads=threads)
        assert set(seen) == {expected} and model.threads == 2
        seen.clear()
    for process in (1, 3):  # what the process has is of no account
        torch.set_num_threads(process)
        model = vmm.SCVI(cells, n_hidden=16, n_components=5)
        model.train(max_epochs=2, enable_progress_bar=False)
        results.append(model.get_latent_representation())
    np.testing.assert_array_equal(*results)


def test_threads_are_saved(pbmc, tmp_path):
    cells = pbmc[:100].copy()
    vmm.SCVI.setup_anndata(cells, layer="counts")
    model = vmm.SCVI(cells, n_hidden=8, n_components=5, threads=2)
    model.train(max_epochs=1, enable_progress_bar=False)
    model.save(tmp_path / "model")
    assert vmm.SCVI.load(tmp_path / "model", cells).threads == 2
