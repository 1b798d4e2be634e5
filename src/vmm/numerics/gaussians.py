"""Multivariate normal distributions in Cholesky form, and densities under many of them.

Everything is a pure function of tensors, in log space; no matrix is inverted and nothing
synchronises with the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributions

LOG_2PI = math.log(2 * math.pi)
MIN_SCALE = 1e-5
"""Added to the softplus of a scale or of the diagonal of a Cholesky factor."""


@dataclass(frozen=True)
class FullRankNormal:
    """Normal distributions N(m, T Tᵀ).

    Attributes
    ----------
    mean : torch.Tensor, shape (..., p)
    scale_tril : torch.Tensor, shape (..., p, p)
        Lower-triangular T with a positive diagonal.
    """

    mean: Tensor
    scale_tril: Tensor

    def rsample(self, noise: Tensor) -> Tensor:
        """Return m + T ε for standard-normal `noise` ε, shape (..., p)."""
        return self.mean + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def log_det_scale(self) -> Tensor:
        """Return log det T, shape (...)."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def entropy(self) -> Tensor:
        """Return the differential entropy in nats, shape (...)."""
        return 0.5 * self.mean.shape[-1] * (1 + LOG_2PI) + self.log_det_scale()

    def second_moment(self) -> Tensor:
        """Return E‖z‖² = ‖m‖² + tr(T Tᵀ), shape (...)."""
        return self.mean.square().sum(-1) + self.scale_tril.square().sum((-2, -1))

    def covariance(self) -> Tensor:
        """Return the covariance T Tᵀ, shape (..., p, p)."""
        return self.scale_tril @ self.scale_tril.mT

    def project(self, cholesky: Tensor) -> Tensor:
        """Return M = Lᵀ T, so that M Mᵀ = Lᵀ S L and ‖M‖² = tr(L Lᵀ S)."""
        return cholesky.mT @ self.scale_tril

    def component_log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z_i; m_j, S_j), shape (N, K), for `z` of shape (N, p)."""
        identity = torch.eye(self.mean.shape[-1], dtype=z.dtype, device=z.device)
        whitening = torch.linalg.solve_triangular(self.scale_tril, identity, upper=False)
        return whitened_log_prob(z, self.mean, whitening, -self.log_det_scale())

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; m, S), shape (...), for `z` of shape (..., p)."""
        residual = (z - self.mean).unsqueeze(-1)
        white = torch.linalg.solve_triangular(self.scale_tril, residual, upper=False)
        quadratic = white.square().sum((-2, -1))
        return -0.5 * (quadratic + z.shape[-1] * LOG_2PI) - self.log_det_scale()


@dataclass(frozen=True)
class DiagonalNormal:
    """Normal distributions N(m, diag(s²)).

    Attributes
    ----------
    mean : torch.Tensor, shape (..., p)
    scale : torch.Tensor, shape (..., p)
        Standard deviation.
    """

    mean: Tensor
    scale: Tensor

    def rsample(self, noise: Tensor) -> Tensor:
        """Return m + s ε for standard-normal `noise` ε, shape (..., p)."""
        return self.mean + self.scale * noise

    def log_det_scale(self) -> Tensor:
        """Return Σ log s, shape (...)."""
        return self.scale.log().sum(-1)

    def entropy(self) -> Tensor:
        """Return the differential entropy in nats, shape (...)."""
        return 0.5 * self.mean.shape[-1] * (1 + LOG_2PI) + self.log_det_scale()

    def second_moment(self) -> Tensor:
        """Return E‖z‖² = ‖m‖² + ‖s‖², shape (...)."""
        return self.mean.square().sum(-1) + self.scale.square().sum(-1)

    def covariance(self) -> Tensor:
        """Return the covariance diag(s²), shape (..., p, p)."""
        return torch.diag_embed(self.scale.square())

    def project(self, cholesky: Tensor) -> Tensor:
        """Return M = Lᵀ diag(s), so that M Mᵀ = Lᵀ S L and ‖M‖² = tr(L Lᵀ S)."""
        return cholesky.mT * self.scale.unsqueeze(-2)

    def component_log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z_i; m_j, S_j), shape (N, K), for `z` of shape (N, p)."""
        white = (z.unsqueeze(-2) - self.mean) / self.scale
        return -0.5 * (white.square().sum(-1) + z.shape[-1] * LOG_2PI) - self.log_det_scale()

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log N(z; m, S), shape (...), for `z` of shape (..., p)."""
        quadratic = ((z - self.mean) / self.scale).square().sum(-1)
        return -0.5 * (quadratic + z.shape[-1] * LOG_2PI) - self.log_det_scale()


Normal = FullRankNormal | DiagonalNormal


def as_normal(q: Any) -> Normal:
    """Return normal distributions over the last dimension, which may be PyTorch's, as ours.

    Parameters
    ----------
    q : Normal, torch.distributions.Normal, Independent or MultivariateNormal

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if isinstance(q, (FullRankNormal, DiagonalNormal)):
        return q
    if isinstance(q, distributions.Independent):
        q = q.base_dist
    if isinstance(q, distributions.Normal):
        return DiagonalNormal(q.loc, q.scale)
    if isinstance(q, distributions.MultivariateNormal):
        return FullRankNormal(q.loc, q.scale_tril)
    raise TypeError(f"q(z|x) is of type {type(q).__name__}; it must be a normal distribution")


def whitened_log_prob(z: Tensor, mean: Tensor, whitening: Tensor, log_det: Tensor) -> Tensor:
    """Log densities of N points under K normals, through one matrix product.

    With C_j⁻¹ = W_jᵀ W_j, log N(z_i; m_j, C_j) = −p/2 log 2π + log|W_j| − ½‖W_j z_i − W_j m_j‖².

    Parameters
    ----------
    z : torch.Tensor, shape (N, p)
    mean : torch.Tensor, shape (K, p)
    whitening : torch.Tensor, shape (K, p, p)
        W_j, any square root of the precision.
    log_det : torch.Tensor, shape (K,)
        log |W_j|.

    Returns
    -------
    torch.Tensor, shape (N, K)
    """
    n_components, latent_dim = mean.shape
    # The whitened points lie in memory as (N, p, K), component beside component: sums over p then
    # run along whole rows, and the products have shapes that BLAS is fast at.
    columns = whitening.transpose(0, 2).flatten(1)
    offset = (whitening @ mean.unsqueeze(-1)).squeeze(-1).T.flatten()
    white = torch.addmm(-offset, z, columns).unflatten(-1, (latent_dim, n_components))
    log_scale = log_det - 0.5 * latent_dim * LOG_2PI
    return torch.add(log_scale, white.square().sum(-2), alpha=-0.5)


def widened_log_prob(z: Tensor, centres: Normal, cholesky: Tensor) -> Tensor:
    """Log densities of N points under K normals with uncertain means.

    The component is N(m_j, Λ_j⁻¹ + S_j) with Λ_j = L_j L_jᵀ and centre μ_j ~ N(m_j, S_j). With
    A_j = I + L_jᵀ S_j L_j = R_j R_jᵀ the precision is W_jᵀ W_j for W_j = R_j⁻¹ L_jᵀ: the only
    matrix factorised, A_j, has no eigenvalue below one, however extreme Λ_j and S_j are.

    Parameters
    ----------
    z : torch.Tensor, shape (N, p)
    centres : Normal of K means
    cholesky : torch.Tensor, shape (K, p, p)
        L_j, lower triangular.

    Returns
    -------
    torch.Tensor, shape (N, K)
    """
    projected = centres.project(cholesky)
    identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    inflated, _ = torch.linalg.cholesky_ex(identity + projected @ projected.mT)
    whitening = torch.linalg.solve_triangular(inflated, cholesky.mT, upper=False)
    log_det = log_diagonal(cholesky) - log_diagonal(inflated)
    return whitened_log_prob(z, centres.mean, whitening, log_det)


def log_diagonal(cholesky: Tensor) -> Tensor:
    """Return the log determinant of a triangular matrix, shape (...)."""
    return cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def positive_cholesky(raw: Tensor) -> Tensor:
    """Map unconstrained matrices (..., p, p) to Cholesky factors: softplus(diagonal) + 1e-5."""
    diagonal = F.softplus(raw.diagonal(dim1=-2, dim2=-1)) + MIN_SCALE
    return raw.tril(-1) + torch.diag_embed(diagonal)


def inverse_softplus(value: Tensor) -> Tensor:
    """Return x with softplus(x) = `value` > 0, accurately for small and large values."""
    return value + torch.log(-torch.expm1(-value))
