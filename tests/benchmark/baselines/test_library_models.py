"""Models of scvi-tools as the benchmark trains them: the library's own, and with our priors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from tiny_jobs import (
    K,
    assert_same_results,
    make_cells,
    make_spec,
    read_history,
    read_latent,
    read_weights,
    train,
    write,
)

from vmm.data.covariates import Covariates
from vmm.data.features import Features
from vmm.scvi_tools.records import MODELS, benchmarked

SIZES = {"n_latent": 3, "n_hidden": 8}


def cells(model: str = ""):
    """Return what a model takes: counts, with what tells the types apart; intensities."""
    data = make_cells()
    if model and MODELS[model].intensities:
        return replace(data, counts=data.counts.astype(np.float32).log1p())
    means = 4 + 6 * data.labels[:, None] * (np.arange(12) % 3)
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(means).astype(np.int32))
    features = Features(counts, np.array([f"p{i}" for i in range(12)]))
    return replace(data, proteins=features, peaks=features)


def spec_of(model: str, method: str, sizes=None, **changes):
    """Return the specification of a tiny job in a model of scvi-tools."""
    spec = make_spec("cells", method, **{"precision": None} | changes)
    networks = SIZES if sizes is None else sizes
    return replace(spec, job=replace(spec.job, library=model), networks=networks)


@pytest.fixture
def prepared(tmp_path):
    return write(cells(), tmp_path)


@pytest.mark.parametrize("model", benchmarked())
def test_with_a_prior_of_ours(model, tmp_path):
    """It clusters; two runs are the same to the bit; the best epoch is the one that is kept."""
    prepared = write(cells(model), tmp_path)
    for name in ("a", "b"):
        run = train(*prepared, spec_of(model, "vmm"), tmp_path / name)
    assert_same_results(tmp_path / "a", tmp_path / "b")
    assert run["status"] == "ok" and run["spec"]["library"] == model
    latent, history = read_latent(tmp_path / "a"), read_history(tmp_path / "a")
    assert latent["embedding"].shape == (100, 3) and latent["cluster_probs"].shape == (100, K)
    assert len(np.unique(latent["cluster_probs"].argmax(1))) == run["utilized_clusters"]
    assert all(1 <= int(row["utilized_clusters"]) <= K for row in history)
    scores = [float(row["valid_elbo"]) for row in history]
    assert run["best_epoch"] == int(np.argmax(scores)) + 1
    assert SIZES.items() <= run["networks"].items()
    weights = read_weights(tmp_path / "a")
    assert torch.isfinite(weights["prior.pseudo_inputs"]).all()


@pytest.mark.parametrize("model", benchmarked())
def test_the_librarys_own(model, tmp_path):
    """N(0, I) is the library's model to the bit, but for PEAKVI, whose KL has another weight."""
    prepared = write(cells(model), tmp_path)
    for method in ("scvi_tools", "normal"):
        train(*prepared, spec_of(model, method), tmp_path / method)
    own, other = read_latent(tmp_path / "scvi_tools"), read_latent(tmp_path / "normal")
    assert np.array_equal(own["embedding"], other["embedding"]) == (model != "PEAKVI")
    assert own.keys() == other.keys() == {"embedding"}


@pytest.mark.parametrize("model", benchmarked())
def test_rows_of_the_split_reach_it(model, tmp_path, monkeypatch):
    """Whatever its `train` takes."""
    import scvi

    seen, start = [], scvi.train.TrainRunner.__init__

    def watched(self, model, training_plan, data_splitter, *args, **options):
        seen.append(data_splitter)
        start(self, model, training_plan, data_splitter, *args, **options)

    monkeypatch.setattr(scvi.train.TrainRunner, "__init__", watched)
    data, split = write(cells(model), tmp_path)
    train(data, split, spec_of(model, "vmm", max_epochs=1), tmp_path / "run")
    (splitter,) = seen
    for rows, name in ((splitter.train_idx, "train"), (splitter.val_idx, "valid")):
        assert sorted(rows) == sorted(np.load(split)[name])


def test_proteins_and_covariates_reach_it(tmp_path):
    """The decoder of TOTALVI gives 12 proteins; it sees batches, donors and one number."""
    rows = np.arange(100)
    known = Covariates({"donor": (rows % 3, ["a", "b", "c"])}, {"age": rows / np.float32(100)})
    prepared = write(replace(cells(), covariates=known), tmp_path)
    train(*prepared, spec_of("TOTALVI", "gmm", max_epochs=1), tmp_path / "run")
    weights = read_weights(tmp_path / "run")
    assert weights["py_r"].shape == (12,)
    # Genes and proteins; two batches and three donors; one number.
    assert weights["encoder.encoder.fc_layers.Layer 0.0.weight"].shape == (8, 24 + 2 + 3 + 1)


def test_peaks_and_covariates_reach_it(tmp_path):
    """The encoders of MULTIVI see 12 genes and 12 peaks, its decoders batches and donors too."""
    known = Covariates({"donor": (np.arange(100) % 3, ["a", "b", "c"])})
    prepared = write(replace(cells(), covariates=known), tmp_path)
    train(*prepared, spec_of("MULTIVI", "gmm", max_epochs=1), tmp_path / "run")
    weights = read_weights(tmp_path / "run")
    for encoder in ("expression", "accessibility"):
        first = weights[f"z_encoder_{encoder}.encoder.fc_layers.Layer 0.0.weight"]
        assert first.shape == (8, 12)
    decoder = weights["z_decoder_expression.px_decoder.fc_layers.Layer 0.0.weight"]
    assert decoder.shape == (8, 3 + 2 + 3)


def test_settings_reach_it(prepared, tmp_path):
    """Networks by the library's names; the switches of a prior."""
    sizes = {"n_latent": 2, "n_hidden": 6, "n_layers_encoder": 2}
    spec = spec_of("PEAKVI", "vmm", sizes, max_epochs=1)
    train(*prepared, spec, tmp_path / "first")
    weights = read_weights(tmp_path / "first")
    assert weights["z_encoder.encoder.fc_layers.Layer 1.0.weight"].shape == (6, 6)
    train(*prepared, replace(spec, prior_learning_ratio=50.0), tmp_path / "faster")
    other = replace(spec.ours, options={"concentration_prior": "gamma"})
    train(*prepared, replace(spec, ours=other), tmp_path / "gamma")
    for folder in ("faster", "gamma"):
        found = read_weights(tmp_path / folder)
        assert any(not torch.equal(found[key], weights[key]) for key in weights)


def test_what_nobody_said_is_told(prepared, tmp_path):
    """Sizes and likelihood of the library, whatever they follow from."""
    for model, networks in (
        ("TOTALVI", {"n_latent": 20, "n_hidden": 256, "n_layers": 2, "likelihood": "nb"}),
        ("PEAKVI", {"n_latent": 1, "n_hidden": 3, "n_layers": 2}),  # √12 peaks, and √ of that
        ("MULTIVI", {"n_latent": 1, "n_hidden": 3, "n_layers": 2, "likelihood": "zinb"}),
    ):
        for method in ("scvi_tools", "vmm"):
            spec = spec_of(model, method, {}, max_epochs=1)
            run = train(*prepared, spec, tmp_path / model / method)
            assert networks.items() <= run["networks"].items()
            assert run["spec"]["networks"] == {}
    assert "networks" not in train(*prepared, make_spec("cells", "normal"), tmp_path / "ours")


def test_training_stops_without_a_better_elbo(prepared, tmp_path):
    """After `patience` epochs, in PEAKVI too, which would look at something else."""
    spec = spec_of("PEAKVI", "normal", max_epochs=60, patience=2, learning_rate=0.3)
    run = train(*prepared, spec, tmp_path / "run")
    assert run["epochs"] == run["best_epoch"] + 2 < 60


@pytest.mark.parametrize("model", benchmarked())
@pytest.mark.parametrize("method", ["normal", "vmm"])
def test_a_diverged_training_says_so(model, method, tmp_path):
    prepared = write(cells(model), tmp_path)
    spec = spec_of(model, method, learning_rate=1e20, max_epochs=20)
    run = train(*prepared, spec, tmp_path / "run")
    assert run["status"] == "diverged"
    assert all(np.isfinite(array).all() for array in read_latent(tmp_path / "run").values())
