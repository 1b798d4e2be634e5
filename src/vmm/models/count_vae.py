"""scVI's networks with any prior, in plain PyTorch."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmm.models.base import LatentVariableModel, Noise
from vmm.models.networks import HiddenLayer, linear
from vmm.models.records import CellNetworks, Likelihood
from vmm.models.tensors import CellBatch, CellTensors
from vmm.numerics.counts import count_log_likelihood
from vmm.numerics.gaussians import MIN_SCALE, DiagonalNormal, inverse_softplus

TINY = 1e-30


class CountVAE(LatentVariableModel):
    """scVI's VAE: counts explained by a latent cell state and a batch, given the library size.

    Lopez et al., Nature Methods 15 (2018), with the encoder, decoder and pseudo-inputs of Section
    5 of Stirn and Knowles, arXiv:2402.04412.

    Parameters
    ----------
    n_genes, n_batches : int
        Numbers G of genes and B of batches.
    latent_dim : int
        Dimension p of the latent space.
    n_layers, n_hidden : int
        Hidden layers of encoder and decoder, and their size.
    likelihood : {"zinb", "nb"}
    dropout : float
        Probability of dropouts in the encoder.
    log_counts : bool
        Whether the encoder sees log1p of the counts, or the counts as they are, as in the code
        that made the published numbers.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    def __init__(
        self,
        n_genes: int,
        n_batches: int,
        latent_dim: int = 10,
        n_layers: int = 1,
        n_hidden: int = 128,
        likelihood: Likelihood = "zinb",
        dropout: float = 0.1,
        log_counts: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if likelihood not in ("zinb", "nb"):
            raise ValueError(f"likelihood is {likelihood!r}; it must be 'zinb' or 'nb'")
        self.n_genes, self.n_batches, self.latent_dim = n_genes, n_batches, latent_dim
        self.likelihood, self.n_hidden = likelihood, n_hidden
        self.log_counts = log_counts
        widths = [n_hidden] * n_layers
        self.encoder = _hidden_layers(n_genes + n_batches, widths, dropout, generator)
        self.encoder_head = linear(n_hidden, 2 * latent_dim, generator)
        self.decoder = _hidden_layers(latent_dim + n_batches, widths, 0.0, generator)
        n_outputs = 2 * n_genes if likelihood == "zinb" else n_genes
        self.decoder_head = linear(n_hidden, n_outputs, generator)
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(n_genes))

    @classmethod
    def for_data(
        cls, data: CellTensors, networks: CellNetworks, generator: torch.Generator | None
    ) -> Self:
        """Return untrained networks for cells."""
        return cls(
            data.counts.shape[1],
            data.n_batches,
            networks.n_latent,
            networks.n_layers,
            networks.n_hidden,
            networks.likelihood,
            log_counts=networks.log_counts,
            generator=generator,
        )

    def draw_noise(self, n: int, generator: torch.Generator | None, device) -> Noise:
        """Return the latent noise and the uniform numbers of the encoder's dropout."""
        noise = super().draw_noise(n, generator, device)
        shape = (n, self.n_hidden)
        for index in range(len(self.encoder)):
            uniform = torch.rand(shape, generator=generator, device=device)
            noise[f"dropout_{index}"] = uniform
        return noise

    def posterior(
        self, batch: CellBatch, training: bool = False, noise: Noise | None = None
    ) -> DiagonalNormal:
        """Return q(z|x, s) of n cells."""
        seen = batch.counts.log1p() if self.log_counts else batch.counts
        return self._encode(seen, batch.covariates, training, noise)

    def _encode(
        self, seen: Tensor, covariates: Tensor, training: bool, noise: Noise | None
    ) -> DiagonalNormal:
        hidden = torch.cat([seen, covariates], -1)
        for index, layer in enumerate(self.encoder):
            hidden = layer(hidden, training, noise[f"dropout_{index}"] if noise else None)
        mean, raw = self.encoder_head(hidden).chunk(2, -1)
        return DiagonalNormal(mean, F.softplus(raw) + MIN_SCALE)

    def decode(
        self, z: Tensor, covariates: Tensor, library: Tensor, training: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the log mean of the counts and, with ZINB, the dropout logits.

        Parameters
        ----------
        z : torch.Tensor, shape (n, p)
        covariates : torch.Tensor, shape (n, B)
            One-hot batch.
        library : torch.Tensor, shape (n,)
            Library size; an empty cell counts as one of size 1.
        training : bool
            Whether batch normalisation uses, and updates with, this batch's statistics.

        Returns
        -------
        log_mean : torch.Tensor, shape (n, G)
            log of library × softmax.
        dropout_logits : torch.Tensor, shape (n, G), or None
        """
        hidden = torch.cat([z, covariates], -1)
        for layer in self.decoder:
            hidden = layer(hidden, training)
        output = self.decoder_head(hidden)
        log_library = library.clamp_min(1).log().unsqueeze(-1)
        log_scale, *dropout_logits = output.split(self.n_genes, -1)
        log_mean = log_scale.log_softmax(-1) + log_library
        return log_mean, dropout_logits[0] if dropout_logits else None

    def log_likelihood(self, batch: CellBatch, z: Tensor, training: bool = False) -> Tensor:
        """Return log p(x|z, s), shape (n,)."""
        library = batch.counts.sum(-1)
        log_mean, dropout_logits = self.decode(z, batch.covariates, library, training)
        return count_log_likelihood(
            batch.counts, log_mean, self.log_inverse_dispersion, dropout_logits
        )

    def encode_pseudo_inputs(self, pseudo_inputs: Tensor) -> DiagonalNormal:
        """Return g(u): counts by softplus − 1, batch by softmax; (K, G + B) unconstrained."""
        raw_counts, raw_covariates = pseudo_inputs.split([self.n_genes, self.n_batches], -1)
        positive = F.softplus(raw_counts)
        # log1p(counts) = log(softplus): exact also where the count nears −1.
        seen = positive.clamp_min(TINY).log() if self.log_counts else positive - 1
        return self._encode(seen, raw_covariates.softmax(-1), training=False, noise=None)

    def initial_pseudo_inputs(self, batch: CellBatch) -> Tensor:
        """Return pseudo-inputs with the cells' counts and an even mixture of batches."""
        counts = inverse_softplus(batch.counts + 1)
        return torch.cat([counts, torch.zeros_like(batch.covariates)], -1)


def _hidden_layers(
    n_in: int, widths: list[int], dropout: float, generator: torch.Generator | None
) -> nn.ModuleList:
    layers = [HiddenLayer(a, b, dropout, generator) for a, b in pairwise([n_in, *widths])]
    return nn.ModuleList(layers)
