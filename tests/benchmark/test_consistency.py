"""Records that name what is not there are told of before anything runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmm.benchmark import consistency
from vmm.errors import InputError
from vmm.lazy import by_name


def test_our_records_are_consistent():
    consistency.check_records()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"cls": "vmm.priors.mixture:GausianMixture"},
            "the record of the prior 'gmm' names 'vmm.priors.mixture:GausianMixture', but "
            "vmm.priors.mixture defines no GausianMixture",
        ),
        (
            {"cls": "vmm.priors.mixtures:GaussianMixture"},
            "the record of the prior 'gmm' names 'vmm.priors.mixtures:GaussianMixture', but there "
            "is no module vmm.priors.mixtures",
        ),
        (
            {"options": ("temperature",)},
            "the record of the prior 'gmm' has the option 'temperature', which is no key of "
            "`inference`",
        ),
        ({"n_components_key": "k"}, "has the n_components_key 'k', which is no key"),
        (
            {"kinds": ("cell",)},
            "the record of the prior 'gmm' is for cell; kinds are images, cells",
        ),
    ],
)
def test_a_wrong_record_of_a_prior(changes, sentence, monkeypatch):
    monkeypatch.setitem(consistency.PRIORS, "gmm", replace(consistency.PRIORS["gmm"], **changes))
    with pytest.raises(InputError, match=r"\A[^\n]+\Z") as caught:
        consistency.check_records()
    assert sentence in str(caught.value)


def test_a_method_that_is_told_what_a_data_set_does_not_have(monkeypatch):
    images = consistency.METHODS["images"]
    monkeypatch.setitem(images, "dec", replace(images["dec"], n_clusters_key="n_types"))
    with pytest.raises(InputError, match="'dec' has 'n_types', which is no key of a set of im"):
        consistency.check_records()


def test_a_method_with_an_unknown_option(monkeypatch):
    cells = consistency.METHODS["cells"]
    wrong = replace(cells["scvi_tools"], options=("dispersion",))
    monkeypatch.setitem(cells, "scvi_tools", wrong)
    with pytest.raises(InputError, match="the method 'scvi_tools' of cells has the option 'disp"):
        consistency.check_records()


def test_a_metric_without_its_function(monkeypatch):
    wrong = replace(consistency.METRICS[0], function="vmm.benchmark.metrics.agreement:purity")
    monkeypatch.setattr(consistency, "METRICS", (wrong, *consistency.METRICS[1:]))
    with pytest.raises(InputError, match=r"metrics\.agreement defines no purity"):
        consistency.check_records()


@pytest.mark.parametrize("what", ["label", "colour"])
def test_methods_that_look_alike(what, monkeypatch):
    cells = consistency.METHODS["cells"]
    monkeypatch.setitem(cells, "pca", replace(cells["pca"], **{what: getattr(cells["vmm"], what)}))
    with pytest.raises(InputError, match=f"the methods vmm, pca of cells have the same {what}"):
        consistency.check_records()


def test_two_records_of_one_name_are_refused():
    record = consistency.PRIORS["gmm"]
    with pytest.raises(ValueError, match="two records are called 'gmm'"):
        by_name([record, replace(record, label="another")])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"draw": "vmm.scvi_tools.latents:opened"},
            "the record of PEAKVI of scvi-tools names 'vmm.scvi_tools.latents:opened', but "
            "vmm.scvi_tools.latents defines no opened",
        ),
        (
            {"arguments": (("latent", "n_latent"),)},
            "the record of PEAKVI has 'latent', which is no key of a set of cells",
        ),
    ],
)
def test_a_wrong_record_of_a_model_of_scvi_tools(changes, sentence, monkeypatch):
    library = consistency.LIBRARY
    monkeypatch.setitem(library, "PEAKVI", replace(library["PEAKVI"], **changes))
    with pytest.raises(InputError, match=r"\A[^\n]+\Z") as caught:
        consistency.check_records()
    assert str(caught.value) == sentence
