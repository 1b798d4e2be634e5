r"""The four priors of the latent space, behind one small interface.

A model hands a prior samples of its posteriors and a function `encode` that maps pseudo-inputs to
posteriors; the prior knows nothing else of the model. Notation: p latent dimension, K components,
N points.

References
----------
.. [1] Stirn and Knowles, "The VampPrior Mixture Model", arXiv:2402.04412 (2024).
.. [2] Tomczak and Welling, "VAE with a VampPrior", AISTATS (2018).
.. [3] Jiang et al., "Variational Deep Embedding", IJCAI (2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmm.empirical_bayes import (
    ConcentrationPrior,
    WishartScale,
    expected_log_joint,
    log_dirichlet,
    log_inverse_gamma,
    log_wishart,
    objective,
)
from vmm.gaussians import (
    LOG_2PI,
    MIN_SCALE,
    DiagonalNormal,
    FullRankNormal,
    Normal,
    inverse_softplus,
    log_diagonal,
    positive_cholesky,
    whitened_log_prob,
    widened_log_prob,
)

Encode = Callable[[Tensor], Normal]
"""Maps K pseudo-inputs (K, D) to their K posteriors q(·; g(u))."""


class Prior(nn.Module):
    """What models and the training loop know of a prior.

    Parameters
    ----------
    latent_dim : int
        Dimension p of the latent space.
    n_components : int
        Number K of components; 0 for a prior that does not cluster.
    """

    def __init__(self, latent_dim: int, n_components: int = 0):
        super().__init__()
        self.latent_dim = latent_dim
        self.n_components = n_components

    def log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log p(z), shape (N,), for `z` of shape (N, p)."""
        raise NotImplementedError

    def kl(self, q: Normal, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Estimate KL(q ‖ p) by −H(q) − log p(z) from one sample `z` ~ `q`, shape (N,)."""
        return -q.entropy() - self.log_prob(z, encode)

    def cluster_log_probs(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log q(c = j | z), shape (N, K), normalised over j."""
        raise TypeError(f"{type(self).__name__} has no clusters")

    def prior_step_loss(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return the loss of the Empirical Bayes step, a scalar."""
        raise TypeError(f"{type(self).__name__} has no Empirical Bayes step")

    def variational_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the variational step fits together with the model."""
        return []

    def empirical_bayes_parameters(self) -> list[nn.Parameter]:
        """Return the parameters ψ that the Empirical Bayes step fits."""
        return []

    def sample_component(
        self, component: Tensor, noise: Tensor, encode: Encode | None = None
    ) -> Tensor:
        """Map standard-normal `noise` (N, p) to samples of the given components (N,)."""
        raise TypeError(f"{type(self).__name__} has no components")


class StandardNormal(Prior):
    """The prior N(0, I); its KL is analytic."""

    def log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log N(z; 0, I), shape (N,)."""
        return -0.5 * (z.square().sum(-1) + self.latent_dim * LOG_2PI)

    def kl(self, q: Normal, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return the exact KL(q ‖ N(0, I)), shape (N,)."""
        cross_entropy = 0.5 * (q.second_moment() + self.latent_dim * LOG_2PI)
        return cross_entropy - q.entropy()


class VampPrior(Prior):
    """The mixture of posteriors at pseudo-inputs, p(z) = 1/K Σ_j q(z; g(u_j)) [2]_.

    Parameters
    ----------
    latent_dim : int
        Dimension p of the latent space.
    pseudo_inputs : torch.Tensor, shape (K, D)
        Initial pseudo-inputs, in the model's own unconstrained form.
    trainable : bool, default: True
        Whether the pseudo-inputs are fitted. The paper's published scVI code never fits them.
    """

    def __init__(self, latent_dim: int, pseudo_inputs: Tensor, trainable: bool = True):
        super().__init__(latent_dim, len(pseudo_inputs))
        self.pseudo_inputs = nn.Parameter(pseudo_inputs.clone(), requires_grad=trainable)

    def component_log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        """Return log q(z_i; g(u_j)), shape (N, K)."""
        return encode(self.pseudo_inputs).component_log_prob(z)

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

    def sample_component(
        self, component: Tensor, noise: Tensor, encode: Encode | None = None
    ) -> Tensor:
        """Map `noise` (N, p) to samples of q(z; g(u_j)) for the components j (N,)."""
        return encode(self.pseudo_inputs[component]).rsample(noise)


class MixturePrior(Prior):
    r"""What the two approximate Dirichlet-process mixtures share.

    .. math:: \alpha \sim \text{InverseGamma}(1, 1), \quad
              \pi \mid \alpha \sim \text{Dirichlet}(\alpha / K), \quad
              \Lambda_j \sim \text{Wishart}(p + 2, K^{1/p} / (p + 2) \, I)

    Equations 5, 6 and 8 of [1]_. Initially π is uniform, α = 1 and Λ_j = I.

    Parameters
    ----------
    latent_dim, n_components : int
        Dimension p of the latent space and number K of components.
    responsibility_gradient : bool
        Whether gradients of the Empirical Bayes step also flow through the responsibilities
        q(c), as in the paper's published code, or these are held fixed as in EM.
    concentration_prior : {"inverse_gamma", "gamma"}
        "inverse_gamma": α ~ InverseGamma(1, 1), as in the paper. "gamma": β = 1/α ~ Gamma(1, 1),
        a density of β without the Jacobian, as in the published code.
    wishart_scale : {"paper", "published_code"}
        "paper": E[Λ_j] = K^{1/p} I. "published_code": E[Λ_j] = K^{2/p} I, with which all published
        numbers were made.
    """

    def __init__(
        self,
        latent_dim: int,
        n_components: int,
        responsibility_gradient: bool = True,
        concentration_prior: ConcentrationPrior = "inverse_gamma",
        wishart_scale: WishartScale = "paper",
    ):
        super().__init__(latent_dim, n_components)
        if concentration_prior not in ("inverse_gamma", "gamma"):
            raise ValueError(
                f"concentration_prior is {concentration_prior!r}; "
                "it must be 'inverse_gamma' or 'gamma'"
            )
        if wishart_scale not in ("paper", "published_code"):
            raise ValueError(
                f"wishart_scale is {wishart_scale!r}; it must be 'paper' or 'published_code'"
            )
        self.responsibility_gradient = responsibility_gradient
        self.concentration_prior = concentration_prior
        self.wishart_scale = wishart_scale
        one = torch.ones(())
        identity = torch.diag_embed(
            inverse_softplus((one - MIN_SCALE).expand(n_components, latent_dim))
        )
        self.weight_logits = nn.Parameter(torch.zeros(n_components))
        self.precision_raw = nn.Parameter(identity)
        self.concentration_raw = nn.Parameter(inverse_softplus(one))

    def log_weights(self) -> Tensor:
        """Return log π, shape (K,)."""
        return self.weight_logits.log_softmax(-1)

    def precision_cholesky(self) -> Tensor:
        """Return lower-triangular L_j with Λ_j = L_j L_jᵀ, shape (K, p, p)."""
        return positive_cholesky(self.precision_raw)

    def concentration(self) -> Tensor:
        """Return the concentration α, a scalar."""
        value = F.softplus(self.concentration_raw)
        return value if self.concentration_prior == "inverse_gamma" else value.reciprocal()

    def centres(self, encode: Encode | None) -> Tensor | Normal:
        """Return the centres: points (K, p), or the distribution of uncertain ones."""
        raise NotImplementedError

    def component_log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return the log density of each point under each component, shape (N, K)."""
        centres, cholesky = self.centres(encode), self.precision_cholesky()
        if isinstance(centres, Tensor):
            return whitened_log_prob(z, centres, cholesky.mT, log_diagonal(cholesky))
        return widened_log_prob(z, centres, cholesky)

    def log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log Σ_j π_j p(z | c = j), shape (N,); equations 4 and 11 of [1]_."""
        return (self.log_weights() + self.component_log_prob(z, encode)).logsumexp(-1)

    def expected_log_joint(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log ρ_ij = log π_j + E log N(z_i; μ_j, Λ_j⁻¹), shape (N, K).

        The expectation is over the uncertain centre, if it is: −½ tr(Λ_j S_j).
        """
        centres, cholesky = self.centres(encode), self.precision_cholesky()
        return expected_log_joint(z, centres, cholesky, self.log_weights())

    def cluster_log_probs(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return the E-step's log q(c_i = j) = log softmax_j log ρ_ij, shape (N, K)."""
        return self.expected_log_joint(z, encode).log_softmax(-1)

    def prior_step_loss(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return −1/M [Σ_ij q(c_i=j) log ρ_ij + log hyperprior] for M points `z`, a scalar.

        The hyperprior is not scaled by N/M: this up-weighting is the paper's knob on the number
        of clusters (Section 3.2 of [1]_).
        """
        value = objective(
            z,
            self.centres(encode),
            self.precision_cholesky(),
            self.log_weights(),
            self.concentration(),
            self.responsibility_gradient,
            self.concentration_prior,
            self.wishart_scale,
        )
        return -value / len(z)

    def empirical_bayes_parameters(self) -> list[nn.Parameter]:
        """Return ψ: α, π, Λ and the means or pseudo-inputs."""
        return list(self.parameters())

    def sample_component(
        self, component: Tensor, noise: Tensor, encode: Encode | None = None
    ) -> Tensor:
        """Map `noise` (N, p) to samples of N(m_j, Λ_j⁻¹ + S_j) for the components j (N,)."""
        centres, cholesky = self.centres(encode), self.precision_cholesky()
        mean = centres if isinstance(centres, Tensor) else centres.mean
        covariance = torch.cholesky_inverse(cholesky)
        if not isinstance(centres, Tensor):
            covariance = covariance + centres.covariance()
        scale_tril, _ = torch.linalg.cholesky_ex(covariance)
        return FullRankNormal(mean[component], scale_tril[component]).rsample(noise)


class GaussianMixture(MixturePrior):
    """The approximate Dirichlet-process Gaussian mixture Σ_j π_j N(z; μ_j, Λ_j⁻¹), μ_j ~ N(0, I).

    Parameters
    ----------
    latent_dim, n_components : int
        Dimension p of the latent space and number K of components.
    generator : torch.Generator, optional
        Source of the initial means, drawn from N(0, I).
    **switches
        Passed to :class:`MixturePrior`.
    """

    def __init__(
        self,
        latent_dim: int,
        n_components: int,
        generator: torch.Generator | None = None,
        **switches,
    ):
        super().__init__(latent_dim, n_components, **switches)
        self.means = nn.Parameter(torch.randn(n_components, latent_dim, generator=generator))

    def centres(self, encode: Encode | None) -> Tensor:
        """Return the means μ, shape (K, p)."""
        return self.means


class VampPriorMixture(MixturePrior):
    """The VampPrior Mixture Model: Σ_j π_j N(z; m_j, Λ_j⁻¹ + S_j), N(m_j, S_j) = g(u_j) [1]_.

    Parameters
    ----------
    latent_dim : int
        Dimension p of the latent space.
    pseudo_inputs : torch.Tensor, shape (K, D)
        Initial pseudo-inputs, in the model's own unconstrained form.
    **switches
        Passed to :class:`MixturePrior`.
    """

    def __init__(self, latent_dim: int, pseudo_inputs: Tensor, **switches):
        super().__init__(latent_dim, len(pseudo_inputs), **switches)
        self.pseudo_inputs = nn.Parameter(pseudo_inputs.clone())

    def centres(self, encode: Encode | None) -> Normal:
        """Return q(μ_j; u_j) = g(u_j) of the K centres."""
        return encode(self.pseudo_inputs)


class VaDEMixture(GaussianMixture):
    """VaDE's Gaussian mixture, fitted jointly with the VAE and without hyperpriors [3]_."""

    def kl(self, q: Normal, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return Σ_j q(c=j) [KL(q ‖ N(μ_j, Λ_j⁻¹)) + log q(c=j) − log π_j], shape (N,)."""
        log_probs = self.cluster_log_probs(z)
        divergence = self.component_kl(q) + log_probs - self.log_weights()
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

    @torch.no_grad()
    def initialise(self, z: Tensor, seed: int) -> None:
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


def make_prior(
    name: str,
    latent_dim: int,
    n_components: int,
    pseudo_inputs: Tensor | None = None,
    generator: torch.Generator | None = None,
    responsibility_gradient: bool = True,
    concentration_prior: ConcentrationPrior = "inverse_gamma",
    wishart_scale: WishartScale = "paper",
    train_pseudo_inputs: bool = True,
) -> Prior:
    """Make the prior with this short name: "normal", "vampprior", "gmm", "vmm" or "vade".

    Parameters
    ----------
    name : str
    latent_dim, n_components : int
    pseudo_inputs : torch.Tensor, shape (K, D), optional
        Needed by "vampprior" and "vmm".
    generator : torch.Generator, optional
        Source of the initial means of "gmm".
    responsibility_gradient, concentration_prior, wishart_scale
        See :class:`MixturePrior`.
    train_pseudo_inputs : bool
        See :class:`VampPrior`.
    """
    switches = {
        "responsibility_gradient": responsibility_gradient,
        "concentration_prior": concentration_prior,
        "wishart_scale": wishart_scale,
    }
    builders = {
        "normal": lambda: StandardNormal(latent_dim),
        "vampprior": lambda: VampPrior(latent_dim, pseudo_inputs, train_pseudo_inputs),
        "gmm": lambda: GaussianMixture(latent_dim, n_components, generator, **switches),
        "vmm": lambda: VampPriorMixture(latent_dim, pseudo_inputs, **switches),
        "vade": lambda: VaDEMixture(latent_dim, n_components, generator),
    }
    if name not in builders:
        raise ValueError(f"prior is {name!r}; it must be one of {', '.join(builders)}")
    return builders[name]()


__all__ = [
    "DiagonalNormal",
    "FullRankNormal",
    "GaussianMixture",
    "MixturePrior",
    "Prior",
    "StandardNormal",
    "VaDEMixture",
    "VampPrior",
    "VampPriorMixture",
    "log_dirichlet",
    "log_inverse_gamma",
    "log_wishart",
    "make_prior",
]
