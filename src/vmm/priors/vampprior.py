"""The VampPrior: a mixture of posteriors at pseudo-inputs.

References
----------
Tomczak and Welling, "VAE with a VampPrior", AISTATS (2018).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vmm.priors.base import Encode, Prior, encoded


class VampPrior(Prior):
    """The mixture of posteriors at pseudo-inputs, p(z) = 1/K Σ_j q(z; g(u_j)).

    Tomczak and Welling (2018).

    Parameters
    ----------
    latent_dim : int
        Dimension p of the latent space.
    pseudo_inputs : torch.Tensor, shape (K, D)
        Initial pseudo-inputs, in the model's own unconstrained form.
    train_pseudo_inputs : bool, default: True
        Whether the pseudo-inputs are fitted. The paper's published scVI code never fits them.
    """

    has_pseudo_inputs = starts_from_data = True
    pseudo_inputs: nn.Parameter

    def __init__(self, latent_dim: int, pseudo_inputs: Tensor, train_pseudo_inputs: bool = True):
        super().__init__(latent_dim, len(pseudo_inputs), pseudo_inputs)
        self.pseudo_inputs.requires_grad_(train_pseudo_inputs)

    def component_log_prob(self, z: Tensor, encode: Encode | None) -> Tensor:
        """Return log q(z_i; g(u_j)), shape (N, K)."""
        return encoded(encode, self.pseudo_inputs).component_log_prob(z)

    def log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log 1/K Σ_j q(z; g(u_j)), shape (N,)."""
        return self.component_log_prob(z, encode).logsumexp(-1) - math.log(self.n_components)

    def log_weights(self) -> Tensor:
        """Return log π_j = −log K, shape (K,)."""
        return torch.full_like(self.pseudo_inputs[:, 0], -math.log(self.n_components)).detach()

    def cluster_log_probs(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log softmax_j log q(z; g(u_j)), shape (N, K)."""
        return self.component_log_prob(z, encode).log_softmax(-1)

    def variational_parameters(self) -> list[nn.Parameter]:
        """Return the pseudo-inputs, which are fitted with the VAE."""
        return [self.pseudo_inputs] if self.pseudo_inputs.requires_grad else []

    def moments(self, encode: Encode | None = None) -> tuple[Tensor, Tensor]:
        """Return the means (K, p) and covariances (K, p, p) of q(z; g(u_j))."""
        q = encoded(encode, self.pseudo_inputs)
        return q.mean, q.covariance()

    def sample_component(
        self, component: Tensor, noise: Tensor, encode: Encode | None = None
    ) -> Tensor:
        """Map `noise` (N, p) to samples of q(z; g(u_j)) for the components j (N,)."""
        return encoded(encode, self.pseudo_inputs[component]).rsample(noise)
