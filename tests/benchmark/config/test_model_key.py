"""The key `model` of a data set: what is filled in, and one sentence for what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmm.benchmark import grid
from vmm.benchmark.config import complete
from vmm.benchmark.methods.records import METHODS, SCVI_TOOLS, method_of, place_of
from vmm.benchmark.spec import PriorSpec, Spec
from vmm.errors import InputError
from vmm.scvi_tools.records import MODELS, benchmarked

SIZES = {"batch_size": 64, "prior_learning_ratio": 2}


def of(model: str, inference=None, cells=None, **settings) -> dict:
    """Return a complete configuration of one data set in a model."""
    dataset = {"path": "x.h5ad", "label_key": "t", "model": model, **SIZES} | settings
    given = {"run": "x", "datasets": {"m": dataset}, "experiments": {"cells": cells or {}}}
    return complete(given | ({"inference": inference} if inference else {}), "my.yaml")


def test_what_is_not_said_is_the_librarys():
    """Networks and likelihood; the rate is known before the library is."""
    found = of("TOTALVI", proteins="protein")["datasets"]["m"]
    keys = ("likelihood", "dispersion", "n_layers", "n_hidden", "n_latent")
    assert [found[key] for key in keys] == [None] * 5
    assert found["learning_rate"] == 4e-3
    assert of("PEAKVI", learning_rate=1e-3)["datasets"]["m"]["learning_rate"] == 1e-3
    ours = of(None)["datasets"]["m"]
    assert [ours[key] for key in keys] == ["zinb", "gene", 1, 128, 10]


@pytest.mark.parametrize("name", benchmarked())
def test_rates_are_the_librarys(name):
    """Those that stand in the records, of models whose `train` names one."""
    import inspect

    from vmm.lazy import resolve

    model, record = resolve(MODELS[name].cls), MODELS[name]
    if name == "MULTIVI":  # its size factors are pairs, and it is set up by modalities
        assert record.learning_rate == inspect.signature(model.train).parameters["lr"].default
        return
    rate = inspect.signature(model.train).parameters.get("lr")
    assert record.learning_rate == (rate.default if rate else 1e-3)
    taken = {*inspect.signature(model).parameters}
    taken |= {*inspect.signature(model(_cells(name)).module.__class__).parameters}
    assert {theirs for _, theirs in record.arguments} <= taken
    setup = set(inspect.signature(model.setup_anndata).parameters)
    assert {key for key in record.data if key != "proteins"} == setup & {
        "categorical_covariate_keys", "continuous_covariate_keys", "size_factor_key"
    }  # fmt: skip
    assert ("proteins" in record.data) == ("protein_expression_obsm_key" in setup)


def _cells(name: str):
    from library_models import cells, set_up

    from vmm.lazy import resolve

    adata = cells(name)
    set_up(name, adata, resolve(MODELS[name].cls))
    return adata


def test_a_specification_has_what_the_model_calls_it():
    config = of("TOTALVI", proteins="protein", n_latent=5, n_layers=3, likelihood="nb")
    (job,) = [j for j in grid.training_jobs(config) if (j.method, j.trial) == ("vmm", 0)]
    assert (job.model, job.prior, job.library) == ("TOTALVI", "VampPriorMixture", "TOTALVI")
    spec = grid.spec(job, config)
    assert spec.networks == {"n_latent": 5, "n_layers_encoder": 3, "gene_likelihood": "nb"}
    assert isinstance(spec.ours, PriorSpec) and spec.prior_learning_ratio == 2
    plain = spec.plain()
    assert Spec.of(plain) == spec
    assert not {"precision", "sleep_below", "options"} & plain.keys()
    (own,) = [j for j in grid.training_jobs(config) if (j.method, j.trial) == ("scvi_tools", 0)]
    assert (own.model, own.prior) == ("scvi-tools", "StandardNormal")
    assert grid.spec(own, config).networks == spec.networks


def test_tuning_and_published_sets():
    config = complete({"run": "x", "datasets": {"pbmc": {"model": "LinearSCVI"}}})
    (first, *_) = grid.ladders(config, "pbmc")
    assert grid.ladder_spec(first, config).job.library == "LinearSCVI"
    assert first.ratios[0] == 0.1  # for the library's rate is 1e-3
    assert grid.published_datasets(config) == []  # the paper has it in scVI


def test_rows_are_known_by_model_and_prior():
    for name, method in METHODS["cells"].items():
        if method.is_ours:
            found = method_of("TOTALVI", method.prior)
            assert (found.name, found.label, found.kind) == (name, method.label, "cells")
            assert place_of("TOTALVI", method.prior) == place_of("scVI", method.prior)
            assert "vmm.scvi_tools.model" in found.depends_on
    assert method_of("PCA", "none").model == "PCA"
    assert place_of("SCANVI", "none") > place_of("TOTALVI", "VampPriorMixture")
    with pytest.raises(KeyError):
        method_of("SCANVI", "VampPriorMixture")


MISTAKES = {
    "a model that is not there": (
        {"model": "TOTALV"},
        "datasets.m.model is 'TOTALV', but must be one of LinearSCVI, POISSONVI, TOTALVI, PEAKVI, "
        "CYTOVI, MULTIVI, null"),
    "no proteins": (
        {"model": "TOTALVI"},
        "datasets.m.model is TOTALVI, but `proteins` is not given: the key of obsm, or the "
        "modality, with their counts"),
    "proteins for none": (
        {"model": None, "proteins": "protein"},
        "datasets.m.proteins is given, but scVI takes none; give `model: TOTALVI`, or leave it "
        "out"),
    "no peaks": (
        {"model": "MULTIVI"},
        "datasets.m.model is MULTIVI, but `peaks` is not given: the key of obsm, or the modality, "
        "with their counts"),
    "peaks for none": (
        {"model": None, "peaks": "atac"},
        "datasets.m.peaks is given, but scVI takes none; give `model: MULTIVI`, or leave it out"),
    "proteins for genes and peaks": (
        {"model": "MULTIVI", "peaks": "atac", "proteins": "adt"},
        "datasets.m.proteins is given, but MULTIVI takes none; leave it out"),
    "proteins for peaks": (
        {"model": "PEAKVI", "proteins": "protein"},
        "datasets.m.proteins is given, but PEAKVI takes none; leave it out"),
    "null for scVI": (
        {"model": None, "n_latent": None},
        "datasets.m.n_latent is null, which is for another `model`; leave it out, or give a value"),
    "a likelihood of peaks": (
        {"model": "PEAKVI", "likelihood": "nb"},
        "datasets.m.likelihood is given, but PEAKVI has only n_latent, n_hidden, n_layers; leave "
        "it out"),
    "a likelihood that TOTALVI takes for another": (
        {"model": "TOTALVI", "proteins": "protein", "likelihood": "poisson"},
        "datasets.m.likelihood is 'poisson', which TOTALVI does not have"),
    "the most variable of intensities": (
        {"model": "CYTOVI", "n_top_genes": 20},
        "datasets.m.n_top_genes ranks genes by their counts, and CYTOVI takes none; leave it out"),
    "covariates": (
        {"model": "LinearSCVI", "categorical_covariate_keys": ["sex"]},
        "datasets.m.categorical_covariate_keys is given, but LinearSCVI takes none; leave it out"),
    "what the encoder is told": (
        {"model": "LinearSCVI", "encode_covariates": False},
        "datasets.m.encode_covariates is for scVI alone, and model is LinearSCVI; leave it out"),
    "a switch of scVI": (
        {"model": "LinearSCVI", "inference": {"log_counts": False}},
        "datasets.m.model is LinearSCVI, but inference.log_counts is for scVI alone; leave one of "
        "them out"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_does_not_fit_is_one_sentence(given, sentence):
    with pytest.raises(InputError) as caught:
        of(**given)
    assert str(caught.value) == f"my.yaml: {sentence}"


def test_built_in_sets_have_neither_modalities_nor_proteins():
    dataset = {"model": "TOTALVI", "proteins": "protein"} | SIZES
    with pytest.raises(InputError) as caught:
        complete({"run": "x", "datasets": {"pbmc68k": dataset}}, "my.yaml")
    said = "datasets.pbmc68k.proteins is for files of your own; pbmc68k is built in"
    assert str(caught.value) == f"my.yaml: {said}"


def test_built_in_sets_have_no_intensities():
    with pytest.raises(InputError) as caught:
        complete({"run": "x", "datasets": {"blood": {"source": "pbmc", "model": "CYTOVI"}}}, "my")
    said = "datasets.blood.model is CYTOVI, which takes no counts, but pbmc has counts"
    assert str(caught.value) == f"my: {said}"


def test_preparation_knows_what_has_intensities():
    settings = grid.data_settings(of("CYTOVI")["datasets"]["m"])
    assert settings["intensities"] is True
    for model in ("LinearSCVI", None):
        assert "intensities" not in grid.data_settings(of(model)["datasets"]["m"])


@pytest.mark.parametrize(
    ("model", "features"),
    [("PEAKVI", "peaks"), ("POISSONVI", "peaks"), ("CYTOVI", "proteins"), ("LinearSCVI", None)],
)
def test_preparation_knows_what_the_columns_are(model, features):
    assert grid.data_settings(of(model)["datasets"]["m"]).get("features") == features


def test_a_method_that_is_made_for_scvi_alone(monkeypatch):
    other = replace(SCVI_TOOLS, name="scvi_tools", made_by="mine:train")
    monkeypatch.setitem(METHODS["cells"], "scvi_tools", other)
    with pytest.raises(InputError, match=r"which the method .scvi_tools. of"):
        of("LinearSCVI")
