"""What every model of scvi-tools has with a prior, and what is refused."""

from __future__ import annotations

import dataclasses
import re

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from library_models import N_CELLS, N_GENES, N_PROTEINS, SIZES, TRAIN, cells, set_up

import scvi
import vmm
from vmm.errors import InputError
from vmm.scvi_tools import MODELS, ModelRecord, with_prior
from vmm.scvi_tools.records import Markers


def test_classes_are_the_same_when_asked_for_again():
    assert with_prior(scvi.model.TOTALVI) is vmm.TOTALVI
    assert with_prior(scvi.model.TOTALVI, "vmm") is vmm.scvi_tools.TOTALVI
    assert issubclass(vmm.TOTALVI, scvi.model.TOTALVI)


def test_clusters(trained):
    soft = trained.predict(soft=True)
    assert soft.shape == (N_CELLS, 10)
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-5)
    found = trained.predict()
    assert list(found.categories) == trained.cluster_names[: len(found.categories)]
    counts = found.value_counts()
    assert (np.diff(counts) <= 0).all()  # by size
    assert 1 <= trained.history["utilized_clusters"].iloc[-1, 0] <= 10


def test_summary(trained):
    table = trained.get_cluster_summary(n_markers=3)
    assert table["n_cells"].sum() == N_CELLS
    proteins = {f"protein_{i}_protein" for i in range(N_PROTEINS)}  # as in the library
    features = proteins | {*trained.adata.var_names}
    for markers in table["markers"]:
        assert set(markers.split(", ")) - {""} <= features
    takes_none = trained.record.name in ("TOTALVI", "MULTIVI")
    assert ("label" in table) != takes_none


def test_prior_parameters(trained):
    prior = trained.get_prior_parameters()
    assert prior["means"].shape == (10, 4)
    assert prior["covariances"].shape == (10, 4, 4)
    assert prior["weights"].sum() == pytest.approx(1)
    assert prior["concentration"] > 0


def test_sampled_cells(trained):
    name = trained.cluster_names[0]
    drawn = trained.sample_cluster(name, 40, batch="a", seed=3)
    assert drawn.shape == (40, N_GENES)
    assert set(drawn.obs["batch"]) == {"a"}
    again = trained.sample_cluster(name, 40, batch="a", seed=3)
    assert (drawn.X != again.X).nnz == 0
    prior = trained.get_prior_parameters()
    mean = drawn.obsm["X_vmm"].mean(0) - prior["means"][0]
    assert (np.abs(mean) < 5 * np.sqrt(prior["covariances"][0].diagonal() / 40)).all()
    if trained.record.name != "CYTOVI":
        values = drawn.X.toarray()
        assert (values >= 0).all()
        assert (values == values.round()).all()
    if trained.record.name == "PEAKVI":
        assert values.max() == 1
    assert ("protein" in drawn.obsm) == (trained.record.name in ("TOTALVI", "MULTIVI"))
    assert list(drawn.var_names) == [f"gene_{i}" for i in range(N_GENES)]


def test_plots(trained):
    assert trained.plot_training().axes
    trained.adata.obsm["plane"] = trained.get_latent_representation()[:, :2]
    assert trained.plot_cells(basis="plane").axes
    assert trained.plot_composition("type").axes


@pytest.mark.parametrize("kind", [pd.DataFrame, np.asarray, scipy.sparse.csr_matrix])
def test_proteins_of_obsm_are_drawn(kind):
    """By their own names or those of markers; a gene of the same name goes before them."""
    adata = cells("TOTALVI")
    counts = adata.obsm["protein"].to_numpy()
    adata.obsm["protein"] = kind(adata.obsm["protein"])
    adata.uns["names"] = [f"protein_{i}" for i in range(N_PROTEINS)]
    names = {"protein_names_uns_key": None if kind is pd.DataFrame else "names"}
    adata.var_names = ["protein_1", *adata.var_names[1:]]
    model = set_up("TOTALVI", adata, **names)(adata, **SIZES)
    model.adata.obsm["plane"] = np.random.default_rng(0).normal(size=(N_CELLS, 2))

    def drawn(name):
        return model.plot_cells(name, "plane").axes[0].collections[-1].get_array()

    for name, values in (
        ("protein_2", counts[:, 2]),
        ("protein_2_protein", counts[:, 2]),
        ("protein_1", adata.X[:, 0]),
        ("protein_1_protein", counts[:, 1]),
    ):
        np.testing.assert_allclose(drawn(name), np.sort(values))
    with pytest.raises(KeyError, match=r"protein_8 not found in adata\.obs or among the genes"):
        drawn("protein_8")


def test_saved_and_loaded_to_the_bit(trained, tmp_path):
    trained.save(tmp_path / "model")
    loaded = type(trained).load(tmp_path / "model", trained.adata)
    assert loaded.cluster_names == trained.cluster_names
    for method in ("get_latent_representation", "predict"):
        assert np.array_equal(getattr(loaded, method)(), getattr(trained, method)())
    assert np.array_equal(loaded.predict(soft=True), trained.predict(soft=True))
    before, after = trained.get_prior_parameters(), loaded.get_prior_parameters()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_other_kinds_of_model_do_not_load(trained, tmp_path):
    trained.save(tmp_path / "model")
    with pytest.raises(ValueError, match="different class"):
        type(trained).__bases__[-1].load(tmp_path / "model", trained.adata)


def test_many_devices_are_refused_before_anything_changes(trained):
    before = trained.predict(soft=True)
    with pytest.raises(InputError, match="trained on one device; leave out `strategy`"):
        trained.train(**TRAIN, strategy="ddp")
    assert np.array_equal(trained.predict(soft=True), before)


HOLES = {
    "X": ("CYTOVI", np.nan, "adata.X has nan at cell 3, 'cell_3', column 'gene_2'; every number"),
    "sparse": ("PEAKVI", np.inf, "adata.X has inf at cell 3, 'cell_3', column 'gene_2'; every"),
    "obsm": ("TOTALVI", np.nan, "adata.obsm['protein'] has nan at cell 3, 'cell_3', column "
             "'protein_2'; every number must be there and finite."),
    "modality": ("MULTIVI", -np.inf, "mdata['atac'].X has -inf at cell 3, 'cell_3', column "
                 "'gene_20'"),
}  # fmt: skip


@pytest.mark.parametrize("place", HOLES)
def test_what_is_missing_or_infinite_is_refused_before_the_training(place):
    """The library would end in the words of torch, after a step that had made the weights NaN."""
    name, value, message = HOLES[place]
    adata = cells(name)
    of = adata["atac"] if place == "modality" else adata
    if place == "obsm":
        adata.obsm["protein"].iloc[3, 2] = value
    else:
        of.X[3, 2] = value
    if place == "sparse":
        adata.X = scipy.sparse.csr_matrix(adata.X)
    model = set_up(name, adata)(adata, **SIZES)
    with pytest.raises(InputError, match=re.escape(message)):
        model.train(**TRAIN)
    assert all(weights.isfinite().all() for weights in model.module.parameters())


def test_what_has_a_prior_already(trained):
    with pytest.raises(InputError, match="has a prior of vmm already"):
        vmm.with_prior(type(trained))
    with pytest.raises(InputError, match="SCVI has a prior of vmm already"):
        vmm.with_prior(vmm.SCVI)


def test_query(trained):
    if not hasattr(type(trained).__bases__[-1], "load_query_data"):
        with pytest.raises(NotImplementedError, match=trained.record.name):
            type(trained).load_query_data(trained.adata, trained)
        return
    query = cells(trained.record.name, seed=7, batches="c")
    mapped = type(trained).load_query_data(query, trained)
    before = {key: value.clone() for key, value in mapped.module.prior.state_dict().items()}
    mapped.train(**TRAIN)
    for key, value in mapped.module.prior.state_dict().items():
        assert torch.equal(before[key], value)
    assert mapped.cluster_names == trained.cluster_names
    assert len(mapped.predict()) == N_CELLS
    reference = mapped.get_latent_representation(trained.adata)
    np.testing.assert_allclose(reference, trained.get_latent_representation(), atol=1e-5)
    assert list(mapped.predict(trained.adata)) == list(trained.predict())


def test_importance_weights_are_refused(trained):
    with pytest.raises(NotImplementedError, match=r"N\(0, I\)"):
        trained.get_importance_weights(None, None, qz=None, px=None, zs=None)


def test_pseudo_inputs_start_from_training_cells():
    adata = cells("SCVI")
    model = set_up("SCVI", adata)(adata, **SIZES, seed=3)
    model.train(**TRAIN | {"max_epochs": 1}, prior_learning_ratio=1e-9)
    started = model.module.prior.pseudo_inputs.detach().numpy()
    distances = np.abs(np.log1p(adata.X)[None] - started[:, None]).max(-1)
    nearest = distances.argmin(1)
    assert distances.min(1).max() < 1e-5
    assert len(set(nearest)) == 10
    assert set(nearest) <= set(model.train_indices)


def test_training_on_keeps_names():
    adata = cells("SCVI")
    model = set_up("SCVI", adata)(adata, prior="gmm", **SIZES)
    model.train(**TRAIN)
    model.rename_clusters({"0": "mine"})
    model.train(**TRAIN | {"max_epochs": 1}, prior_learning_ratio=1e-9, plan_kwargs={"lr": 1e-9})
    assert len(model.history["elbo_train"]) == 3
    assert "mine" in model.cluster_names


@pytest.mark.parametrize("place", ["whole", "modality"])
def test_of_a_mudata(place):
    """The batches are a column of all, or of one modality, as is usual."""
    adata = cells("TOTALVI")
    proteins = anndata.AnnData(adata.obsm["protein"], obs=adata.obs[[]])
    proteins.var_names = [f"protein_{i}" for i in range(N_PROTEINS)]
    both = mudata.MuData({"rna": adata, "protein": proteins})
    modalities = {"rna_layer": "rna", "protein_layer": "protein"}
    if place == "whole":
        both.obs["batch"] = adata.obs["batch"].to_numpy()
    else:
        modalities["batch_key"] = "rna"
    vmm.TOTALVI.setup_mudata(
        both, rna_layer=None, protein_layer=None, batch_key="batch", modalities=modalities
    )
    model = vmm.TOTALVI(both, **SIZES)
    model.train(**TRAIN)
    assert model.predict(soft=True).shape == (N_CELLS, 10)
    table = model.get_cluster_summary(n_markers=0)
    shares = pd.crosstab(model.predict(), adata.obs["batch"].to_numpy(), normalize="index")
    for batch in shares:
        np.testing.assert_allclose(table[f"batch: {batch}"], shares.loc[table.index, batch])
    assert list(model.sample_cluster("0", 5).obsm["protein"]) == list(proteins.var_names)
    model.adata.obsm["plane"] = model.get_latent_representation()[:, :2]
    legend = {text.get_text() for text in model.plot_cells("batch", "plane").axes[1].texts}
    assert {"a", "b"} <= legend
    assert model.plot_cells("protein_3_protein", "plane").axes
    assert model.plot_cells("gene_1", "plane").axes and model.plot_composition("type").axes
    with pytest.raises(KeyError, match="gene_x not found"):
        model.plot_cells("gene_x", "plane")
    with pytest.raises(ValueError, match=r"No labels: give `labels_key`\."):
        model.plot_composition()


def test_a_model_of_one_s_own_by_a_record():
    class Own(scvi.model.SCVI):
        """A model that vmm does not know."""

    record = ModelRecord("Own", "my.module:Own", "Mine.", kl="kl_divergence_z")
    made = with_prior(Own, record=record)
    adata = cells("SCVI")
    made.setup_anndata(adata)
    model = made(adata, **SIZES)
    model.train(**TRAIN)
    assert len(model.predict()) == N_CELLS
    with pytest.raises(InputError, match="Own takes no prior of vmm; there are SCVI"):
        with_prior(Own)

    def wrong(**names):
        made = with_prior(Own, record=dataclasses.replace(record, **names))
        made.setup_anndata(adata)
        made(adata, **SIZES).train(**TRAIN)

    with pytest.raises(InputError, match=r"encoder='encode'; that must be .* z_encoder"):
        wrong(encoder="encode")
    with pytest.raises(InputError, match="kl='kl'; the loss returns kl_divergence_l, kl_div"):
        wrong(kl="kl")
    with pytest.raises(InputError, match=r"names no function: vmm.errors:nothing: vmm.errors has"):
        wrong(others="vmm.errors:nothing")
    with pytest.raises(InputError, match="by the method 'compare', which the model lacks"):
        wrong(markers=Markers("compare"))


def test_samples_with_chosen_covariates():
    """A gene that only one donor expresses is in the samples of this donor only."""
    adata = cells("SCVI")
    adata.X[:, 0] = 30 * (adata.obs["donor"] == "d2")
    names = {"categorical_covariate_keys": ["donor"], "continuous_covariate_keys": ["age"]}
    model = set_up("SCVI", adata, **names)(adata, **SIZES)
    model.train(**TRAIN | {"max_epochs": 60, "plan_kwargs": {"lr": 0.01}})
    expressed = {
        donor: model.sample_cluster("0", 200, covariates={"donor": donor, "age": 0.5})
        .X[:, 0]
        .mean()
        for donor in ("d1", "d2")
    }
    assert expressed["d2"] > 5 * expressed["d1"]
    told = model.sample_cluster("0", 50, batch="a", covariates={"age": 0.5}).obs
    assert list(told) == ["donor", "age", "cluster", "batch"]  # as vmm.SCVI gives them
    assert (told["age"] == 0.5).all() and set(told["donor"]) == {"d1", "d2", "d3"}
    of_cell = model.sample_cluster("0", 50, batch="a", seed=3).obs
    there = adata.obs[adata.obs["batch"] == "a"]
    pairs = set(zip(there["donor"], there["age"].astype(np.float32), strict=True))
    assert set(zip(of_cell["donor"], of_cell["age"], strict=True)) <= pairs
    with pytest.raises(InputError, match="the model knows d1, d2, d3"):
        model.sample_cluster("0", covariates={"donor": "d4"})
    with pytest.raises(InputError, match="the model's covariates are donor, age"):
        model.sample_cluster("0", covariates={"sex": "m"})


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (scvi.model.SCANVI, "a mixture already"),
        (scvi.model.AUTOZI, "there are SCVI"),
    ],
)
def test_models_that_take_no_prior(model, reason):
    with pytest.raises(InputError, match=f"{model.__name__} takes no prior of vmm.*{reason}"):
        with_prior(model)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("SCVI", {"prior": "vade"}, ValueError, "must be one of normal, vampprior, gmm, vmm"),
        ("SCVI", {"prior_kwargs": {"k": 1}}, ValueError, "takes responsibility_gradient"),
        ("SCVI", {"n_components": 0}, InputError, "`n_components` is 0"),
        ("SCVI", {"n_components": 121}, InputError, "n_components is 121, but adata has only 120"),
        ("SCVI", {"latent_distribution": "ln"}, NotImplementedError, "must be 'normal'"),
        ("CYTOVI", {"prior_mixture": True}, InputError, "`prior` is in its place"),
        ("MULTIVI", {"modality_weights": "cell"}, NotImplementedError, "'equal' or 'universal'"),
    ],
)
def test_refused(name, options, error, message):
    adata = cells(name)
    made = set_up(name, adata)
    with pytest.raises(error, match=message):
        made(adata, **options)


def test_a_signature_has_the_arguments_of_both():
    import inspect

    for name in MODELS:
        taken = inspect.signature(getattr(vmm.scvi_tools, name)).parameters
        assert {"adata", "n_latent", "prior", "n_components", "seed", "prior_kwargs"} <= {*taken}
