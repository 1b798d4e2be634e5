"""ELBO surgery: the samples and densities from which the metrics ``elbo_surgery`` are estimated.

All metrics are Monte-Carlo estimates from the same samples z ~ q(z|x_n), S for each of the N
observations, and functions of the four log densities :class:`Terms` of these (`elbo_terms`), after
Hoffman and Johnson (2016), *ELBO surgery: yet another way to carve up the variational evidence
lower bound*.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vmm.benchmark.metrics.aggregate_posterior import MAX_ELEMENTS, AggregatePosterior
from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.scoring import functions_of
from vmm.errors import InputError
from vmm.models.base import encode_once
from vmm.numerics.gaussians import Normal
from vmm.numerics.products import float32_products
from vmm.priors.base import Encode


class Terms(NamedTuple):
    """Log densities of S samples z for each of n observations x, each (S, n) in float64.

    Attributes
    ----------
    likelihood : torch.Tensor
        log p(x|z).
    prior : torch.Tensor
        log p(z).
    own : torch.Tensor
        log q(z|x).
    marginal : torch.Tensor
        log q(z), of the aggregate posterior of all observations.
    """

    likelihood: Tensor
    prior: Tensor
    own: Tensor
    marginal: Tensor


@torch.no_grad()
@float32_products()
def elbo_surgery(
    model: Any,
    batches: Iterable[Any],
    n_samples: int = 100,
    generator: torch.Generator | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> dict[str, float]:
    """Estimate the terms of ELBO surgery on the observations in `batches`.

    Parameters
    ----------
    model : object
        With ``posterior(batch)`` returning a normal over (n, p), ``log_likelihood(batch, z)``
        returning (n,), ``prior.log_prob(z, encode=...)`` and ``encode_pseudo_inputs``.
    batches : iterable
        The observations in parts, in whatever form the model takes them.
    n_samples : int
        S, samples an observation.
    generator : torch.Generator, optional
        Source of the noise, on the device of the model.
    max_elements : int
        The largest temporary matrix, in numbers of 8 bytes: bounds the memory needed beyond that of
        a batch and of the N posteriors themselves.

    Returns
    -------
    dict
        Metric to its mean over the observations, in nats; NaN where the model is not finite.

    Raises
    ------
    InputError
        If there is no observation or no sample, or a metric has no function.
    """
    functions = functions_of(of_family("elbo_surgery"))
    batches = list(batches)
    posteriors = [model.posterior(batch) for batch in batches]
    n_observations = sum(len(q.mean) for q in posteriors)
    if n_observations == 0 or n_samples < 1:
        raise InputError("ELBO surgery needs at least one observation and one sample of each")
    aggregate = AggregatePosterior(posteriors, max_elements)
    encode = encode_once(model)
    totals = torch.zeros(len(functions), dtype=torch.float64, device=aggregate.mean.device)
    start = 0
    for batch, q in zip(batches, posteriors, strict=True):
        rows = torch.arange(start, start + len(q.mean), device=aggregate.mean.device)
        start += len(q.mean)
        terms = [
            _terms(model, encode, aggregate, batch, rows, _sample(q, generator))
            for _ in range(n_samples)
        ]
        gathered = Terms(*torch.stack(terms, dim=1))
        totals += torch.stack([function(gathered).sum() for function in functions.values()])
    means = (totals / n_observations).tolist()
    return {metric.name: mean for metric, mean in zip(functions, means, strict=True)}


def _sample(q: Normal, generator: torch.Generator | None) -> Tensor:
    """Draw one z for each row of q, shape (n, p)."""
    mean = q.mean
    return q.rsample(
        torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    )


def _terms(
    model: Any,
    encode: Encode,
    aggregate: AggregatePosterior,
    batch: Any,
    rows: Tensor,
    z: Tensor,
) -> Tensor:
    """Return log p(x|z), log p(z), log q(z|x) and log q(z) of one z for each x, shape (4, n)."""
    likelihood = model.log_likelihood(batch, z).double()
    prior = model.prior.log_prob(z, encode=encode).double()
    return torch.stack(
        [likelihood, prior, aggregate.component_log_prob(z, rows), aggregate.log_prob(z)]
    )
