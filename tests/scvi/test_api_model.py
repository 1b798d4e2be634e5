"""The model as users of scvi-tools use it: registration, training, saving, warnings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from real_cells import SETTINGS
from tiny_jobs import make_spec, train

import vmm
import vmm.training
from vmm.data import CellData, make_split


def test_importing_the_package_imports_no_scvi():
    code = (
        "import sys, vmm, vmm.benchmark.jobs; "
        "sys.exit('scvi' in sys.modules or 'anndata' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        vmm.nonsense  # noqa: B018


@pytest.mark.parametrize("prior", ["vmm", "gmm", "vampprior", "normal"])
def test_same_result_as_a_job_of_the_pipeline(pbmc, tmp_path, prior):
    """Same data, seed and settings: the same numbers to the bit, in every form of the counts."""
    precision = "bf16" if prior == "vampprior" else "float32"
    log_counts = prior != "gmm"
    switches = {"dirichlet_process": False} if prior == "vmm" else {}
    below = 0.9 if prior == "gmm" else 0.0
    adata = pbmc.copy()
    if prior == "gmm":
        adata.layers["counts"] = adata.layers["counts"].toarray()
    data = CellData(
        "pbmc",
        sp.csr_matrix(adata.layers["counts"]).astype(np.int32),
        (adata.obs["lanes"] == "5-8").to_numpy(np.int64),
        ["1-4", "5-8"],
        np.zeros(adata.n_obs, dtype=np.int64),
        ["cell"],
        adata.var_names.to_numpy(str),
        adata.obs_names.to_numpy(str),
    )
    data.save(tmp_path / "data.npz")
    rows = make_split(data, 0, 5)
    np.savez(tmp_path / "split.npz", train=rows[0], valid=rows[1])
    changes = {
        "n_latent": 4, "n_components": 9, "n_layers": 2, "n_hidden": 16, "likelihood": "nb",
        "batch_size": 64, "max_epochs": 4, "patience": 100, "precision": precision,
        "log_counts": log_counts, **switches,
    }  # fmt: skip
    if prior == "normal":
        del changes["n_components"]
    if below:
        changes |= {"max_epochs": 8, "sleep_below": below}
    spec = make_spec("cells", prior, **changes)
    run = train(tmp_path / "data.npz", tmp_path / "split.npz", spec, tmp_path / "run")
    latent = np.load(tmp_path / "run" / "latent.npz")

    vmm.SCVI.setup_anndata(adata, layer="counts", batch_key="lanes")
    model = vmm.SCVI(
        adata, prior=prior, n_hidden=16, n_latent=4, n_layers=2, gene_likelihood="nb",
        n_components=9, seed=5, log_variational=log_counts, prior_kwargs=switches,
    )  # fmt: skip
    model.train(
        max_epochs=changes["max_epochs"], batch_size=64, learning_rate=3e-3,
        prior_learning_ratio=2.5, precision=precision, sleep_below=below, accelerator="cpu",
        enable_progress_bar=False,
    )  # fmt: skip
    np.testing.assert_array_equal(model.train_indices, rows[0])
    np.testing.assert_array_equal(model.get_latent_representation(), latent["embedding"])
    assert model.best_epoch_ == run["best_epoch"]
    if prior != "normal":
        ours = model.predict(soft=True).to_numpy()
        np.testing.assert_array_equal(ours, latent["cluster_probs"][:, model.cluster_order_])


def test_history_has_the_names_and_signs_of_scvi_tools(model):
    assert list(model.history)[:2] == ["elbo_train", "elbo_validation"]
    validation = model.history["elbo_validation"]["elbo_validation"]
    assert validation.index.name == "epoch" and len(validation) == 12
    assert model.best_epoch_ == validation.argmin() + 1
    assert 150 < validation.min() < 300
    # The model holds the best epoch: its ELBO is that one's but for noise.
    elbo = float(model.get_elbo(indices=model.validation_indices))
    assert elbo == pytest.approx(-validation.min(), abs=3)


def test_save_and_load(model, pbmc, tmp_path):
    model.save(tmp_path / "model")
    loaded = vmm.SCVI.load(tmp_path / "model", pbmc)
    np.testing.assert_array_equal(
        loaded.get_latent_representation(), model.get_latent_representation()
    )
    assert list(loaded.predict()) == list(model.predict())
    assert loaded.best_epoch_ == model.best_epoch_ and len(loaded.history["elbo_train"]) == 12
    with pytest.raises(ValueError, match="already exists"):
        model.save(tmp_path / "model")


def test_switches_are_saved_with_the_model(pbmc, tmp_path):
    """What the encoder sees and how the prior is fitted; a model loaded by itself knows both."""
    adata = pbmc[:200].copy()
    vmm.SCVI.setup_anndata(adata, layer="counts", batch_key="lanes")
    switches = {"dirichlet_process": False, "wishart_scale": "published_code"}
    model = vmm.SCVI(
        adata, n_hidden=16, n_components=5, log_variational=False, prior_kwargs=switches
    )
    model.train(**SETTINGS | {"max_epochs": 2})
    model.save(tmp_path / "model")
    loaded = vmm.SCVI.load(tmp_path / "model", adata)
    assert not loaded.module.networks.log_counts
    assert (loaded.module.prior.dirichlet_process, loaded.module.prior.wishart_scale) == (
        False,
        "published_code",
    )
    np.testing.assert_array_equal(
        loaded.get_latent_representation(), model.get_latent_representation()
    )
    query = pbmc[200:300].copy()
    query.obs["lanes"] = "new"
    mapped = vmm.SCVI.load_query_data(query, str(tmp_path / "model"))
    assert not mapped.module.networks.log_counts


def test_switches_that_a_prior_does_not_have(pbmc):
    vmm.SCVI.setup_anndata(pbmc, layer="counts", batch_key="lanes", labels_key="bulk_labels")
    with pytest.raises(ValueError, match=r"has 'dirichlet'; .* 'gmm' takes .*, dirichlet_"):
        vmm.SCVI(pbmc, prior="gmm", prior_kwargs={"dirichlet": False})
    with pytest.raises(ValueError, match="the prior 'normal' takes none"):
        vmm.SCVI(pbmc, prior="normal", prior_kwargs={"wishart_scale": "paper"})
    with pytest.raises(ValueError, match="wishart_scale is 'other'; it must be"):
        vmm.SCVI(pbmc, prior_kwargs={"wishart_scale": "other"})


def test_warnings_and_errors_are_those_of_scvi_tools(pbmc):
    adata = pbmc[:100].copy()
    with pytest.raises(KeyError, match=r"donor not found in adata.obs"):
        vmm.SCVI.setup_anndata(adata, batch_key="donor")
    with pytest.raises(ValueError, match=r"spliced is not a valid key in adata.layers"):
        vmm.SCVI.setup_anndata(adata, layer="spliced")
    adata.layers["log"] = adata.X.log1p()
    with pytest.warns(UserWarning, match="does not contain unnormalized count data"):
        vmm.SCVI.setup_anndata(adata, layer="log")
    with pytest.raises(ValueError, match="must be one of normal, vampprior, gmm, vmm"):
        vmm.SCVI(adata, prior="no_such_prior")
    untrained = vmm.SCVI(adata, n_components=5)
    for ask in (untrained.get_latent_representation, untrained.predict):
        with pytest.raises(RuntimeError, match=r"untrained model\. Please train the model first"):
            ask()
    with pytest.raises(ValueError, match="n_components is 100, but adata has only 90"):
        vmm.SCVI(adata).train()


def test_fractional_counts_are_not_cut(pbmc):
    """Counts corrected for ambient RNA: scvi-tools warns and takes them as they are; so do we."""
    from vmm.models.tensors import CellTensors

    counts = sp.csr_matrix([[0.5, 3.0], [0.0, 260.25]])
    np.testing.assert_array_equal(CellTensors(counts, np.zeros(2), 1).counts, counts.toarray())
    assert CellTensors(counts.ceil(), np.zeros(2), 1).counts.dtype.itemsize == 2


def test_without_clusters(pbmc, tmp_path):
    adata = pbmc[:200].copy()
    vmm.SCVI.setup_anndata(adata, layer="counts")
    model = vmm.SCVI(adata, prior="normal", n_hidden=16)
    model.train(**SETTINGS | {"max_epochs": 2})
    assert model.get_latent_representation().shape == (200, 10)
    assert model.cluster_names == []
    with pytest.raises(ValueError, match="prior='normal' has no clusters"):
        model.predict()
    model.save(tmp_path / "model")
    loaded = vmm.SCVI.load(tmp_path / "model", adata)
    assert float(loaded.get_elbo()) == pytest.approx(float(model.get_elbo()), abs=2)


def test_interrupted_training_keeps_its_best_epoch(pbmc, monkeypatch):
    adata = pbmc[:200].copy()
    vmm.SCVI.setup_anndata(adata, layer="counts", batch_key="lanes")
    model = vmm.SCVI(adata, n_hidden=16, n_components=5)
    step, calls = vmm.training.steps.variational_step, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 8:  # in the fourth epoch: two batches of 64 in 180 cells
            os.kill(os.getpid(), signal.SIGINT)
        return step(*args, **kwargs)

    monkeypatch.setattr(vmm.training.steps, "variational_step", interrupted)
    # A process that a shell started in the background ignores Ctrl-C, and so would this one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.warns(UserWarning, match="interrupted after epoch 3; .* best epoch so far"):
            model.train(**SETTINGS)
    finally:
        signal.signal(signal.SIGINT, before)
    assert model.is_trained and len(model.history["elbo_train"]) == 3
    assert len(model.predict()) == 200


def test_divergence_is_told(pbmc):
    adata = pbmc[:100].copy()
    vmm.SCVI.setup_anndata(adata)
    model = vmm.SCVI(adata, n_hidden=16, prior="gmm", n_components=5)
    with pytest.warns(UserWarning, match="met NaN or infinity in epoch 1 and was stopped"):
        model.train(**SETTINGS | {"learning_rate": 1e30})
