r"""The objective of the Empirical Bayes step: mixtures with their hyperpriors.

.. math:: \sum_{ij} q(c_i = j) \log \rho_{ij} + \log p(\alpha) + \log p(\pi \mid \alpha)
          + \sum_j \log p(\Lambda_j) + \sum_j E \log N(\mu_j; 0, I)

Section 3.2 of Stirn and Knowles, "The VampPrior Mixture Model", arXiv:2402.04412 (2024).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from vmm.numerics.gaussians import LOG_2PI, Normal, log_diagonal, whitened_log_prob

ConcentrationPrior = Literal["inverse_gamma", "gamma"]
WishartScale = Literal["paper", "published_code"]


def objective(
    z: Tensor,
    centres: Tensor | Normal,
    cholesky: Tensor,
    log_weights: Tensor,
    alpha: Tensor,
    responsibility_gradient: bool = True,
    concentration_prior: ConcentrationPrior = "inverse_gamma",
    wishart_scale: WishartScale = "paper",
    dirichlet_process: bool = True,
    of_computed: Tensor | None = None,
) -> Tensor:
    """Return Σ_ij q(c_i=j) log ρ_ij + log hyperprior, a scalar.

    Parameters
    ----------
    z : torch.Tensor, shape (M, p)
    centres : torch.Tensor, shape (K, p), or Normal of K means
    cholesky : torch.Tensor, shape (K, p, p)
        L_j with Λ_j = L_j L_jᵀ.
    log_weights : torch.Tensor, shape (K,)
        log π.
    alpha : torch.Tensor, scalar
        Concentration α.
    responsibility_gradient, concentration_prior, wishart_scale, dirichlet_process
        See :class:`vmm.priors.mixture.MixturePrior`.
    of_computed : torch.Tensor, optional
        log π of the components that `centres` and `cholesky` are of, if these are not all K. What
        the hyperprior says of others' places is a constant, and left out.
    """
    n_components, latent_dim = log_weights.shape[-1], cholesky.shape[-1]
    computed = log_weights if of_computed is None else of_computed
    log_joint = expected_log_joint(z, centres, cholesky, computed)
    responsibilities = log_joint.softmax(-1)
    if not responsibility_gradient:
        responsibilities = responsibilities.detach()
    scale = wishart_scale_of(n_components, latent_dim, wishart_scale)
    expected = (responsibilities * log_joint).sum()
    if dirichlet_process:
        expected = expected + log_concentration(alpha, concentration_prior)
    return (
        expected
        + log_dirichlet(log_weights, alpha / n_components)
        + log_wishart(cholesky, latent_dim + 2, scale).sum()
        + expected_log_standard_normal(centres).sum()
    )


def expected_log_joint(
    z: Tensor, centres: Tensor | Normal, cholesky: Tensor, log_weights: Tensor
) -> Tensor:
    """Return log ρ_ij = log π_j + E log N(z_i; μ_j, Λ_j⁻¹), shape (N, K).

    Parameters as those of :func:`objective`. Where the centre μ_j ~ N(m_j, S_j) is uncertain, the
    expectation is log N(z_i; m_j, Λ_j⁻¹) − ½ tr(Λ_j S_j).
    """
    log_scale = log_weights + log_diagonal(cholesky)
    if isinstance(centres, Tensor):
        return whitened_log_prob(z, centres, cholesky.mT, log_scale)
    spread = centres.project(cholesky).square().sum((-2, -1))
    return whitened_log_prob(z, centres.mean, cholesky.mT, log_scale - 0.5 * spread)


def wishart_scale_of(n_components: int, latent_dim: int, version: WishartScale = "paper") -> float:
    """Return s, where Λ_j ~ Wishart(p + 2, s I) and so E[Λ_j] = (p + 2) s I.

    The paper has E[Λ_j] = K^{1/p} I. Its published code passes the Cholesky factor of s I where
    the square root of K^{1/p} / (p + 2) is K^{1/p} / √(p + 2), so that E[Λ_j] = K^{2/p} I.
    """
    exponent = {"paper": 1, "published_code": 2}[version]
    return n_components ** (exponent / latent_dim) / (latent_dim + 2)


def log_concentration(alpha: Tensor, version: ConcentrationPrior = "inverse_gamma") -> Tensor:
    """Return log InverseGamma(α; 1, 1), or with "gamma" log Gamma(β; 1, 1) = −β of β = 1/α."""
    return log_inverse_gamma(alpha) if version == "inverse_gamma" else -alpha.reciprocal()


def log_inverse_gamma(alpha: Tensor) -> Tensor:
    """Return log InverseGamma(α; 1, 1) = −2 log α − 1/α."""
    return -2 * alpha.log() - alpha.reciprocal()


def log_dirichlet(log_weights: Tensor, concentration: Tensor) -> Tensor:
    """Return log Dirichlet(π; a, …, a) for log π of shape (K,) and a scalar `concentration` a."""
    n = log_weights.shape[-1]
    normaliser = torch.lgamma(n * concentration) - n * torch.lgamma(concentration)
    return normaliser + (concentration - 1) * log_weights.sum(-1)


def log_wishart(cholesky: Tensor, dof: float, scale: float) -> Tensor:
    """Log density of the Wishart distribution with scale matrix s I, over Λ itself.

    Parameters
    ----------
    cholesky : torch.Tensor, shape (..., p, p)
        Lower-triangular L with Λ = L Lᵀ. No Jacobian of L: the density is over Λ.
    dof : float
        Degrees of freedom ν > p − 1.
    scale : float
        s, so that E[Λ] = ν s I.

    Returns
    -------
    torch.Tensor, shape (...)
    """
    p = cholesky.shape[-1]
    half = 0.5 * dof
    gammas = sum(math.lgamma(half - 0.5 * i) for i in range(p))
    normaliser = half * p * math.log(2 * scale) + 0.25 * p * (p - 1) * math.log(math.pi) + gammas
    trace = cholesky.square().sum((-2, -1))
    return (dof - p - 1) * log_diagonal(cholesky) - 0.5 * trace / scale - normaliser


def expected_log_standard_normal(centres: Tensor | Normal) -> Tensor:
    """Return E log N(μ_j; 0, I) = −½ (‖m_j‖² + tr S_j + p log 2π), shape (K,).

    S_j is 0 where the centres are points (K, p).
    """
    if isinstance(centres, Tensor):
        second_moment, latent_dim = centres.square().sum(-1), centres.shape[-1]
    else:
        second_moment, latent_dim = centres.second_moment(), centres.mean.shape[-1]
    return -0.5 * (second_moment + latent_dim * LOG_2PI)
