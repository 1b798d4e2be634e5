"""The prior N(0, I) of the original VAE."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vmm.numerics.gaussians import LOG_2PI, as_normal
from vmm.priors.base import Encode, Prior


class StandardNormal(Prior):
    """The prior N(0, I); its KL is analytic."""

    is_standard_normal = True

    _origin: Tensor

    def __init__(self, latent_dim: int):
        super().__init__(latent_dim)
        # Where the model is, and in its precision.
        self.register_buffer("_origin", torch.zeros(latent_dim), persistent=False)

    def log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log N(z; 0, I), shape (N,)."""
        return -0.5 * (z.square().sum(-1) + self.latent_dim * LOG_2PI)

    def kl(self, q: Any, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return the exact KL(q ‖ N(0, I)), shape (N,)."""
        q = as_normal(q)
        cross_entropy = 0.5 * (q.second_moment() + self.latent_dim * LOG_2PI)
        return cross_entropy - q.entropy()

    def log_weights(self) -> Tensor:
        """Return log 1 of the only component, shape (1,)."""
        return self._origin.new_zeros(1)

    def moments(self, encode: Encode | None = None) -> tuple[Tensor, Tensor]:
        """Return 0, shape (1, p), and I, shape (1, p, p)."""
        return self._origin.unsqueeze(0), torch.ones_like(self._origin).diag().unsqueeze(0)
