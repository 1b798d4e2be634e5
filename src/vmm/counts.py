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
