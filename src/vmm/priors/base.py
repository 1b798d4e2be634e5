"""What models, training and everything else know of a prior of the latent space.

A model hands a prior samples of its posteriors and a function `encode` that maps pseudo-inputs to
posteriors; the prior knows nothing else of the model. Notation: p latent dimension, K components,
N points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from vmm.numerics.gaussians import Normal, as_normal

Encode = Callable[[Tensor], Any]
"""Maps K pseudo-inputs (K, D) to their K posteriors q(·; g(u)): normal distributions of
:mod:`vmm.numerics.gaussians`, or of PyTorch."""


def encoded(encode: Encode | None, pseudo_inputs: Tensor) -> Normal:
    """Return the posteriors of pseudo-inputs, which without `encode` say nothing of z."""
    if encode is None:
        raise TypeError("a prior made of pseudo-inputs needs `encode`")
    return as_normal(encode(pseudo_inputs))


class Pretraining(NamedTuple):
    """How a VAE is trained without the KL before its prior is started from samples of z."""

    learning_rate: float
    epochs: int


class Prior(nn.Module):
    """A prior p(z; ψ): what models, training, the API, samples and figures know of it.

    A subclass implements :meth:`log_prob`; one with components (`n_components` > 0) also
    :meth:`log_weights`, :meth:`cluster_log_probs`, :meth:`moments` and :meth:`sample_component`;
    one that is fitted by Empirical Bayes :meth:`prior_step_loss` and
    :meth:`empirical_bayes_parameters`. All are functions of their arguments and the parameters,
    made of operators that ``torch.func.vmap`` knows.

    Parameters
    ----------
    latent_dim : int
        Dimension p of the latent space.
    n_components : int
        Number K of components; 0 for a prior that does not cluster.
    pseudo_inputs : torch.Tensor, shape (K, D), optional
        Initial pseudo-inputs, in the model's own unconstrained form, of a prior that has any.

    Attributes
    ----------
    pseudo_inputs : torch.nn.Parameter, shape (K, D), or None
    """

    has_pseudo_inputs = False
    """Whether it is made of encoded pseudo-inputs."""
    is_standard_normal = False
    """Whether it is N(0, I), which methods of scvi-tools assume."""
    starts_from_data = False
    """Whether it needs as many training points as it has components."""
    can_sleep = False
    """Whether it can do without components that no point uses; see :meth:`narrowed`."""
    pseudo_inputs: nn.Parameter | None

    def __init__(self, latent_dim: int, n_components: int = 0, pseudo_inputs: Tensor | None = None):
        super().__init__()
        self.latent_dim = latent_dim
        self.n_components = n_components
        fitted = None if pseudo_inputs is None else nn.Parameter(pseudo_inputs.clone())
        self.register_parameter("pseudo_inputs", fitted)

    @classmethod
    def initial(
        cls,
        latent_dim: int,
        n_components: int,
        pseudo_inputs: Tensor | None,
        generator: torch.Generator | None,
        **options: Any,
    ) -> Self:
        """Make the prior that a training starts from; see :func:`vmm.priors.make_prior`."""
        make: Callable[..., Self] = cls  # a subclass takes what it is made from
        if cls.has_pseudo_inputs:
            return make(latent_dim, pseudo_inputs, **options)
        return make(latent_dim, **options)

    # Density and samples

    def log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log p(z), shape (N,), for `z` of shape (N, p)."""
        raise NotImplementedError(f"{type(self).__name__} lacks log_prob")

    def kl(self, q: Any, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Estimate KL(q ‖ p) by −H(q) − log p(z) from one sample `z` ~ `q`, shape (N,).

        Both `q` and what `encode` returns may be PyTorch's normal distributions.
        """
        return -as_normal(q).entropy() - self.log_prob(z, encode)

    # Components

    def log_weights(self) -> Tensor:
        """Return log π, shape (K,); of a prior without components that of the only one, (1,)."""
        raise NotImplementedError(f"{type(self).__name__} lacks log_weights")

    def moments(self, encode: Encode | None = None) -> tuple[Tensor, Tensor]:
        """Return the means (K, p) and covariances (K, p, p) of the components."""
        raise NotImplementedError(f"{type(self).__name__} lacks moments")

    def sample_component(
        self, component: Tensor, noise: Tensor, encode: Encode | None = None
    ) -> Tensor:
        """Map standard-normal `noise` (N, p) to samples of the given components (N,)."""
        means, covariances = self.moments(encode)
        scale_tril, _ = torch.linalg.cholesky_ex(covariances)
        step = (scale_tril[component] @ noise.unsqueeze(-1)).squeeze(-1)
        return means[component] + step

    def cluster_log_probs(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log q(c = j | z), shape (N, K), normalised over j."""
        raise TypeError(f"{type(self).__name__} has no clusters")

    def hyperparameters(self) -> dict[str, float]:
        """Return what else was fitted, by name, for people to read."""
        return {}

    # Fitting

    def variational_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the variational step fits together with the model."""
        return []

    def empirical_bayes_parameters(self) -> list[nn.Parameter]:
        """Return the parameters ψ that the Empirical Bayes step fits."""
        return []

    def prior_step_loss(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return the loss of the Empirical Bayes step, a scalar."""
        raise TypeError(f"{type(self).__name__} has no Empirical Bayes step")

    def points_of_components(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return how many of the points `z` (N, p) each component has, by several measures.

        Shape (measures, K): sums over points, which are added up over all points before the
        larger measure of a component counts.
        """
        raise TypeError(f"{type(self).__name__} has no components that could sleep")

    def narrowed(self, order: Tensor, width: int, n_awake: int | None = None) -> Self:
        """Return the prior in which only some components are computed: the others sleep.

        Parameters
        ----------
        order : torch.Tensor of int, shape (K,)
            All components, those that are awake first.
        width : int
            How many are computed, the first of `order`.
        n_awake : int, optional
            How many of these are awake; the others are computed in vain, for the shape's sake, and
            have no part in any point. By default all.
        """
        raise TypeError(f"{type(self).__name__} has no components that could sleep")

    def pretraining(self, batch_size: int) -> Pretraining | None:
        """Return how the model is trained before the prior is started, None if it is not."""
        return None

    def start_from(self, z: Tensor, seed: int) -> None:
        """Start the prior from samples `z` (N, p) of the pre-trained model."""
        raise TypeError(f"{type(self).__name__} has no pre-training")
