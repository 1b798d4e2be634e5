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

from vmm.numerics.closed_form import ClosedForm
from vmm.numerics.gaussians import LOG_2PI, Normal, distances, gradients_by_distances, log_diagonal

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
    responsibility_gradient, concentration_prior, wishart_scale
        See :class:`vmm.priors.mixture.MixturePrior`.
    """
    if isinstance(centres, Tensor):
        mean, scale = centres, torch.zeros_like(cholesky)
    else:
        mean, scale = centres.mean, centres.scale_tril
    switches = responsibility_gradient, concentration_prior, wishart_scale
    return _Objective.value(z, mean, scale, cholesky, log_weights, alpha, *switches)


class _Objective(ClosedForm):
    """With its gradient in closed form: autograd takes some two hundred small operators for it.

    Let h_ij = ∂/∂log ρ_ij, n_j = Σ_i h_ij and S_j = T_j T_jᵀ. Beside what comes through the
    distances ‖L_jᵀ(z_i − m_j)‖² the gradient is −m_j by m_j, −(n_j Λ_j + I) T_j by T_j,
    −n_j S_j L_j − L_j / s + (n_j + ν − p − 1) / diag(L_j) by L_j, and n_j + α/K − 1 by log π_j.
    """

    @staticmethod
    def forward(
        z, mean, scale, cholesky, log_weights, alpha, responsibility_gradient, concentration_prior,
        wishart_scale
    ):  # fmt: skip
        (n, p), upper, projected = mean.shape[-2:], cholesky.mT, cholesky.mT @ scale
        diagonal = cholesky.diagonal(dim1=-2, dim2=-1)
        log_scale = log_weights + diagonal.log().sum(-1) - 0.5 * p * LOG_2PI
        log_scale = log_scale - 0.5 * projected.square().sum((-2, -1))
        squares, *parts = distances(z, mean, upper)
        log_joint = torch.add(log_scale.unsqueeze(-2), squares, alpha=-0.5)
        responsibilities = log_joint.softmax(-1)
        expected = (responsibilities * log_joint).sum(-1, keepdim=True)
        by_joint = responsibilities
        if responsibility_gradient:
            by_joint = responsibilities * (1 + log_joint - expected)

        concentration, dof = alpha / n, p + 2
        s = wishart_scale_of(n, p, wishart_scale)
        if concentration_prior == "inverse_gamma":
            log_prior, by_alpha = log_inverse_gamma(alpha), alpha**-2 - 2 / alpha
        else:
            log_prior, by_alpha = -1 / alpha, alpha**-2
        log_prior = log_prior + log_dirichlet(log_weights, concentration)
        log_prior = log_prior + log_wishart(cholesky, dof, s).sum(-1)
        second_moments = mean.square().sum((-2, -1)) + scale.square().sum((-3, -2, -1))
        log_prior = log_prior - 0.5 * (second_moments + n * p * LOG_2PI)

        counts = by_joint.sum(-2)
        column, matrix = counts.unsqueeze(-1), counts.unsqueeze(-1).unsqueeze(-1)
        by_z, by_mean, by_upper = gradients_by_distances(
            -0.5 * by_joint, z, mean, upper, *parts, for_z=z.requires_grad
        )
        by_cholesky = by_upper.mT - matrix * (scale @ projected.mT) - cholesky / s
        by_cholesky.diagonal(dim1=-2, dim2=-1).add_((column + (dof - p - 1)) / diagonal)
        return (
            expected.sum((-2, -1)) + log_prior,
            by_z,
            by_mean - mean,
            -scale - matrix * (cholesky @ projected),
            by_cholesky,
            counts + (concentration - 1).unsqueeze(-1),
            by_alpha + alpha.digamma() - concentration.digamma() + log_weights.mean(-1),
        )

    @staticmethod
    def gradients(ctx, grad, *derivatives):
        trials = grad.shape

        def times(by):
            if by is not None:
                return grad.reshape(trials + (1,) * (by.dim() - len(trials))) * by

        return *map(times, derivatives), None, None, None


def wishart_scale_of(n_components: int, latent_dim: int, version: WishartScale = "paper") -> float:
    """Return s, where Λ_j ~ Wishart(p + 2, s I) and so E[Λ_j] = (p + 2) s I.

    The paper has E[Λ_j] = K^{1/p} I. Its published code passes the Cholesky factor of s I where
    the square root of K^{1/p} / (p + 2) is K^{1/p} / √(p + 2), so that E[Λ_j] = K^{2/p} I.
    """
    exponent = {"paper": 1, "published_code": 2}[version]
    return n_components ** (exponent / latent_dim) / (latent_dim + 2)


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
