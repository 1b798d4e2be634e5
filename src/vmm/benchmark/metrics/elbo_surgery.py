"""ELBO surgery: where a model's evidence goes (SPEC section 5; the paper's Table 1).

All terms are Monte-Carlo estimates from the same samples z ~ q(z|x_n), S for each of the N
observations:

- log p(x|x): mean over n of log 1/S Σ_s p(x_n|z_ns), the posterior predictive;
- log p(x): mean over n of log 1/S Σ_s p(x_n|z_ns) p(z_ns) / q(z_ns|x_n) (Burda et al., 2016);
- E_q[log p(x|z)]: the negative distortion;
- KL(q(z|x)||p(z)): the rate (Alemi et al., 2018);
- KL(q(z)||p(z)): the same for the aggregate posterior q(z) = 1/N Σ_n q(z|x_n) of all observations;
- I[z;n]: rate minus KL(q(z)||p(z)), at most log N (Hoffman & Johnson, 2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from vmm.benchmark.names import ELBO_METRICS
from vmm.errors import InputError
from vmm.numerics.gaussians import LOG_2PI, DiagonalNormal, FullRankNormal, Normal

MAX_ELEMENTS = 2**23
"""Default of the largest temporary matrix: 64 MiB in float64."""


@torch.no_grad()
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
        The metrics ``ELBO_METRICS``, in nats an observation; NaN where the model is not
        finite.

    Raises
    ------
    InputError
        If there is no observation or no sample.
    """
    batches = list(batches)
    posteriors = [model.posterior(batch) for batch in batches]
    n_observations = sum(len(q.mean) for q in posteriors)
    if n_observations == 0 or n_samples < 1:
        raise InputError("ELBO surgery needs at least one observation and one sample of each")
    aggregate = AggregatePosterior(posteriors, max_elements)
    log_prior = _prior_log_prob(model)
    totals = torch.zeros(5, dtype=torch.float64, device=aggregate.mean.device)
    start = 0
    for batch, q in zip(batches, posteriors, strict=True):
        rows = torch.arange(start, start + len(q.mean), device=aggregate.mean.device)
        start += len(q.mean)
        terms = [
            _terms(model, log_prior, aggregate, batch, rows, _sample(q, generator))
            for _ in range(n_samples)
        ]
        totals += _sums(torch.stack(terms, dim=1))
    predictive, evidence, distortion, rate, marginal = (totals / n_observations).tolist()
    values = [predictive, evidence, distortion, rate, marginal, rate - marginal]
    return dict(zip(ELBO_METRICS, values, strict=True))


def _sample(q: Normal, generator: torch.Generator | None) -> Tensor:
    """Draw one z for each row of q, shape (n, p)."""
    mean = q.mean
    return q.rsample(
        torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    )


def _terms(
    model: Any,
    log_prior: Callable[[Tensor], Tensor],
    aggregate: AggregatePosterior,
    batch: Any,
    rows: Tensor,
    z: Tensor,
) -> Tensor:
    """Return log p(x|z), log p(z), log q(z|x) and log q(z) of one z for each x, shape (4, n)."""
    likelihood = model.log_likelihood(batch, z).double()
    own = aggregate.component_log_prob(z, rows)
    return torch.stack([likelihood, log_prior(z).double(), own, aggregate.log_prob(z)])


def _prior_log_prob(model: Any) -> Callable[[Tensor], Tensor]:
    """Return log p(z) as a function of z that encodes the pseudo-inputs only once."""
    encoded: list[Normal] = []

    def encode(pseudo_inputs: Tensor) -> Normal:
        if not encoded:
            encoded.append(model.encode_pseudo_inputs(pseudo_inputs))
        return encoded[0]

    return lambda z: model.prior.log_prob(z, encode=encode)


def _sums(terms: Tensor) -> Tensor:
    """Return the sums over n of the first five terms of ELBO surgery, shape (5,).

    Parameters
    ----------
    terms : torch.Tensor, shape (4, S, n)
        log p(x|z), log p(z), log q(z|x) and log q(z) of S samples for each of n observations.
    """
    likelihood, prior, own, marginal = terms
    log_samples = math.log(terms.shape[1])
    return torch.stack(
        [
            (likelihood.logsumexp(0) - log_samples).sum(),
            ((likelihood + prior - own).logsumexp(0) - log_samples).sum(),
            likelihood.mean(0).sum(),
            (own - prior).mean(0).sum(),
            (marginal - prior).mean(0).sum(),
        ]
    )


class AggregatePosterior:
    """The equally weighted mixture of N normals, evaluated by matrix products.

    The log density of component n is a quadratic function of z, hence linear in the features
    (z_a z_b for a ≤ b, z_a): −½ zᵀ P_n z + (P_n m_n)ᵀ z + c_n. So M points under N full-rank
    components cost one product of M × p(p+3)/2 with p(p+3)/2 × N numbers, half of the
    multiplications of whitening by N Cholesky factors and a p-th of its memory. The quadratic form
    cancels digits, therefore everything here is float64 and centred at the mean of the means.

    Parameters
    ----------
    posteriors : list of FullRankNormal or of DiagonalNormal
        The components, in parts of shape (n, p).
    max_elements : int
        The largest temporary matrix.
    """

    def __init__(self, posteriors: list[Normal], max_elements: int = MAX_ELEMENTS) -> None:
        self.max_elements = max(1, max_elements)
        mean = torch.cat([q.mean for q in posteriors]).double()
        self.centre = mean.mean(0)
        self.mean = mean - self.centre
        self.full_rank = isinstance(posteriors[0], FullRankNormal)
        if self.full_rank:
            self.scale = torch.cat([q.scale_tril for q in posteriors]).double()
        else:
            self.scale = torch.cat([q.scale for q in posteriors]).double()
        self.n_features = self._features(self.mean[:1]).shape[1]
        self.chunk = max(1, min(len(mean), self.max_elements // self.n_features))
        self.parts = [self._coefficients(part) for part in self._slices(len(mean), self.chunk)]

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log 1/N Σ_n N(z; m_n, S_n) in float64, shape (M,), for `z` of shape (M, p)."""
        rows = max(1, self.max_elements // max(self.chunk, self.n_features))
        parts = [self._chunk_log_prob(z[part]) for part in self._slices(len(z), rows)]
        return torch.cat(parts) - math.log(len(self.mean))

    def component_log_prob(self, z: Tensor, index: Tensor) -> Tensor:
        """Return log N(z_i; m_n, S_n) for component n of `index` in float64, shape (M,)."""
        normal = FullRankNormal if self.full_rank else DiagonalNormal
        return normal(self.mean[index], self.scale[index]).log_prob(z.double() - self.centre)

    def _chunk_log_prob(self, z: Tensor) -> Tensor:
        """Return log Σ_n N(z; m_n, S_n), components streamed, shape (M,)."""
        features = self._features(z.double() - self.centre)
        total = torch.full_like(features[:, 0], -math.inf)
        for weights, constant in self.parts:
            part = torch.addmm(constant, features, weights).logsumexp(1)
            total = torch.logaddexp(total, part)
        return total

    def _features(self, z: Tensor) -> Tensor:
        """Return the products z_a z_b, a ≤ b (the squares if diagonal), and z itself."""
        if not self.full_rank:
            return torch.cat([z.square(), z], dim=1)
        a, b = torch.triu_indices(z.shape[1], z.shape[1], device=z.device)
        return torch.cat([z[:, a] * z[:, b], z], dim=1)

    def _coefficients(self, part: slice) -> tuple[Tensor, Tensor]:
        """Return the weights (features, n) and the constants (n,) of some components."""
        mean, scale = self.mean[part], self.scale[part]
        if self.full_rank:
            identity = torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
            whitening = torch.linalg.solve_triangular(scale, identity, upper=False)
            precision = whitening.mT @ whitening
            a, b = torch.triu_indices(*precision.shape[1:], device=mean.device)
            quadratic = precision[:, a, b] * torch.where(a == b, -0.5, -1.0).to(mean)
            linear = (precision @ mean.unsqueeze(-1)).squeeze(-1)
            log_det = scale.diagonal(dim1=1, dim2=2).log().sum(1)
        else:
            quadratic = -0.5 / scale.square()
            linear = mean / scale.square()
            log_det = scale.log().sum(1)
        constant = -0.5 * ((linear * mean).sum(1) + mean.shape[1] * LOG_2PI) - log_det
        return torch.cat([quadratic, linear], dim=1).T.contiguous(), constant

    @staticmethod
    def _slices(length: int, size: int) -> list[slice]:
        return [slice(start, start + size) for start in range(0, length, size)]
