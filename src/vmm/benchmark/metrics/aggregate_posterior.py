"""The density of the aggregate posterior q(z) = 1/N Σ_n q(z|x_n)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vmm.numerics.gaussians import LOG_2PI, DiagonalNormal, FullRankNormal, Normal

MAX_ELEMENTS = 2**23
"""Default of the largest temporary matrix: 64 MiB in float64."""


class AggregatePosterior:
    """The equally weighted mixture of N normals, evaluated by matrix products.

    The log density of component n is a quadratic function of z, hence linear in the features
    (z_a z_b for a ≤ b, z_a): −½ zᵀ P_n z + (P_n m_n)ᵀ z + c_n. So M points under N full-rank
    components cost one product of M × p(p+3)/2 with p(p+3)/2 × N numbers, half of the
    multiplications of whitening by N Cholesky factors and a p-th of its memory. The quadratic form
    cancels digits, therefore everything here is float64 and centred at the mean of the means.

    `posteriors` are the components, in parts of shape (n, p), all full-rank or all diagonal.
    """

    def __init__(self, posteriors: list[Normal], max_elements: int = MAX_ELEMENTS) -> None:
        self.max_elements = max(1, max_elements)
        mean = torch.cat([q.mean for q in posteriors]).double()
        self.centre = mean.mean(0)
        self.mean = mean - self.centre
        self.full_rank = isinstance(posteriors[0], FullRankNormal)
        scales = [q.scale_tril if isinstance(q, FullRankNormal) else q.scale for q in posteriors]
        self.scale = torch.cat(scales).double()
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
