"""What all models share: the ELBO of a latent-variable model under any prior."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from vmm.numerics.gaussians import Normal
from vmm.priors.base import Prior

Noise = dict[str, Tensor]
"""Random numbers of one step, drawn beforehand: losses are pure functions of them."""


class LatentVariableModel(nn.Module):
    """A VAE with any prior: encoder g(x; φ), decoder f(z; θ), prior p(z; ψ).

    A subclass builds its networks, calls :meth:`set_prior`, and implements :meth:`posterior`,
    :meth:`log_likelihood` and :meth:`encode_pseudo_inputs`.

    Whether batch normalisation and dropout act is an argument (`training`), not a state: in one
    step the batch is encoded in training mode and the pseudo-inputs in evaluation mode.
    """

    prior: Prior
    latent_dim: int
    decode: Callable[..., Any]
    """Maps z to the parameters of p(x|z)."""
    cluster_by_sample = False
    """Whether clusters are by default those of a sample of z, or of its mean."""

    @classmethod
    def for_data(cls, data: Any, networks: Any, generator: torch.Generator | None) -> Self:
        """Return untrained networks without a prior for a data set.

        Parameters
        ----------
        data : ImageTensors or CellTensors
        networks
            Sizes, of the type that the record in :mod:`vmm.models.records` names.
        generator : torch.Generator, optional
            Source of the initial weights.
        """
        raise NotImplementedError(f"{cls.__name__} lacks for_data")

    def forward(self, function: Callable, *inputs: Any) -> Any:
        """Return ``function(self, *inputs)``, for `torch.func.functional_call`."""
        return function(self, *inputs)

    def posterior(self, batch: Any, training: bool = False, noise: Noise | None = None) -> Normal:
        """Return q(z|x) of a batch of n."""
        raise NotImplementedError(f"{type(self).__name__} lacks posterior")

    def log_likelihood(self, batch: Any, z: Tensor, training: bool = False) -> Tensor:
        """Return log p(x|z), shape (n,), in nats per image or cell."""
        raise NotImplementedError(f"{type(self).__name__} lacks log_likelihood")

    def encode_pseudo_inputs(self, pseudo_inputs: Tensor) -> Normal:
        """Return g(u) for unconstrained pseudo-inputs (K, D), always in evaluation mode."""
        raise NotImplementedError(f"{type(self).__name__} lacks encode_pseudo_inputs")

    def initial_pseudo_inputs(self, batch: Any) -> Tensor:
        """Return the unconstrained pseudo-inputs (K, D) that stand for a batch of K points."""
        raise NotImplementedError(f"{type(self).__name__} lacks initial_pseudo_inputs")

    def draw_noise(self, n: int, generator: torch.Generator | None, device) -> Noise:
        """Return the random numbers of one variational step on a batch of `n`."""
        shape = (n, self.latent_dim)
        return {"latent": torch.randn(shape, generator=generator, device=device)}

    def elbo(
        self, batch: Any, noise: Noise, training: bool = False, kl_weight: float = 1.0
    ) -> Tensor:
        """Return log p(x|z) − KL(q(z|x) ‖ p(z)) with one sample z, shape (n,), in nats.

        Parameters
        ----------
        batch
            n images or cells.
        noise : dict of torch.Tensor
            From :meth:`draw_noise`.
        training : bool
            Whether batch normalisation uses (and updates with) this batch's statistics, and
            dropout acts.
        kl_weight : float
            0 leaves the prior out, as VaDE's pre-training does.
        """
        q = self.posterior(batch, training, noise)
        z = q.rsample(noise["latent"])
        log_likelihood = self.log_likelihood(batch, z, training)
        if kl_weight == 0:
            return log_likelihood
        return log_likelihood - kl_weight * self.prior.kl(q, z, self.encode_pseudo_inputs)

    def prior_loss(self, batch: Any, noise: Tensor) -> Tensor:
        """Return the loss of the Empirical Bayes step for z ~ q(z|x) of a batch, a scalar.

        Parameters
        ----------
        batch
            n images or cells.
        noise : torch.Tensor, shape (n, p)
            Standard normal; z is held fixed.
        """
        with torch.no_grad():
            z = self.posterior(batch).rsample(noise)
        return self.prior.prior_step_loss(z, self.encode_pseudo_inputs)

    def variational_parameters(self) -> list[nn.Parameter]:
        """Return φ and θ, and what the prior wants fitted with them."""
        networks = [p for name, p in self.named_parameters() if not name.startswith("prior.")]
        return networks + self.prior.variational_parameters()


class Encoder(Protocol):
    """What encodes pseudo-inputs."""

    def encode_pseudo_inputs(self, pseudo_inputs: Tensor) -> Normal:
        """Return g(u)."""
        ...


def encode_once(model: Encoder) -> Callable[[Tensor], Normal]:
    """Return an `encode` for fixed parameters: the pseudo-inputs are encoded only once."""
    known: list[Normal] = []

    def encode(pseudo_inputs: Tensor) -> Normal:
        if not known:
            known.append(model.encode_pseudo_inputs(pseudo_inputs))
        return known[0]

    return encode
