"""The image VAE, and VaDE, which is the same VAE with another prior and a pre-training."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmm.models.base import LatentVariableModel, Noise
from vmm.models.networks import PositiveTriangle, relu_mlp
from vmm.models.records import ImageNetworks
from vmm.models.tensors import ImageTensors
from vmm.numerics.gaussians import LOG_2PI, FullRankNormal, inverse_softplus


class ImageVAE(LatentVariableModel):
    """A VAE of images in [−1, 1] with a full-rank posterior and likelihood N(x; f(z), σ² I).

    Section 4 of Stirn and Knowles, arXiv:2402.04412.

    Parameters
    ----------
    n_pixels : int
        Number D of pixels.
    latent_dim : int
        Dimension p of the latent space.
    hidden : sequence of int
        Sizes of the encoder's hidden layers; the decoder's are reversed.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    cluster_by_sample = True

    def __init__(
        self,
        n_pixels: int,
        latent_dim: int,
        hidden: tuple[int, ...] = (500, 500, 2000),
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.latent_dim = latent_dim
        n_outputs = latent_dim + latent_dim * (latent_dim + 1) // 2
        self.encoder = relu_mlp([n_pixels, *hidden, n_outputs], generator)
        self.decoder = relu_mlp([latent_dim, *reversed(hidden), n_pixels], generator)
        self.scale_raw = nn.Parameter(inverse_softplus(torch.ones(())))
        self.triangle = PositiveTriangle(latent_dim)

    @classmethod
    def for_data(
        cls, data: ImageTensors, networks: ImageNetworks, generator: torch.Generator | None
    ) -> Self:
        """Return untrained networks for images."""
        return cls(data.pixels.shape[1], networks.n_latent, networks.hidden, generator)

    def posterior(
        self, batch: Tensor, training: bool = False, noise: Noise | None = None
    ) -> FullRankNormal:
        """Return q(z|x) of images (n, D)."""
        output = self.encoder(batch)
        mean, entries = output[:, : self.latent_dim], output[:, self.latent_dim :]
        return FullRankNormal(mean, self.triangle(entries))

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean image f(z), shape (n, D)."""
        return self.decoder(z)

    def scale(self) -> Tensor:
        """Return the standard deviation σ of the likelihood, a scalar."""
        return F.softplus(self.scale_raw)

    def log_likelihood(self, batch: Tensor, z: Tensor, training: bool = False) -> Tensor:
        """Return log N(x; f(z), σ² I), shape (n,)."""
        scale = self.scale()
        squares = (batch - self.decode(z)).square().sum(-1)
        return -0.5 * squares / scale.square() - batch.shape[-1] * (scale.log() + 0.5 * LOG_2PI)

    def encode_pseudo_inputs(self, pseudo_inputs: Tensor) -> FullRankNormal:
        """Return g(u) for pseudo-images (K, D)."""
        return self.posterior(pseudo_inputs)

    def initial_pseudo_inputs(self, batch: Tensor) -> Tensor:
        """Return the images themselves."""
        return batch.clone()
