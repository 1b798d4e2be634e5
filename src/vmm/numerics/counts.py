"""Log-likelihoods of counts, in the parametrisation of scVI.

References
----------
.. [1] Lopez et al., "Deep generative modeling for single-cell transcriptomics",
   Nature Methods 15 (2018).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vmm.numerics.closed_form import map_at_once


def count_log_likelihood(
    x: Tensor,
    log_mean: Tensor,
    log_inverse_dispersion: Tensor,
    dropout_logits: Tensor | None = None,
) -> Tensor:
    """Sum over genes of the (zero-inflated) negative binomial log-probability [1]_.

    The variance is μ + μ²/θ. From log μ and log θ it is exact where either is tiny or huge. First
    derivatives are in closed form: log-gamma and digamma, which cost the most, are evaluated only
    where there are counts.

    Parameters
    ----------
    x : torch.Tensor, shape (n, G)
        Counts; they get no gradient.
    log_mean : torch.Tensor, shape (n, G)
        log μ.
    log_inverse_dispersion : torch.Tensor, shape (G,) or (n, G)
        log θ of the genes, or of each gene in each cell.
    dropout_logits : torch.Tensor, shape (n, G), optional
        Of the probability that a count is 0 whatever its mean.

    Returns
    -------
    torch.Tensor, shape (n,)
    """
    log_theta = log_inverse_dispersion
    if log_theta.dim() < x.dim():
        log_theta = log_theta.unsqueeze(-2)
    return _CountLogLikelihood.apply(x, log_mean, log_theta, dropout_logits)[0]


def poisson_log_likelihood(x: Tensor, log_mean: Tensor) -> Tensor:
    """Sum over genes of the Poisson log-probability, from log μ.

    Parameters
    ----------
    x : torch.Tensor, shape (n, G)
        Counts.
    log_mean : torch.Tensor, shape (n, G)
        log μ.

    Returns
    -------
    torch.Tensor, shape (n,)
    """
    return (x * log_mean - log_mean.exp() - torch.lgamma(x + 1)).sum(-1)


def log_softplus(x: Tensor) -> Tensor:
    """Return log softplus(x), also where softplus(x) is too small for a float."""
    return torch.where(x < FAR, x, F.softplus(x.clamp_min(FAR)).log())


FAR = -20.0
"""Below it log softplus(x) is x, to the last bits of a float."""


class _CountLogLikelihood(torch.autograd.Function):
    """Σ_g log p(x_g): value and derivatives together, so that both share what is expensive.

    With d = log μ − log θ and C = log Γ(x+θ) − log Γ(θ) − log x!, the negative binomial is
    nb = C + x d − (x + θ) softplus(d); the zero-inflated one, with logits l, is
    softplus(nb − l) − softplus(−l) at x = 0 and nb − l − softplus(−l) elsewhere.

    Shapes are (..., n, G), of log θ (..., 1, G) or (..., n, G): under `torch.func.vmap` the mapped
    dimension is one more in front.
    """

    @staticmethod
    def forward(x, log_mean, log_theta, logits):
        theta = log_theta.exp()
        log_odds = log_mean - log_theta
        soft, share = F.softplus(log_odds), log_odds.sigmoid()
        negative = None if logits is None else -logits
        terms = _terms_of_zeros(theta, soft, share, negative)
        replace = _replace_found if x.device.type == "cpu" else _replace_everywhere
        # Those of each gene once; those of each gene in each cell only where there are counts.
        of_genes = theta.shape[-2] == 1
        gammas = (torch.lgamma(theta), torch.digamma(theta)) if of_genes else (None, None)
        terms = replace(terms, x, theta, *gammas, log_odds, soft, share, negative)
        log_prob, by_mean, by_theta, weight = terms
        if negative is None:
            return log_prob.sum(-1), by_mean, by_theta, None
        log_prob -= F.softplus(negative)
        return log_prob.sum(-1), by_mean, by_theta, negative.sigmoid_().sub_(weight)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, *derivatives = output
        ctx.of_genes = inputs[2].shape[-2] == 1
        ctx.set_materialize_grads(False)  # or zeros would be made for each derivative
        ctx.mark_non_differentiable(*(value for value in derivatives if value is not None))
        ctx.save_for_backward(*derivatives)

    @staticmethod
    def backward(ctx, grad, *_):
        if grad is None:  # as `torch.autograd.gradcheck` tries
            return None, None, None, None
        by_mean, by_theta, by_logits = ctx.saved_tensors
        column = grad.unsqueeze(-1)
        grad_logits = None if by_logits is None else column * by_logits
        grad_theta = column.mT @ by_theta if ctx.of_genes else column * by_theta
        return None, column * by_mean, grad_theta, grad_logits

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return map_at_once(_CountLogLikelihood, info, in_dims, inputs)


def _terms_of_zeros(theta, soft, share, negative):
    """Return, for x = 0: log p, its derivatives by log μ and by log θ, and the weight of nb in it.

    log p lacks −softplus(−l); `soft` and `share` are softplus(d) and σ(d), `negative` is −l.
    """
    log_prob, by_mean = -theta * soft, -theta * share
    by_theta = log_prob - by_mean
    if negative is None:
        return log_prob, by_mean, by_theta, None
    log_prob += negative
    weight = log_prob.sigmoid()
    return F.softplus(log_prob), by_mean.mul_(weight), by_theta.mul_(weight), weight


def _terms_of_counts(count, theta, lgamma, digamma, log_odds, soft, share, negative):
    """Return the same for x > 0, where all derivatives of nb have weight 1.

    `lgamma` and `digamma` are those of θ, computed here if they are None.
    """
    if lgamma is None:
        lgamma, digamma = torch.lgamma(theta), torch.digamma(theta)
    total = count + theta
    coefficient = torch.lgamma(total) - lgamma - torch.lgamma(count + 1)
    log_prob = coefficient + count * (log_odds - soft) - theta * soft
    by_mean = torch.addcmul(count, total, share, value=-1)
    by_theta = torch.addcmul(-theta * soft, theta, torch.digamma(total) - digamma) - by_mean
    if negative is None:
        return log_prob, by_mean, by_theta, None
    return log_prob + negative, by_mean, by_theta, torch.ones_like(count)


def _replace_found(terms, x, *inputs):
    """Replace the terms where there are counts. On the CPU: most entries are 0."""
    # NumPy finds them five times as fast as `Tensor.nonzero`.
    place = torch.from_numpy(np.flatnonzero(x.bool().numpy()))

    def at_counts(value):
        return value if value is None else value.expand_as(x).reshape(-1).index_select(0, place)

    for term, new in zip(terms, _terms_of_counts(*map(at_counts, (x, *inputs))), strict=True):
        if term is not None:
            term.view(-1).scatter_(0, place, new)
    return terms


def _replace_everywhere(terms, x, *inputs):
    """Do the same on a GPU, where log-gamma is cheap and the search would wait for the device."""
    counted = x.bool()
    new = _terms_of_counts(x, *inputs)
    return tuple(
        None if zero is None else torch.where(counted, count, zero)
        for zero, count in zip(terms, new, strict=True)
    )
