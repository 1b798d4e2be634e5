"""Where a model's evidence goes: one function a metric (the paper's Table 1).

Each takes the log densities of S samples z ~ q(z|x_n) for each of n observations
(:class:`.elbo_surgery.Terms`), and returns one value an observation, shape (n,).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from vmm.benchmark.metrics.elbo_surgery import Terms


def posterior_predictive(terms: Terms) -> Tensor:
    """Return log 1/S Σ_s p(x_n|z_ns)."""
    return _log_mean_exp(terms.likelihood)


def evidence(terms: Terms) -> Tensor:
    """Return log 1/S Σ_s p(x_n|z_ns) p(z_ns) / q(z_ns|x_n).

    Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519.
    """
    return _log_mean_exp(terms.likelihood + terms.prior - terms.own)


def expected_log_likelihood(terms: Terms) -> Tensor:
    """Return E_q[log p(x_n|z)], the negative distortion (Alemi et al., 2018, arXiv:1711.00464)."""
    return terms.likelihood.mean(0)


def rate(terms: Terms) -> Tensor:
    """Return KL(q(z|x_n)||p(z)), the rate (Alemi et al., 2018, arXiv:1711.00464)."""
    return (terms.own - terms.prior).mean(0)


def marginal_divergence(terms: Terms) -> Tensor:
    """Return the part of KL(q(z)||p(z)), q(z) the aggregate posterior of all observations."""
    return (terms.marginal - terms.prior).mean(0)


def index_code_information(terms: Terms) -> Tensor:
    """Return the part of I[z;n], rate minus KL(q(z)||p(z)), at most log N in the mean.

    Hoffman and Johnson (2016), ELBO surgery, NeurIPS workshop on approximate inference.
    """
    return rate(terms) - marginal_divergence(terms)


def _log_mean_exp(log_values: Tensor) -> Tensor:
    return log_values.logsumexp(0) - math.log(len(log_values))
