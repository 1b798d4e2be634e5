"""scVI's networks with any prior, in plain PyTorch."""

from __future__ import annotations

from itertools import pairwise
from typing import Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmm.errors import InputError
from vmm.models.base import LatentVariableModel, Noise
from vmm.models.networks import HiddenLayer, linear
from vmm.models.records import CellNetworks, Dispersion, Likelihood
from vmm.models.tensors import CellBatch, CellTensors
from vmm.numerics.counts import count_log_likelihood, log_softplus, poisson_log_likelihood
from vmm.numerics.gaussians import MIN_SCALE, DiagonalNormal, inverse_softplus

TINY = 1e-30


class CountVAE(LatentVariableModel):
    """scVI's VAE: counts explained by a latent cell state, batch and covariates, and library size.

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
    likelihood : {"zinb", "nb", "poisson"}
    dropout : float
        Probability of dropouts in the encoder.
    log_counts : bool
        Whether the encoder sees log1p of the counts, or the counts as they are, as in the code
        that made the published numbers.
    generator : torch.Generator, optional
        Source of the initial weights.
    n_categories : tuple of int
        Number of categories of each categorical covariate beside the batch.
    n_continuous : int
        Number of continuous covariates.
    size_factors : bool
        Whether cells bring size factors: then the mean of the counts is size factor × softplus,
        else library size × softmax, as in scvi-tools.
    dispersion : {"gene", "gene-batch"}
        Whether each gene has one dispersion, or one in each batch. Poisson has none.
    encode_covariates : bool
        Whether the encoder, and so the pseudo-inputs, have batch and covariates.

    Attributes
    ----------
    n_covariates : int
        C, of what a network is told of a cell: continuous covariates, each categorical one
        one-hot, and last, where a query adds new ones, the one-hot batch.
    """

    log_inverse_dispersion: nn.Parameter

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
        n_categories: tuple[int, ...] = (),
        n_continuous: int = 0,
        size_factors: bool = False,
        dispersion: Dispersion = "gene",
        encode_covariates: bool = True,
    ):
        super().__init__()
        check_likelihood(likelihood, dispersion)
        self.n_genes, self.n_batches, self.latent_dim = n_genes, n_batches, latent_dim
        self.likelihood, self.n_hidden = likelihood, n_hidden
        self.log_counts, self.encode_covariates = log_counts, encode_covariates
        self.n_categories, self.n_continuous = tuple(n_categories), n_continuous
        self.n_covariates = n_continuous + sum(n_categories) + n_batches
        self.size_factors, self.dispersion = size_factors, dispersion
        widths = [n_hidden] * n_layers
        n_seen = n_genes + self.n_encoded
        self.encoder = _hidden_layers(n_seen, widths, dropout, generator)
        self.encoder_head = linear(n_hidden, 2 * latent_dim, generator)
        self.decoder = _hidden_layers(latent_dim + self.n_covariates, widths, 0.0, generator)
        n_outputs = 2 * n_genes if likelihood == "zinb" else n_genes
        self.decoder_head = linear(n_hidden, n_outputs, generator)
        shape = (n_batches, n_genes) if dispersion == "gene-batch" else (n_genes,)
        log_theta = None if likelihood == "poisson" else nn.Parameter(torch.zeros(shape))
        self.register_parameter("log_inverse_dispersion", log_theta)

    @property
    def n_encoded(self) -> int:
        """Numbers that the encoder gets beside counts."""
        return self.n_covariates if self.encode_covariates else 0

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
            n_categories=data.n_categories,
            n_continuous=data.n_continuous,
            size_factors=data.size_factor is not None,
            dispersion=networks.dispersion,
            encode_covariates=networks.encode_covariates,
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
        hidden = torch.cat([seen, covariates], -1) if self.encode_covariates else seen
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
        covariates : torch.Tensor, shape (n, C)
            As in :class:`vmm.models.tensors.CellBatch`.
        library : torch.Tensor, shape (n,)
            Library size, of which an empty cell counts as one of size 1, or size factor.
        training : bool
            Whether batch normalisation uses, and updates with, this batch's statistics.

        Returns
        -------
        log_mean : torch.Tensor, shape (n, G)
            log of library × softmax, or of size factor × softplus.
        dropout_logits : torch.Tensor, shape (n, G), or None
        """
        hidden = torch.cat([z, covariates], -1)
        for layer in self.decoder:
            hidden = layer(hidden, training)
        output = self.decoder_head(hidden)
        raw, *dropout_logits = output.split(self.n_genes, -1)
        log_scale = log_softplus(raw) if self.size_factors else raw.log_softmax(-1)
        library = library if self.size_factors else library.clamp_min(1)
        log_mean = log_scale + library.log().unsqueeze(-1)
        return log_mean, dropout_logits[0] if dropout_logits else None

    def log_theta(self, covariates: Tensor) -> Tensor:
        """Return the log inverse dispersion: (G,) of the genes, or (n, G) in the cells' batches."""
        if self.dispersion == "gene":
            return self.log_inverse_dispersion
        return covariates[..., -self.n_batches :] @ self.log_inverse_dispersion

    def log_likelihood(self, batch: CellBatch, z: Tensor, training: bool = False) -> Tensor:
        """Return log p(x|z, s), shape (n,)."""
        log_mean, dropout_logits = self.decode(z, batch.covariates, batch.library, training)
        if self.likelihood == "poisson":
            return poisson_log_likelihood(batch.counts, log_mean)
        log_theta = self.log_theta(batch.covariates)
        return count_log_likelihood(batch.counts, log_mean, log_theta, dropout_logits)

    def encode_pseudo_inputs(self, pseudo_inputs: Tensor) -> DiagonalNormal:
        """Return g(u) of unconstrained pseudo-inputs (K, G + C), or (K, G) without covariates.

        Counts are softplus − 1, batch and each categorical covariate softmax, continuous
        covariates the numbers as they are.
        """
        raw_counts, raw_covariates = pseudo_inputs.split([self.n_genes, self.n_encoded], -1)
        positive = F.softplus(raw_counts)
        # log1p(counts) = log(softplus): exact also where the count nears −1.
        seen = positive.clamp_min(TINY).log() if self.log_counts else positive - 1
        covariates = self._constrained(raw_covariates) if self.encode_covariates else raw_covariates
        return self._encode(seen, covariates, training=False, noise=None)

    def _constrained(self, raw: Tensor) -> Tensor:
        """Return covariates (K, C) of unconstrained ones."""
        if self.n_covariates == self.n_batches:
            return raw.softmax(-1)
        sizes = [self.n_continuous, *self.n_categories, self.n_batches]
        numbers, *logits = raw.split(sizes, -1)
        return torch.cat([numbers, *(part.softmax(-1) for part in logits)], -1)

    def initial_pseudo_inputs(self, batch: CellBatch) -> Tensor:
        """Return pseudo-inputs with the cells' counts and continuous covariates.

        Of batches, and of the categories of each covariate, they are an even mixture.
        """
        counts = inverse_softplus(batch.counts + 1)
        if not self.encode_covariates:
            return counts
        numbers = batch.covariates[..., : self.n_continuous]
        even = torch.zeros_like(batch.covariates[..., self.n_continuous :])
        return torch.cat([counts, numbers, even], -1)


def check_likelihood(likelihood: str, dispersion: str, name: str = "likelihood") -> None:
    """Refuse what is no likelihood of counts, or no dispersion of it.

    Parameters
    ----------
    likelihood, dispersion : str
    name : str
        Of the argument that gave the likelihood.

    Raises
    ------
    InputError
        Which is a ValueError.
    """
    for argument, value, known in (
        (name, likelihood, get_args(Likelihood)),
        ("dispersion", dispersion, get_args(Dispersion)),
    ):
        if value not in known:
            *others, last = map(repr, known)
            raise InputError(f"{argument} is {value!r}; it must be {', '.join(others)} or {last}")
    if likelihood == "poisson" and dispersion != "gene":
        raise InputError(
            f"dispersion is {dispersion!r}, but the Poisson distribution has none; leave it out"
        )


def _hidden_layers(
    n_in: int, widths: list[int], dropout: float, generator: torch.Generator | None
) -> nn.ModuleList:
    layers = [HiddenLayer(a, b, dropout, generator) for a, b in pairwise([n_in, *widths])]
    return nn.ModuleList(layers)
