"""Cells that come to a trained model: genes are found by name, whatever their order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from mudata import MuData

import vmm
from vmm.errors import InputError

METHODS = {
    "predict": lambda m, a: np.asarray(m.predict(a)),
    "soft": lambda m, a: m.predict(a, soft=True),
    "uncertainty": lambda m, a: m.get_cluster_uncertainty(a)[["probability", "entropy"]],
    "latent": lambda m, a: m.get_latent_representation(a),
    "elbo": lambda m, a: m.get_elbo(a),
    "marginal": lambda m, a: m.get_marginal_ll(a, n_mc_samples=3),
    "reconstruction": lambda m, a: m.get_reconstruction_error(a)["reconstruction_loss"],
    "expression": lambda m, a: m.get_normalized_expression(a, gene_list=["CD79A", "NKG7"]),
    "parameters": lambda m, a: m.get_likelihood_parameters(a)["mean"],
    "library": lambda m, a: m.get_latent_library_size(a, give_mean=False),
    "correlation": lambda m, a: m.get_feature_correlation_matrix(
        a, n_samples=2, correlation_type="pearson"
    ).loc["CD79A", ["NKG7", "CST3"]],
    "expected": lambda m, a: m.differential_expression(
        a, groupby="lanes", mode="change", silent=True, pseudocounts=0.1
    ).loc["CD79A", ["lfc_mean", "raw_mean1"]],
    "summary": lambda m, a: m.get_cluster_summary(a, n_markers=0)["mean_probability"],
    "posterior": lambda m, a: m.get_aggregated_posterior(a).sample((2,)),
}
"""Methods that take cells, with what is compared of their results."""


def seeded(method, model, cells) -> np.ndarray:
    torch.manual_seed(1)
    np.random.seed(1)
    return np.asarray(METHODS[method](model, cells))


@pytest.fixture(scope="module")
def new(pbmc):
    """Return cells, and the same with their genes in another order and more between them."""
    cells = pbmc[np.linspace(0, 699, 60).astype(int)].copy()
    other = cells[:, np.random.default_rng(0).permutation(cells.n_vars)].copy()
    more = other[:, :5].copy()
    more.var_names = [f"more{i}" for i in range(5)]
    import anndata

    both = anndata.concat([more, other], axis=1, merge="same")
    both.obs = cells.obs.copy()
    return cells, {"other order": other, "more genes": both}


@pytest.mark.parametrize("method", METHODS)
def test_genes_are_found_by_name(model, new, method):
    cells, others = new
    expected = seeded(method, model, cells.copy())
    for name, other in others.items():
        found = seeded(method, model, other.copy())
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_columns_of_expression_are_the_models_genes(model, new, pbmc):
    table = model.get_normalized_expression(new[1]["more genes"].copy())
    assert list(table.columns) == list(pbmc.var_names)


def test_cells_given_are_left_as_they_are(model, new):
    cells = new[1]["more genes"].copy()
    names, columns = list(cells.var_names), list(cells.obs.columns)
    n_managers = len(model._per_instance_manager_store[model.id])
    for _ in range(3):
        model.predict(cells)
    assert list(cells.var_names) == names and cells.n_vars == 125
    assert list(cells.obs.columns) == columns
    assert len(model._per_instance_manager_store[model.id]) <= n_managers + 1
    model.differential_abundance(cells, sample_key="lanes")
    assert cells.obsm["da_log_probs"].shape == (60, 2)


def test_a_model_is_loaded_with_genes_in_another_order(model, new, tmp_path):
    expected = model.predict(new[0].copy())
    model.save(tmp_path / "model")
    for cells in new[1].values():
        loaded = vmm.SCVI.load(tmp_path / "model", cells.copy())
        assert list(loaded.adata.var_names) == list(model.adata.var_names)
        assert list(loaded.predict()) == list(expected)
        loaded.adata = cells[:30].copy()
        assert list(loaded.predict()) == list(expected[:30])
    without = vmm.SCVI.load(tmp_path / "model", False)
    with pytest.raises(ValueError, match="The model has no AnnData; give `adata`"):
        without.predict()
    assert list(without.predict(cells.copy())) == list(expected)


def test_a_query_is_mapped_with_genes_in_another_order(model, new):
    expected = model.predict(new[0].copy())
    for cells in new[1].values():
        mapped = vmm.SCVI.load_query_data(cells.copy(), model)
        assert list(mapped.predict()) == list(expected)
    cells = cells.copy()
    vmm.SCVI.load_query_data(cells, model, inplace_subset_query_vars=True)
    assert list(cells.var_names) == list(model.adata.var_names)


WAYS = {
    "predict": lambda m, a, path: m.predict(a),
    "embedding": lambda m, a, path: m.get_latent_representation(a),
    "expression": lambda m, a, path: m.get_normalized_expression(a),
    "own": lambda m, a, path: setattr(m, "adata", a),
    "load": lambda m, a, path: vmm.SCVI.load(path, a),
    "query": lambda m, a, path: vmm.SCVI.load_query_data(a, m),
    "query of a folder": lambda m, a, path: vmm.SCVI.load_query_data(a, str(path)),
    "query in place": lambda m, a, path: vmm.SCVI.load_query_data(
        a, m, inplace_subset_query_vars=True
    ),
}


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """Return the folder of the model."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(folder)
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_other_genes_are_refused_in_a_sentence(model, new, saved, way):
    come_in = WAYS[way]
    lacks = r"adata lacks 3 of the model's 120 genes \(.+, .+, .+\); give cells that have them"
    with pytest.raises(InputError, match=lacks):
        come_in(model, new[0][:, 3:].copy(), saved)
    ids = new[0].copy()
    ids.var_names = [f"ENSG{i}" for i in range(ids.n_vars)]
    none = r"none of the model's 120 genes: the model's are named such as .*, those of adata"
    with pytest.raises(InputError, match=none):
        come_in(model, ids, saved)
    twice = new[1]["more genes"].copy()
    twice.var_names = ["CD79A", *twice.var_names[1:]]
    with pytest.raises(InputError, match="adata has several genes named CD79A, and genes in anoth"):
        come_in(model, twice, saved)
    with pytest.raises(NotImplementedError, match=r"not MuData; give it one modality, .*\['rna'\]"):
        come_in(model, MuData({"rna": new[0].copy()}), saved)
    with pytest.raises(InputError, match="adata is of type DataFrame; it must be an AnnData"):
        come_in(model, new[0].to_df(), saved)


def test_a_setup_is_not_transferred_to_other_genes(model, new):
    with pytest.raises(InputError, match="genes of adata are in another order than those of the"):
        model.transfer_fields(new[1]["other order"].copy())


def test_genes_that_stand_twice_are_not_filled_in(model, new):
    twice = new[1]["more genes"].copy()
    twice.var_names = ["CD79A", *twice.var_names[1:]]
    with pytest.raises(InputError, match="adata has several genes named CD79A, so it cannot be"):
        vmm.SCVI.prepare_query_anndata(twice, model)


def test_own_genes_may_get_other_names_but_not_another_order(pbmc):
    cells = pbmc[:150].copy()
    vmm.SCVI.setup_anndata(cells, layer="counts")
    model = vmm.SCVI(cells, n_hidden=8, n_components=4)
    model.train(max_epochs=2, enable_progress_bar=False)
    before = list(model.predict())
    cells.var_names = [f"g{i}" for i in range(cells.n_vars)]
    assert list(model.predict()) == before
    cells.var_names = pbmc.var_names
    cells._inplace_subset_var(np.arange(cells.n_vars)[::-1])
    assert list(model.predict()) == before
    with pytest.raises(InputError, match=r"genes of model.adata are in another order than when"):
        model.train(max_epochs=1)


BATCHES = {
    "missing": (["1-4", None, "5-8"] * 20, r"'lanes' of adata.obs \(`batch_key`\) has no value in "
                r"20 cells \(first: cell 1, "),
    "unknown": (["1-4", "9-12", "5-8"] * 20, "Category 9-12 not found in source registry: the model"
                " knows no batch of that name .* but 1-4, 5-8; map cells .*`vmm.SCVI.load_query"),
}  # fmt: skip


@pytest.mark.parametrize("case", BATCHES)
def test_batches_of_new_cells(model, new, case):
    values, message = BATCHES[case]
    cells = new[0].copy()
    cells.obs["lanes"] = pd.Series(values, cells.obs_names, dtype=object)
    with pytest.raises(InputError, match=message):
        model.predict(cells)


def test_batches_that_are_numbers(pbmc):
    """Batch 0 is unknown to a model of batches 1 and 2, and "1" is not 1."""
    cells = pbmc[:150].copy()
    cells.obs["run"] = [1, 2] * 75
    vmm.SCVI.setup_anndata(cells, layer="counts", batch_key="run")
    model = vmm.SCVI(cells, n_hidden=8, n_components=4)
    model.train(max_epochs=1, enable_progress_bar=False)
    new = pbmc[:30].copy()
    new.obs["run"] = [0, 1, 2] * 10
    with pytest.raises(InputError, match=r"Category 0 not found in source registry: .* but 1, 2;"):
        model.predict(new)
    new.obs["run"] = ["1", "2"] * 15
    with pytest.raises(InputError, match=r"has '1', of type str, where the model has int64; conv"):
        vmm.SCVI.load_query_data(new, model)
    new.obs["run"] = pd.Categorical([2, 1] * 15)
    assert len(model.predict(new)) == 30


def repeated(cells, attribute: str):
    names = list(getattr(cells, attribute))
    setattr(cells, attribute, [names[0], names[0], *names[2:]])
    return names


def test_repeated_names_get_a_suffix(pbmc):
    cells = pbmc[::4][:150].copy()
    gene, cell = repeated(cells, "var_names")[0], repeated(cells, "obs_names")[0]
    with pytest.warns(UserWarning) as told:
        vmm.SCVI.setup_anndata(cells, layer="counts", batch_key="lanes")
    told = [str(warning.message) for warning in told]
    assert f"adata: 1 repeated gene name got a suffix ({gene}). `adata.var_names` has the new " \
        "names." in told  # fmt: skip
    assert any(message.startswith("adata: 1 repeated cell name got") for message in told)
    assert list(cells.var_names[:2]) == [gene, f"{gene}-1"]
    assert list(cells.obs_names[:2]) == [cell, f"{cell}-1"]
    model = vmm.SCVI(cells, n_hidden=8, n_components=4)
    model.train(max_epochs=2, enable_progress_bar=False)
    assert model.get_cluster_summary()["n_cells"].sum() == 150
    assert len(model.differential_expression(groupby="lanes", silent=True)) == 240
    # New cells with the same names twice, in the same order, are those.
    new = pbmc[::4][:40].copy()
    repeated(new, "var_names")
    repeated(new, "obs_names")
    assert list(model.predict(new, soft=True).index[:2]) == [cell, f"{cell}-1"]
    shuffled = pbmc[::4][:40].copy()
    repeated(shuffled, "var_names")
    with pytest.raises(InputError, match=f"adata lacks 1 of the model's 120 genes \\({gene}-1\\)"):
        model.predict(shuffled[:, ::-1].copy())


@pytest.mark.parametrize("option", ["batch_key", "labels_key"])
def test_repeated_columns_are_refused(pbmc, option):
    cells = pbmc[:50].copy()
    cells.obs = pd.concat([cells.obs, cells.obs[["lanes"]]], axis=1)
    with pytest.raises(InputError, match=f"column 'lanes' of adata.obs \\(`{option}`\\) stands "
                                         "there 2 times; rename all but the one"):  # fmt: skip
        vmm.SCVI.setup_anndata(cells, layer="counts", **{option: "lanes"})
