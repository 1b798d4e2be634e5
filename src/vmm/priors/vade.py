"""VaDE's prior: a Gaussian mixture with a known number of components.

References
----------
Jiang et al., "Variational Deep Embedding", IJCAI (2017).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vmm.numerics.gaussians import (
    MIN_SCALE,
    Normal,
    as_normal,
    inverse_softplus,
    log_diagonal,
    whitened_log_prob,
)
from vmm.priors.base import Encode, Pretraining, Prior
from vmm.priors.mixture import GaussianMixture


class VaDEMixture(GaussianMixture):
    """VaDE's Gaussian mixture, fitted jointly with the VAE and without hyperpriors.

    Jiang et al. (2017).
    """

    starts_from_data = True
    can_sleep = False  # it is told how many it has
    prior_step_loss = Prior.prior_step_loss  # VaDE has none

    def __init__(
        self, latent_dim: int, n_components: int, generator: torch.Generator | None = None
    ):
        super().__init__(latent_dim, n_components, generator, dirichlet_process=False)

    def kl(self, q: Any, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return Σ_j q(c=j) [KL(q ‖ N(μ_j, Λ_j⁻¹)) + log q(c=j) − log π_j], shape (N,)."""
        log_probs = self.cluster_log_probs(z)
        divergence = self.component_kl(as_normal(q)) + log_probs - self.log_weights()
        return (log_probs.exp() * divergence).sum(-1)

    def component_kl(self, q: Normal) -> Tensor:
        """Return the exact KL(q(z|x_i) ‖ N(μ_j, Λ_j⁻¹)), shape (N, K)."""
        cholesky = self.precision_cholesky()
        log_prob = whitened_log_prob(q.mean, self.means, cholesky.mT, log_diagonal(cholesky))
        precision = (cholesky @ cholesky.mT).reshape(self.n_components, -1)
        trace = q.covariance().reshape(len(q.mean), -1) @ precision.T
        return 0.5 * trace - log_prob - q.entropy().unsqueeze(-1)

    def variational_parameters(self) -> list[nn.Parameter]:
        """Return π, μ and Λ, which are fitted with the VAE."""
        return [self.weight_logits, self.means, self.precision_raw]

    def empirical_bayes_parameters(self) -> list[nn.Parameter]:
        """Return nothing: VaDE has no Empirical Bayes step."""
        return []

    def pretraining(self, batch_size: int) -> Pretraining:
        """Return round(5·M/100) epochs without the KL at rate 2e-3, for batches of M."""
        return Pretraining(learning_rate=2e-3, epochs=round(5 * batch_size / 100))

    @torch.no_grad()
    def start_from(self, z: Tensor, seed: int) -> None:
        """Set π, μ, Λ to those of a full-covariance Gaussian mixture fitted to `z` (N, p)."""
        from sklearn import mixture

        fitted = mixture.GaussianMixture(self.n_components, reg_covar=1e-3, random_state=seed)
        fitted.fit(z.cpu().double().numpy())
        # scikit-learn's precisions_cholesky_ is upper triangular with Λ = U Uᵀ; ours is lower.
        cholesky = torch.linalg.cholesky(torch.from_numpy(fitted.precisions_))
        diagonal = cholesky.diagonal(dim1=-2, dim2=-1) - MIN_SCALE
        raw = cholesky.tril(-1) + torch.diag_embed(inverse_softplus(diagonal))
        self.weight_logits.copy_(torch.from_numpy(fitted.weights_).log())
        self.means.copy_(torch.from_numpy(fitted.means_))
        self.precision_raw.copy_(raw)
