"""Threads of its own, and float32 as it is, for everything that a model computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import torch

from vmm.numerics.products import float32_products

COMPUTING = (
    "cluster_stability",
    "differential_abundance",
    "differential_expression",
    "get_aggregated_posterior",
    "get_cluster_summary",
    "get_cluster_uncertainty",
    "get_elbo",
    "get_feature_correlation_matrix",
    "get_importance_weights",
    "get_latent_library_size",
    "get_latent_representation",
    "get_likelihood_parameters",
    "get_marginal_ll",
    "get_normalized_expression",
    "get_prior_parameters",
    "get_reconstruction_error",
    "plot_cells",
    "plot_composition",
    "plot_stability",
    "posterior_predictive_sample",
    "predict",
    "sample_cluster",
)
"""Methods of a model that compute; :meth:`vmm.SCVI.train` has an argument for it."""

Model = TypeVar("Model", bound=type)


@contextmanager
def cpu_threads(number: int) -> Iterator[None]:
    """Compute with a number of threads within the ``with`` block, and put back what was set.

    Sums of another number of threads differ in the last bit, and libraries set the number of the
    whole process: numba does, which scanpy calls, and so does the environment.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def own_threads(model: Model) -> Model:
    """Let what the model computes run with ``model.threads`` threads; a decorator of its class."""
    for name in COMPUTING:
        setattr(model, name, _with_threads(getattr(model, name)))
    return model


def _with_threads(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with cpu_threads(self.threads), float32_products():
            return method(self, *args, **kwargs)

    return call
