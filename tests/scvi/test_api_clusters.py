"""Clusters, the fitted prior, and what the mixins of scvi-tools make of our networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from real_cells import SETTINGS

import vmm
from vmm.scvi.names import not_among
from vmm.training.embedding import evaluate


def test_predict(model, pbmc):
    hard, soft = model.predict(), model.predict(soft=True)
    assert soft.shape == (700, 12) and list(soft.index) == list(pbmc.obs_names)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-5)
    assert list(hard) == list(soft.idxmax(axis=1))
    sizes = pd.Series(hard).value_counts(sort=False)
    assert list(sizes.index) == [str(i) for i in range(len(sizes))]
    assert (np.diff(sizes) <= 0).all() and len(sizes) >= 3
    some = model.predict(indices=[3, 1, 2])
    assert list(some) == [hard[3], hard[1], hard[2]]
    # A mixture that clusters tells B cells from the others even after twelve epochs.
    b_cells = (pbmc.obs["bulk_labels"] == "CD19+ B").to_numpy()
    assert pd.Series(hard[b_cells]).value_counts(normalize=True).iloc[0] > 0.8


def test_new_cells_of_known_batches_need_no_retraining(model, pbmc):
    new = pbmc[100:160].copy()
    new.obs = new.obs[["lanes"]]  # without labels
    assert list(model.predict(new)) == list(model.predict()[100:160])
    np.testing.assert_allclose(
        model.get_latent_representation(new), model.get_latent_representation()[100:160], atol=1e-5
    )
    new = pbmc[100:160].copy()
    new.obs["lanes"] = "9-12"
    with pytest.raises(ValueError, match="Category 9-12 not found in source registry"):
        model.predict(new)


def test_uncertainty(model):
    table, soft = model.get_cluster_uncertainty(), model.predict(soft=True).to_numpy()
    assert list(table["cluster"]) == list(model.predict())
    np.testing.assert_array_equal(table["probability"], soft.max(1))
    np.testing.assert_array_equal(table["second_probability"], np.sort(soft, axis=1)[:, -2])
    assert table["entropy"].between(0, np.log(12)).all()
    sampled = model.get_cluster_uncertainty(n_samples=30)
    assert sampled["entropy"].mean() > table["entropy"].mean()


def test_rename_clusters(model, pbmc, tmp_path):
    before = model.predict()
    model.rename_clusters({"0": "mono", "2": "B"})
    try:
        after = model.predict()
        assert ((before == "0") == (after == "mono")).all() and (after == "B").sum() > 0
        model.save(tmp_path / "model")
        assert list(vmm.SCVI.load(tmp_path / "model", pbmc).predict()) == list(after)
        with pytest.raises(ValueError, match="Two clusters would be named 'B'"):
            model.rename_clusters({"1": "B"})
        with pytest.raises(ValueError, match="no cluster named '0'"):
            model.rename_clusters({"0": "x"})
    finally:
        model.rename_clusters({"mono": "0", "B": "2"})


def test_an_unknown_name_is_answered_with_a_few():
    """However many components there are."""
    names = ["B cells", "NK cells", *map(str, range(98))]
    assert not_among("B cell", names, "cluster") == (
        "There is no cluster named 'B cell'; did you mean 'B cells' or 'NK cells'?"
    )
    assert not_among("mono", names, "cluster") == (
        "There is no cluster named 'mono'; there are B cells, NK cells, 0, 1, 2, … (100 in all)."
    )
    assert not_among(3, ["0", "1"], "cluster") == "There is no cluster named 3; there are 0, 1."


def test_summary(model, pbmc):
    table, hard = model.get_cluster_summary(n_markers=0, n_cells=2), model.predict()
    assert list(table.index) == list(hard.categories)
    assert table["n_cells"].sum() == 700 and table["fraction"].sum() == pytest.approx(1)
    first = hard == "0"
    lanes = pbmc.obs["lanes"][first].value_counts(normalize=True)
    assert table.loc["0", "lanes: 1-4"] == pytest.approx(lanes["1-4"])
    labels = pbmc.obs["bulk_labels"][first].value_counts(normalize=True)
    assert table.loc["0", "label"] == labels.index[0]
    assert table.loc["0", "label_fraction"] == pytest.approx(labels.iloc[0])
    soft = model.predict(soft=True)["0"]
    assert table.loc["0", "mean_probability"] == pytest.approx(soft[first].mean())
    assert table.loc["0", "most_probable_cells"] == ", ".join(soft.nlargest(2).index)


def test_markers_are_known_ones(model, pbmc):
    """The cluster of B cells has genes of immunoglobulins, of the B-cell receptor or MHC II."""
    table = model.get_cluster_summary(n_markers=5, n_cells=1)
    b_cells = table.loc[table["label"] == "CD19+ B", "markers"].iloc[0].split(", ")
    assert len(b_cells) == 5 and {"CD79A", "CD79B", "IGLL5", "IGJ"} & set(b_cells)


def test_markers_repeat_whatever_was_drawn_before(model):
    """They come from samples, of which scvi-tools takes from the global states."""
    first = model.get_cluster_summary(n_markers=5)["markers"]
    np.random.random(17), torch.rand(17)
    assert model.get_cluster_summary(n_markers=5)["markers"].tolist() == first.tolist()


@pytest.mark.parametrize("prior", ["vmm", "gmm", "vampprior"])
def test_prior_parameters_give_the_density(model, pbmc, prior):
    """Σ_j π_j N(z; m_j, C_j) from the numbers is the prior's own log density."""
    if prior != "vmm":
        adata = pbmc[:150].copy()
        vmm.SCVI.setup_anndata(adata, layer="counts")
        model = vmm.SCVI(adata, prior=prior, n_hidden=8, n_latent=3, n_components=6)
        model.train(**SETTINGS | {"max_epochs": 2})
    numbers = model.get_prior_parameters()
    assert ("concentration" in numbers) == (prior != "vampprior")
    z = torch.as_tensor(model.get_latent_representation()[:20])
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.as_tensor(numbers["weights"])),
        torch.distributions.MultivariateNormal(
            torch.as_tensor(numbers["means"]), torch.as_tensor(numbers["covariances"])
        ),
    )
    networks = model.module.networks
    with torch.no_grad():
        expected = networks.prior.log_prob(z, networks.encode_pseudo_inputs)
    torch.testing.assert_close(mixture.log_prob(z), expected, rtol=1e-3, atol=1e-2)
    if prior == "vmm":
        sizes = pd.Series(model.predict()).value_counts(sort=False)
        assert np.corrcoef(numbers["weights"][: len(sizes)], sizes)[0, 1] > 0.8


def test_samples_of_a_cluster(model, pbmc):
    cells = model.sample_cluster("0", 400, seed=1)
    numbers = model.get_prior_parameters()
    mean = cells.obsm["X_vmm"].mean(0)
    sd = np.sqrt(np.diag(numbers["covariances"][0]))
    np.testing.assert_array_less(np.abs(mean - numbers["means"][0]), 4 * sd / 20)
    assert cells.shape == (400, 120) and cells.obs["batch"].nunique() == 2
    assert (cells.X.data % 1 == 0).all()
    again = model.sample_cluster("0", 400, seed=1)
    assert (again.X != cells.X).nnz == 0
    # Their profile is that of the cluster's cells, not of other cells.
    hard = model.predict()
    profile = np.asarray(cells.X.sum(0)).ravel()
    real = [np.asarray(pbmc.X[hard == name].sum(0)).ravel() for name in hard.categories]
    scores = [np.corrcoef(np.log1p(profile), np.log1p(other))[0, 1] for other in real]
    assert np.argmax(scores) == 0
    fixed = model.sample_cluster("0", 50, batch="1-4", library_size=5000)
    assert set(fixed.obs["batch"]) == {"1-4"}
    with pytest.raises(ValueError, match='"x" not a valid batch category'):
        model.sample_cluster("0", batch="x")


def test_elbo_is_that_of_training(model):
    """get_elbo agrees with the core's evaluation but for the noise of one sample."""
    cells = model._tensors(model.device)
    ours, _ = evaluate(model.module.networks, cells, np.arange(700))
    torch.manual_seed(0)
    each = model.get_elbo(return_mean=False)
    assert float(each.mean()) == pytest.approx(ours, abs=4 * float(each.std()) / 700**0.5 / 5)
    error = model.get_reconstruction_error()["reconstruction_loss"]
    assert float(error) < -float(each.mean())


def test_marginal_likelihood_uses_our_prior(model):
    """Importance sampling agrees with the same estimate written out, and exceeds the ELBO."""
    indices = np.arange(15)
    value = model.get_marginal_ll(indices=indices, n_mc_samples=200, return_mean=False)
    elbos = torch.stack([model.get_elbo(indices=indices, return_mean=False) for _ in range(20)])
    assert (value > elbos.mean(0)).all()

    (tensors,) = model._make_data_loader(model.adata, indices)
    torch.manual_seed(0)
    value = model.module.marginal_ll(tensors, n_mc_samples=40, n_mc_samples_per_pass=40)
    torch.manual_seed(0)
    noise = torch.randn(40, 15, 5)
    networks = model.module.networks
    batch = model._tensors(model.device).batch(torch.arange(15))
    with torch.no_grad():
        q = networks.posterior(batch)
        normal = torch.distributions.Normal(q.mean, q.scale)
        terms = []
        for z in q.mean + q.scale * noise:
            log_prior = networks.prior.log_prob(z, networks.encode_pseudo_inputs)
            log_q = normal.log_prob(z).sum(-1)
            terms.append(networks.log_likelihood(batch, z) + log_prior - log_q)
        expected = torch.stack(terms).logsumexp(0) - np.log(40)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-3)


def test_normalised_expression(model, pbmc):
    expression = model.get_normalized_expression(library_size=1e4, n_samples=5)
    np.testing.assert_allclose(expression.sum(1), 1e4, rtol=1e-4)
    b_cells = (pbmc.obs["bulk_labels"] == "CD19+ B").to_numpy()
    observed = pbmc.X.toarray() / np.asarray(pbmc.X.sum(1)) * 1e4
    profiles = observed[b_cells].mean(0), expression[b_cells].mean()
    assert np.corrcoef(*np.log1p(profiles))[0, 1] > 0.8
    both = [model.get_normalized_expression(transform_batch=b, indices=[0]) for b in ("1-4", "5-8")]
    assert not np.allclose(*both)


def test_differential_expression(model):
    table = model.differential_expression(
        groupby="bulk_labels", group1="CD19+ B", group2="CD14+ Monocyte", silent=True, mode="change"
    )
    assert table.loc["CD79A", "lfc_mean"] > 1 and table.loc["FCER1G", "lfc_mean"] < -1
    observed = np.log(table["raw_normalized_mean1"] + 5) - np.log(table["raw_normalized_mean2"] + 5)
    assert np.corrcoef(observed, table["lfc_mean"])[0, 1] > 0.85
    with pytest.raises(NotImplementedError, match="Importance weights of scvi-tools assume"):
        model.get_normalized_expression(weights="importance", n_samples_overall=10)


def test_posterior_predictive_counts(model, pbmc):
    """Of the module, for scvi-tools' own wrapper compiles for seconds."""
    loader = model._make_data_loader(pbmc, indices=np.arange(200))
    torch.manual_seed(0)
    (tensors,) = loader
    counts = model.module.sample(tensors, n_samples=30)
    assert counts.shape == (200, 120, 30)
    assert (counts >= 0).all() and (counts == counts.round()).all()
    observed = pbmc.X[:200].toarray()
    np.testing.assert_allclose(counts.mean((0, 2)).sum(), observed.mean(0).sum(), rtol=0.1)


@pytest.fixture
def partly_labelled(model, pbmc):
    """Return the cells with labels of which the first cluster has none, and other columns."""
    first = np.asarray(model.predict() == "0")
    labels = pbmc.obs["bulk_labels"].astype(object).mask(first)
    third = np.flatnonzero(~first)[::3]
    labels.iloc[third] = np.resize([None, "", "nan"], len(third))  # all say nothing
    before = pbmc.obs.copy()
    pbmc.obs["bulk_labels"] = labels.astype("category")
    pbmc.obs["none"] = pd.Categorical([None] * 700, categories=["B", "T"])
    pbmc.obs["NaN"] = np.nan
    yield pbmc
    pbmc.obs = before


def test_summary_of_cells_without_labels(model, partly_labelled):
    """Shares are of the labelled cells, whose number stands there; no label is made up."""
    hard = model.predict()
    table = model.get_cluster_summary(n_markers=0)
    assert table.loc["0", "n_labelled"] == 0 and table.loc["0", "label"] is None
    assert np.isnan(table.loc["0", "label_fraction"])
    labels = partly_labelled.obs["bulk_labels"][hard == "1"].astype(object)
    known = labels[labels.notna() & ~labels.isin(["", "nan"])]
    assert table.loc["1", "n_labelled"] == len(known) < (hard == "1").sum()
    assert table.loc["1", "label"] == known.mode()[0]
    assert table.loc["1", "label_fraction"] == pytest.approx((known == known.mode()[0]).mean())
    assert not {"", "nan"} & set(table["label"].dropna())


@pytest.mark.parametrize("column", ["none", "NaN"])
def test_no_cell_has_a_label(model, partly_labelled, column):
    setup = model.registry_["setup_args"]
    before, setup["labels_key"] = setup["labels_key"], column
    try:
        table = model.get_cluster_summary(n_markers=0)
    finally:
        setup["labels_key"] = before
    assert (table["n_labelled"] == 0).all() and table["label"].isna().all()
    with pytest.raises(ValueError, match=f"no cell has a value in column '{column}' of adata.obs"):
        model.differential_expression(groupby=column, silent=True)
