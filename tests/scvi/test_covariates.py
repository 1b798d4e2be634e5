"""Covariates, size factors, dispersions, likelihoods: against scvi-tools, and in every method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import torch.nn.functional as F
from anndata import AnnData
from scvi.module._constants import MODULE_KEYS
from tiny_jobs import make_cells, make_spec, train, write

import scvi
import vmm
from scvi import REGISTRY_KEYS
from vmm.benchmark.jobs import train_trials
from vmm.data import make_split
from vmm.data.covariates import Covariates
from vmm.errors import InputError
from vmm.numerics.gaussians import MIN_SCALE

KEYS = {
    "categorical_covariate_keys": ["donor", "sex"],
    "continuous_covariate_keys": ["age", "cycle"],
}
QUICK = {
    "max_epochs": 3, "batch_size": 32, "learning_rate": 3e-3, "accelerator": "cpu",
    "enable_progress_bar": False,
}  # fmt: skip
SMALL = {"n_hidden": 16, "n_latent": 3, "n_components": 6, "seed": 2}


def make_informed(n: int = 120, donors: str = "abc") -> AnnData:
    """Return cells with covariates of every kind; some have no label."""
    random, rows = np.random.default_rng(1), np.arange(n)
    adata = make_cells(n).to_anndata()
    adata.obs["donor"] = np.array(list(donors))[rows % 5 % len(donors)]
    adata.obs["sex"] = np.array(["f", "m"])[rows % 7 % 2]
    adata.obs["age"] = random.normal(size=n)
    adata.obs["cycle"] = random.integers(0, 3, n)
    adata.obs["factor"] = random.uniform(0.5, 2, n)
    adata.obs.iloc[::4, adata.obs.columns.get_loc("cell_type")] = None
    return adata


def make_model(adata: AnnData, sized: bool = False, prior: str = "vmm", **options) -> vmm.SCVI:
    factor = "factor" if sized else None
    vmm.SCVI.setup_anndata(
        adata, batch_key="batch", labels_key="cell_type", size_factor_key=factor, **KEYS
    )
    model = vmm.SCVI(adata, prior=prior, **SMALL, **options)
    model.train(**QUICK)
    return model


CHOICES = [
    {},
    {"gene_likelihood": "nb", "dispersion": "gene-batch", "sized": True},
    {"gene_likelihood": "poisson", "encode_covariates": False, "sized": True},
    {"gene_likelihood": "zinb", "dispersion": "gene-batch", "encode_covariates": False},
]


@pytest.fixture(scope="module", params=CHOICES, ids=lambda chosen: "-".join(map(str, chosen)))
def trained(request) -> vmm.SCVI:
    return make_model(make_informed(), **request.param)


# --------------------------------------------------------------------- against scvi-tools


def put(linear, weight: torch.Tensor, bias: torch.Tensor) -> None:
    linear.weight.data.copy_(weight)
    linear.bias.data.copy_(bias)


def copy_layers(ours, theirs, n_first: int, n_continuous: int, n_batches: int) -> None:
    """Copy hidden layers: theirs have the batch before the other categories, ours behind them."""
    for index, (layer, block) in enumerate(zip(ours, theirs.fc_layers, strict=True)):
        weight = layer.linear.weight.data
        if index == 0 and weight.shape[1] > n_first:
            start = n_first + n_continuous
            batch = weight[:, -n_batches:]
            weight = torch.cat([weight[:, :start], batch, weight[:, start:-n_batches]], 1)
        put(block[0], weight, layer.linear.bias.data)
        block[1].load_state_dict(layer.norm.state_dict())


def copy_networks(ours, theirs) -> None:
    """Give scvi-tools' VAE our weights."""
    n_continuous, n_batches, n_genes = ours.n_continuous, ours.n_batches, ours.n_genes
    copy_layers(ours.encoder, theirs.z_encoder.encoder, n_genes, n_continuous, n_batches)
    heads = zip(
        (theirs.z_encoder.mean_encoder, theirs.z_encoder.var_encoder),
        ours.encoder_head.weight.chunk(2),
        ours.encoder_head.bias.chunk(2),
        strict=True,
    )
    for head, weight, bias in heads:
        put(head, weight.data, bias.data)
    copy_layers(ours.decoder, theirs.decoder.px_decoder, ours.latent_dim, n_continuous, n_batches)
    weight, bias = ours.decoder_head.weight.data, ours.decoder_head.bias.data
    put(theirs.decoder.px_scale_decoder[0], weight[:n_genes], bias[:n_genes])
    if ours.likelihood == "zinb":
        put(theirs.decoder.px_dropout_decoder, weight[n_genes:], bias[n_genes:])
    if ours.likelihood != "poisson":
        theirs.px_r.data.copy_(ours.log_inverse_dispersion.data.movedim(0, -1))


@pytest.mark.parametrize("keys", [KEYS, {}, {"categorical_covariate_keys": ["donor"]}])
@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize(
    ("likelihood", "dispersion"),
    [("zinb", "gene"), ("zinb", "gene-batch"), ("nb", "gene-batch"), ("poisson", "gene")],
)
@torch.no_grad()
def test_likelihood_and_kl_are_those_of_scvi_tools(likelihood, dispersion, encoded, sized, keys):
    """Of the same weights, cells and z, with the prior N(0, I)."""
    adata = make_informed(60)
    setup = {"batch_key": "batch", "size_factor_key": "factor" if sized else None, **keys}
    chosen = {
        "gene_likelihood": likelihood, "dispersion": dispersion, "encode_covariates": encoded,
        "n_layers": 2, "n_hidden": 16, "n_latent": 3,
    }  # fmt: skip
    vmm.SCVI.setup_anndata(adata, **setup)
    ours = vmm.SCVI(adata, prior="normal", **chosen)
    for number, parameter in enumerate(ours.module.parameters()):
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        parameter.add_(0.05 * noise)  # scvi-tools bounds means by 1e-8
    other = adata.copy()
    scvi.model.SCVI.setup_anndata(other, **setup)
    theirs = scvi.model.SCVI(
        other, **chosen, deeply_inject_covariates=False,
        var_activation=lambda raw: (F.softplus(raw) + MIN_SCALE) ** 2,
        extra_encoder_kwargs={"var_eps": 0.0},
    )  # fmt: skip
    copy_networks(ours.module.networks, theirs.module)
    theirs.module.eval()
    tensors = next(iter(theirs._make_data_loader(other, batch_size=60)))
    own = next(iter(ours._make_data_loader(adata, batch_size=60)))
    epsilon = torch.randn(60, 3, generator=torch.Generator().manual_seed(5))
    found = []
    for module, given in ((ours.module, own), (theirs.module, tensors)):
        inferred = module.inference(**module._get_inference_input(given))
        inferred["z"] = inferred["qz"].loc + inferred["qz"].scale * epsilon
        generated = module.generative(**module._get_generative_input(given, inferred))
        loss = module.loss(given, inferred, generated)
        reconstruction = loss.dict_sum(loss.reconstruction_loss)
        px = generated[MODULE_KEYS.PX_KEY]
        found.append((reconstruction, loss.kl_local["kl_divergence_z"], px.mean, px.scale))
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)
    mean, latent = (m.get_latent_representation() for m in (as_trained(ours), as_trained(theirs)))
    np.testing.assert_allclose(mean, latent, rtol=1e-5, atol=1e-5)


def as_trained(model):
    model.is_trained_ = True
    return model


# ---------------------------------------------------------------------------- all methods


def test_every_method_knows_of_covariates(trained, tmp_path):
    adata, likelihood = trained.adata, trained.module.gene_likelihood
    networks = trained.module.networks
    assert (networks.n_categories, networks.n_continuous) == ((3, 2), 2)
    width = 12 + (2 + 3 + 2 + 2 if networks.encode_covariates else 0)
    assert trained.module.prior.pseudo_inputs.shape == (6, width)
    validation = trained.history["elbo_validation"].iloc[trained.best_epoch_ - 1, 0]
    elbo = float(trained.get_elbo(indices=trained.validation_indices))
    assert elbo == pytest.approx(-validation, abs=5)
    assert float(trained.get_marginal_ll(n_mc_samples=20)) > float(trained.get_elbo())
    assert trained.posterior_predictive_sample(n_samples=2).shape == (120, 12, 2)
    expressed = trained.get_normalized_expression(transform_batch="donor 1", n_samples=2)
    if not networks.size_factors:
        np.testing.assert_allclose(expressed.sum(1), 1, rtol=1e-5)
    if likelihood == "poisson":
        for method in ("get_likelihood_parameters", "get_feature_correlation_matrix"):
            with pytest.raises(NotImplementedError, match='"poisson" has no dispersion, which'):
                getattr(trained, method)()
    else:
        found = trained.get_likelihood_parameters(n_samples=2, give_mean=True)
        assert found["mean"].shape == (120, 12)
    table = trained.get_cluster_summary(n_markers=1)
    assert table["n_labelled"].sum() == 90
    adata.obsm["plane"] = np.random.default_rng(0).normal(size=(120, 2))
    texts = {text.get_text() for text in trained.plot_cells("sex", basis="plane").axes[0].texts}
    assert {"f", "m"} <= texts

    trained.save(tmp_path / "model")
    copy = adata.copy()
    copy.obs = copy.obs.drop(columns="cell_type")
    loaded = vmm.SCVI.load(tmp_path / "model", copy)
    latent = trained.get_latent_representation()
    np.testing.assert_array_equal(loaded.get_latent_representation(), latent)
    assert list(trained.predict(make_informed())) == list(trained.predict())


def test_samples_with_chosen_covariates(trained, tmp_path):
    given = {"donor": "b", "sex": "m", "age": 1.5, "cycle": 2}
    drawn = trained.sample_cluster("0", 4, covariates={"donor": "b", "age": 1.5})
    assert set(drawn.obs["donor"]) == {"b"} and set(drawn.obs["sex"]) <= {"f", "m"}
    assert set(drawn.obs["age"]) == {1.5} and set(drawn.obs["cycle"]) <= {0, 1, 2}
    trained.save(tmp_path / "model")
    alone = vmm.SCVI.load(tmp_path / "model", adata=False)
    with pytest.raises(ValueError, match="give `batch` and `library_size`, and `covariates` for"):
        alone.sample_cluster("0", 4)
    options = {"batch": "donor 1", "library_size": 2.5, "covariates": given}
    assert (alone.sample_cluster("0", 4, **options).obs["sex"] == "m").all()
    with pytest.raises(InputError, match=r"has donor='z'; the model knows a, b, c\."):
        trained.sample_cluster("0", 4, covariates={"donor": "z"})
    with pytest.raises(InputError, match=r"has 'lane'; the model's covariates are donor, sex, age"):
        trained.sample_cluster("0", 4, covariates={"lane": "z"})
    with pytest.raises(InputError, match=r"covariates\['age'\]` is 'old'; it must be a number"):
        trained.sample_cluster("0", 4, covariates={"age": "old"})
    with pytest.raises(InputError, match=r"covariates\['age'\]` is nan; it must be a finite"):
        trained.sample_cluster("0", 4, covariates={"age": float("nan")})
    with pytest.raises(InputError, match=r"`n_samples` is 0; it must be a whole number of at"):
        trained.sample_cluster("0", 0)
    with pytest.raises(InputError, match=r"`n_samples` is 'many'; it must be a whole number"):
        trained.sample_cluster("0", "many")
    with pytest.raises(InputError, match=r"`covariates` is of type list; it must be a dict"):
        trained.sample_cluster("0", covariates=["age"])
    with pytest.raises(ValueError, match=r"no cluster named 'T cells'; there are 0, 1"):
        trained.sample_cluster("T cells")


def test_samples_follow_the_covariates():
    """A gene that only one donor expresses is in the samples of this donor only."""
    adata = make_informed()
    counts = adata.X.toarray()
    counts[:, 0] = 30 * (adata.obs["donor"] == "b")
    adata.X = scipy.sparse.csr_matrix(counts)
    model = make_model(adata)
    model.train(**QUICK | {"max_epochs": 60})
    name = model.predict().categories[0]  # training on may have changed the clusters
    expressed = {
        donor: model.sample_cluster(name, 200, covariates={"donor": donor}).X[:, 0].mean()
        for donor in "ab"
    }
    assert expressed["b"] > 5 * expressed["a"]


# ----------------------------------------------------------------------------------- query


def test_query_with_new_batches_and_categories(trained, tmp_path):
    """What is new has weights of its own; all else stays, and so do the cells of the reference."""
    query = make_informed(60, donors="az")
    query.obs["batch"] = pd.Categorical(np.array(["donor 1", "new"])[np.arange(60) % 2])
    with pytest.raises(InputError, match="Category z not found in source registry: the model"):
        trained.predict(query[query.obs["batch"] == "donor 1"].copy())
    trained.save(tmp_path / "reference")
    latent = trained.get_latent_representation()
    for reference in (trained, tmp_path / "reference"):
        mapped = vmm.SCVI.load_query_data(query.copy(), reference)
        before = {name: value.clone() for name, value in mapped.module.state_dict().items()}
        networks = mapped.module.networks
        assert (networks.n_categories, networks.n_batches) == ((4, 2), 3)
        assert not mapped.is_trained
        mapped.train(**QUICK)
        after = mapped.module.state_dict()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        weights = {"networks.decoder.0.linear.weight": 3}
        if networks.encode_covariates:
            weights["networks.encoder.0.linear.weight"] = 12
        expected = {*weights}
        if networks.dispersion == "gene-batch":
            name = "networks.log_inverse_dispersion"
            expected.add(name)
            assert torch.equal(before[name][:2], after[name][:2])
        assert moved == expected
        for name, start in weights.items():
            changed = (before[name] != after[name]).any(0).nonzero().ravel() - start
            # Two numbers, donors a, b, c and z, two sexes, two batches and a new one.
            assert changed.tolist() == [2 + 3, 2 + 4 + 2 + 2]
        np.testing.assert_allclose(
            mapped.get_latent_representation(make_informed()), latent, atol=1e-5
        )
        assert list(mapped.predict(make_informed())) == list(trained.predict())
    mapped.save(tmp_path / "mapped")
    again = vmm.SCVI.load(tmp_path / "mapped", query.copy())
    np.testing.assert_array_equal(
        again.get_latent_representation(), mapped.get_latent_representation()
    )
    again.train(**QUICK)


def test_known_categories_need_no_training(trained):
    mapped = vmm.SCVI.load_query_data(make_informed(60, donors="ab"), trained)
    assert mapped.is_trained
    with pytest.raises(ValueError, match="no batch that the reference does not know, and"):
        mapped.train()


def test_a_query_keeps_what_the_reference_says_of_columns(trained):
    query = make_informed(60)
    query.obs["age"] = query.obs["age"].astype(str)
    with pytest.raises(InputError, match=r"column 'age' .* is of type (object|str), not numbers"):
        vmm.SCVI.load_query_data(query, trained)
    with pytest.raises(KeyError, match="sex not found in adata"):
        vmm.SCVI.load_query_data(
            AnnData(query.X, query.obs.drop(columns="sex"), query.var), trained
        )


# ------------------------------------------------------------------- saved without covariates


def test_models_saved_before_there_were_covariates(tmp_path):
    """They have neither the arguments nor the attributes; all works as for new ones."""
    adata = make_cells(120).to_anndata()
    vmm.SCVI.setup_anndata(adata, batch_key="batch")
    model = vmm.SCVI(adata, **SMALL)
    model.train(**QUICK)
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "model.pt"
    saved = torch.load(path, weights_only=False)
    attributes = saved["attr_dict"]
    for name in ("n_categories_", "n_reference_categories_"):
        del attributes[name]
    for name in ("dispersion", "encode_covariates"):
        del attributes["init_params_"]["non_kwargs"][name]
    assert {*attributes["registry_"]["field_registries"]} == {"X", "batch"}
    torch.save(saved, path)
    loaded = vmm.SCVI.load(tmp_path / "model", adata.copy())
    latent = model.get_latent_representation()
    np.testing.assert_array_equal(loaded.get_latent_representation(), latent)
    query = make_cells(60).to_anndata()
    query.obs["batch"] = "new"
    mapped = vmm.SCVI.load_query_data(query, tmp_path / "model")
    mapped.train(**QUICK)
    assert list(mapped.predict(adata.copy())) == list(model.predict())


# --------------------------------------------------------------------------------- the pipeline


def in_pipeline(adata: AnnData, sized: bool, folder: Path) -> tuple[Path, list[Path]]:
    """Write the same cells as a data set, and the splits of two trials."""
    obs, data = adata.obs, make_cells(adata.n_obs)
    categorical = {
        key: ((codes := pd.Categorical(obs[key])).codes.astype(np.int64), [*codes.categories])
        for key in KEYS["categorical_covariate_keys"]
    }
    continuous = {key: obs[key].to_numpy(np.float32) for key in KEYS["continuous_covariate_keys"]}
    factor = obs["factor"].to_numpy(np.float32) if sized else None
    data = replace(data, covariates=Covariates(categorical, continuous, factor))
    path, _ = write(data, folder)
    splits = []
    for trial in range(2):
        rows = make_split(data, trial, SMALL["seed"])
        splits.append(folder / f"split{trial}.npz")
        np.savez(splits[-1], train=rows[0], valid=rows[1])
    return path, splits


def test_same_result_as_a_job_of_the_pipeline(tmp_path):
    """To the bit, and a job of all trials trains the same."""
    adata = make_informed()
    chosen = {"dispersion": "gene-batch"}
    changes = {
        "n_latent": 3, "n_components": 6, "n_hidden": 16, "batch_size": 32, "seed": SMALL["seed"],
        "prior_learning_ratio": 5.0, **chosen,
    }  # fmt: skip
    data, splits = in_pipeline(adata, True, tmp_path)
    spec = make_spec("cells", "vmm", **changes)
    train(data, splits[0], spec, tmp_path / "run")
    latent = np.load(tmp_path / "run" / "latent.npz")
    model = make_model(adata, sized=True, **chosen)
    np.testing.assert_array_equal(model.get_latent_representation(), latent["embedding"])

    changes |= {"max_epochs": 1, "batch_size": 54}
    train(data, splits[0], make_spec("cells", "vmm", **changes), tmp_path / "alone")
    specs = [make_spec("cells", "vmm", **changes, trial=trial) for trial in range(2)]
    folders = [tmp_path / f"trial_{trial}" for trial in range(2)]
    train_trials(data, splits, specs, folders, "cpu", [lambda row: None] * 2)
    together, alone = (
        np.load(folder / "latent.npz") for folder in (folders[0], tmp_path / "alone")
    )
    # Adam makes whole steps of the gradients of biases before batch normalisation: of rounding.
    np.testing.assert_allclose(together["embedding"], alone["embedding"], rtol=0.02, atol=6e-3)


# ---------------------------------------------------------------------------------- bad input

CATEGORICAL, CONTINUOUS = "categorical_covariate_keys", "continuous_covariate_keys"
SIZE = "size_factor_key"
BAD = {
    "no such category": (CATEGORICAL, ["lane"], "lane not found in adata.obs"),
    "no such number": (CONTINUOUS, ["lane"], "lane not found in adata.obs"),
    "no such factor": (SIZE, "lane", "lane not found in adata.obs"),
    "a text": (CATEGORICAL, "donor", "is 'donor'; it must be a list, such as ['donor']."),
    "twice": (CATEGORICAL, ["sex", "sex"], "names the column 'sex' of adata.obs twice; a column"),
    "as batch too": (
        CATEGORICAL,
        ["batch"],
        "`batch_key` and `categorical_covariate_keys` both name the column 'batch' of adata.obs;",
    ),
    "missing category": (
        CATEGORICAL,
        ["cell_type"],
        "column 'cell_type' of adata.obs (`categorical_covariate_keys`) has no value in 30 cells",
    ),
    "mixed": (CATEGORICAL, ["mixed"], "has both text and other values (a, 1)"),
    "names of cells": (CATEGORICAL, ["barcode"], "has another value for each of the 120 cells"),
    "missing number": (CONTINUOUS, ["holes"], "has no value in 1 cell (first: cell 3, 'cell3')"),
    "infinite": (CONTINUOUS, ["infinite"], "has infinite values in 1 cell (first: inf in cell 3"),
    "no numbers": (CONTINUOUS, ["donor"], "not numbers (such as 'a'); convert it by pandas.to_nu"),
    "a factor of 0": (
        SIZE,
        "zero",
        "column 'zero' of adata.obs (`size_factor_key`) has values that are not above 0 in 1 cell",
    ),
    "a negative factor": (SIZE, "below", "(first: -2 in cell 3, 'cell3'); correct them or remove"),
    "a factor that is none": (SIZE, "sex", "not numbers (such as 'f')."),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_columns_are_told_before_training(case):
    name, value, message = BAD[case]
    adata = make_informed()
    adata.obs["mixed"] = pd.Series(["a", 1] * 60, adata.obs_names, dtype=object)
    adata.obs["barcode"] = list(adata.obs_names)
    for column, odd in {"holes": np.nan, "infinite": np.inf, "zero": 0, "below": -2}.items():
        adata.obs[column] = np.where(np.arange(120) == 3, odd, 1.0)
    with pytest.raises(KeyError if "not found" in message else InputError) as caught:
        vmm.SCVI.setup_anndata(adata, batch_key="batch", **{name: value})
    assert message in str(caught.value)


def test_numbers_of_every_type_are_taken():
    adata = make_informed()
    adata.obs["whole"] = pd.array(np.arange(120) % 3 + 1, dtype="Int64")
    adata.obs["yes"] = np.arange(120) % 2 == 0
    vmm.SCVI.setup_anndata(adata, size_factor_key="whole", continuous_covariate_keys=["yes"])
    model = vmm.SCVI(adata, **SMALL)
    model.train(**QUICK)
    tensors = next(iter(model._make_data_loader(adata)))
    assert tensors[REGISTRY_KEYS.SIZE_FACTOR_KEY].dtype == torch.float32
    assert np.isfinite(model.get_latent_representation()).all()


def test_encode_covariates_is_true_or_false():
    cells = AnnData(np.ones((9, 4), dtype=np.float32))
    vmm.SCVI.setup_anndata(cells)
    with pytest.raises(InputError, match="`encode_covariates` is 'no'; it must be True or False"):
        vmm.SCVI(cells, encode_covariates="no")


def test_covariates_that_cannot_help_are_told():
    adata = make_informed()
    adata.obs["site"], adata.obs["depth"] = "one", 1e4 * adata.obs["age"] + 2e5
    with pytest.warns(UserWarning) as told:
        vmm.SCVI.setup_anndata(
            adata, categorical_covariate_keys=["site"], continuous_covariate_keys=["depth"]
        )
    texts = [str(warning.message) for warning in told]
    assert "The covariate 'site' is the same in all cells." in texts
    assert any("'depth' has values up to 2" in text and "scale it" in text for text in texts)
