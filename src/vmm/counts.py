"""Log-likelihoods of counts, in the parametrisation of scVI.

References
----------
.. [1] Lopez et al., "Deep generative modeling for single-cell transcriptomics",
   Nature Methods 15 (2018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-30


def nb_log_prob(x: Tensor, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
    """Negative binomial log-probability with variance μ + μ²/θ.

    Parameters
    ----------
    x, mean : torch.Tensor, shape (..., G)
        Counts and their mean μ ≥ 0.
    inverse_dispersion : torch.Tensor, shape (G,) or (..., G)
        θ > 0.

    Returns
    -------
    torch.Tensor, shape (..., G)
    """
    return nb_log_prob_from_logs(
        x, mean.clamp_min(TINY).log(), inverse_dispersion.clamp_min(TINY).log()
    )


def nb_log_prob_from_logs(x: Tensor, log_mean: Tensor, log_inverse_dispersion: Tensor) -> Tensor:
    """As :func:`nb_log_prob`, from log μ and log θ: exact where either is tiny or huge."""
    log_odds = log_mean - log_inverse_dispersion
    theta = log_inverse_dispersion.exp()
    log_coefficient = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    return log_coefficient - theta * F.softplus(log_odds) - x * F.softplus(-log_odds)


def zinb_log_prob(
    x: Tensor, mean: Tensor, inverse_dispersion: Tensor, dropout_logits: Tensor
) -> Tensor:
    """Zero-inflated negative binomial log-probability.

    Parameters
    ----------
    x, mean, dropout_logits : torch.Tensor, shape (..., G)
        Counts, mean μ of the negative binomial, and logits of the probability of a dropout.
    inverse_dispersion : torch.Tensor, shape (G,) or (..., G)
        θ > 0.

    Returns
    -------
    torch.Tensor, shape (..., G)
    """
    return zinb_log_prob_from_logs(
        x,
        mean.clamp_min(TINY).log(),
        inverse_dispersion.clamp_min(TINY).log(),
        dropout_logits,
    )


def zinb_log_prob_from_logs(
    x: Tensor, log_mean: Tensor, log_inverse_dispersion: Tensor, dropout_logits: Tensor
) -> Tensor:
    """As :func:`zinb_log_prob`, from log μ and log θ."""
    log_nb = nb_log_prob_from_logs(x, log_mean, log_inverse_dispersion)
    # log(σ(l) + σ(−l) e^{nb}) and log σ(−l) + nb share −softplus(−l).
    inflated = torch.where(x == 0, F.softplus(log_nb - dropout_logits), log_nb - dropout_logits)
    return inflated - F.softplus(-dropout_logits)


def count_log_likelihood(
    x: Tensor,
    log_mean: Tensor,
    log_inverse_dispersion: Tensor,
    dropout_logits: Tensor | None = None,
) -> Tensor:
    """Sum over genes of the (zero-inflated) negative binomial log-probability, for training.

    Equal to the sum of :func:`nb_log_prob_from_logs`, or of :func:`zinb_log_prob_from_logs` where
    there are dropout logits, with first derivatives in closed form: log-gamma and digamma, which
    cost the most, are evaluated only where there are counts.

    Parameters
    ----------
    x : torch.Tensor, shape (n, G)
        Counts; they get no gradient.
    log_mean : torch.Tensor, shape (n, G)
        log μ.
    log_inverse_dispersion : torch.Tensor, shape (G,)
        log θ.
    dropout_logits : torch.Tensor, shape (n, G), optional

    Returns
    -------
    torch.Tensor, shape (n,)
    """
    log_theta = log_inverse_dispersion.unsqueeze(-2)
    return _CountLogLikelihood.apply(x, log_mean, log_theta, dropout_logits)[0]


class _CountLogLikelihood(torch.autograd.Function):
    """Σ_g log p(x_g): value and derivatives together, so that both share what is expensive.

    With d = log μ − log θ and C = log Γ(x+θ) − log Γ(θ) − log x!, the negative binomial is
    nb = C + x d − (x + θ) softplus(d); the zero-inflated one, with logits l, is
    softplus(nb − l) − softplus(−l) at x = 0 and nb − l − softplus(−l) elsewhere.

    Shapes are (..., n, G), of log θ (..., 1, G): under `torch.func.vmap` the mapped dimension is
    one more in front.
    """

    @staticmethod
    def forward(x, log_mean, log_theta, logits):
        theta = log_theta.exp()
        log_odds = log_mean - log_theta
        soft = F.softplus(log_odds)
        by_mean = torch.addcmul(x, x + theta, log_odds.sigmoid(), value=-1)
        by_theta = soft * theta
        log_prob = torch.addcmul(-by_theta, x, log_odds - soft)
        coefficient, digamma = _log_coefficient(x, theta)
        log_prob += coefficient
        by_logits = None
        if logits is not None:
            zero = x == 0
            shifted = log_prob.sub_(logits)
            weight = torch.where(zero, shifted.sigmoid(), 1.0)
            log_prob = torch.where(zero, F.softplus(shifted), shifted) - F.softplus(-logits)
            by_mean *= weight
            by_theta *= weight
            by_logits = torch.sigmoid(-logits).sub_(weight)
        # by log θ: −∂/∂log μ − w θ softplus(d) + θ (ψ(x+θ) − ψ(θ)); C is 0 wherever w is not 1.
        by_theta = torch.addcmul(-by_theta, digamma, theta).sub_(by_mean)
        return log_prob.sum(-1), by_mean, by_theta, by_logits

    @staticmethod
    def setup_context(ctx, inputs, output):
        derivatives = output[1:]
        ctx.set_materialize_grads(False)  # or zeros would be made for each derivative
        ctx.mark_non_differentiable(*(d for d in derivatives if d is not None))
        ctx.save_for_backward(*derivatives)

    @staticmethod
    def backward(ctx, grad, *_):
        if grad is None:
            return None, None, None, None
        by_mean, by_theta, by_logits = ctx.saved_tensors
        column = grad.unsqueeze(-1)
        grad_logits = None if by_logits is None else column * by_logits
        return None, column * by_mean, column.mT @ by_theta, grad_logits

    @staticmethod
    def vmap(info, in_dims, *inputs):
        """Map by one call: finding the counts has no rule of its own."""

        def mapped_first(value, dim):
            if value is None or dim is not None:
                return None if value is None else value.movedim(dim, 0)
            return value.expand(info.batch_size, *value.shape)

        output = _CountLogLikelihood.apply(*map(mapped_first, inputs, in_dims))
        return output, tuple(None if value is None else 0 for value in output)


def _log_coefficient(x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return log Γ(x+θ) − log Γ(θ) − log x! and ψ(x+θ) − ψ(θ); both 0 at x = 0.

    Shapes are (..., n, G), of θ (..., 1, G).
    """
    if x.device.type == "cpu":
        return _log_coefficient_of_counts(x, theta)
    return _log_coefficient_everywhere(x, theta)


def _log_coefficient_everywhere(x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """On a GPU: log-gamma is cheap, and finding the counts would wait for the device."""
    value = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    return value, torch.digamma(x + theta) - torch.digamma(theta)


def _log_coefficient_of_counts(x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """On the CPU: only where there are counts, as most entries are 0."""
    value, digamma = x.new_zeros(x.shape), x.new_zeros(x.shape)
    place = x.reshape(-1).nonzero().squeeze(-1)
    n_cells, n_genes = x.shape[-2:]
    gene = place % n_genes
    if theta.numel() > n_genes:  # a row of θ for each n × G counts
        gene += place // (n_cells * n_genes) * n_genes
    count, theta = x.reshape(-1)[place], theta.reshape(-1)
    total = count + theta[gene]
    value.view(-1)[place] = (
        torch.lgamma(total) - torch.lgamma(theta)[gene] - torch.lgamma(count + 1)
    )
    digamma.view(-1)[place] = torch.digamma(total) - torch.digamma(theta)[gene]
    return value, digamma
