"""Names shared by all stages: methods, metrics and the columns of a tidy row."""

from __future__ import annotations

from typing import NamedTuple

ROW_COLUMNS = ["dataset", "model", "prior", "setting", "trial", "metric", "value", "status"]
"""Columns of a row of metrics. ``value`` is empty unless ``status`` is ``ok``."""


class Method(NamedTuple):
    """What a method's short name in the configuration stands for."""

    model: str
    prior: str
    label: str


METHODS: dict[str, dict[str, Method]] = {
    "images": {
        "normal": Method("VAE", "StandardNormal", "N(0, I)"),
        "vampprior": Method("VAE", "VampPrior", "VampPrior"),
        "vade": Method("VaDE", "GaussianMixture", "VaDE"),
        "gmm": Method("VAE", "GaussianMixture", "GMM"),
        "vmm": Method("VAE", "VampPriorMixture", "VMM"),
    },
    "cells": {
        "scvi_tools": Method("scvi-tools", "StandardNormal", "scvi-tools N(0, I)"),
        "normal": Method("scVI", "StandardNormal", "N(0, I)"),
        "vampprior": Method("scVI", "VampPrior", "VampPrior"),
        "gmm": Method("scVI", "GaussianMixture", "GMM"),
        "vmm": Method("scVI", "VampPriorMixture", "VMM"),
        "pca": Method("PCA", "none", "PCA"),
        "harmony": Method("Harmony", "none", "Harmony"),
        "scanorama": Method("Scanorama", "none", "Scanorama"),
    },
}
"""``METHODS[kind][method]``: model, prior and label, in the order in which tables list them."""

PRIORS = {
    "normal": "StandardNormal",
    "vampprior": "VampPrior",
    "gmm": "GaussianMixture",
    "vmm": "VampPriorMixture",
}
"""Short names of the priors and their classes in :mod:`vmm.priors`."""

BASELINES = ("pca", "harmony", "scanorama")
"""Methods without training: they embed scaled log-normalised principal components."""

LEIDEN = "leiden"
"""Setting of the rows that score Leiden's clusters of an embedding, not the model's own."""

CLUSTERING_METRICS = [
    "Utilized clusters",
    "Accuracy",
    "NMI (merged)",
    "NMI (unmerged)",
    "ARI (merged)",
    "ARI (unmerged)",
]
ELBO_METRICS = [
    "log p(x|x)",
    "log p(x)",
    "E_q[log p(x|z)]",
    "KL(q(z|x)||p(z))",
    "KL(q(z)||p(z))",
    "I[z;n]",
]
BATCH_METRICS = ["Graph connectivity", "KBET", "PCR comparison", "Silhouette batch", "iLISI"]
BIO_METRICS = ["Isolated labels", "KMeans ARI", "KMeans NMI", "Silhouette label", "cLISI"]
AGGREGATE_METRICS = ["Batch correction", "Bio conservation", "Total"]
INTEGRATION_METRICS = AGGREGATE_METRICS + BATCH_METRICS + BIO_METRICS


def method_of(model: str, prior: str, kind: str | None = None) -> str:
    """Return the short name of the method with this model and prior.

    Raises
    ------
    KeyError
        If no method has them.
    """
    for methods in METHODS.values() if kind is None else [METHODS[kind]]:
        for name, method in methods.items():
            if (method.model, method.prior) == (model, prior):
                return name
    raise KeyError(f"no method has the model {model!r} with the prior {prior!r}")
