"""The two approximate Dirichlet-process mixtures: of points (GMM), of pseudo-inputs (VMM).

References
----------
Stirn and Knowles, "The VampPrior Mixture Model", arXiv:2402.04412 (2024).
"""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmm.numerics.gaussians import (
    MIN_SCALE,
    Normal,
    inverse_softplus,
    log_diagonal,
    positive_cholesky,
    whitened_log_prob,
    widened_log_prob,
)
from vmm.priors.base import Encode, Prior, encoded
from vmm.priors.hyperpriors import (
    ConcentrationPrior,
    WishartScale,
    expected_log_joint,
    objective,
)

ASLEEP = -1e4
"""Added to the log weight of a component that has no part in any point; exp(−1e4) is 0."""


class MixturePrior(Prior):
    r"""What the two approximate Dirichlet-process mixtures share.

    .. math:: \alpha \sim \text{InverseGamma}(1, 1), \quad
              \pi \mid \alpha \sim \text{Dirichlet}(\alpha / K), \quad
              \Lambda_j \sim \text{Wishart}(p + 2, K^{1/p} / (p + 2) \, I)

    Equations 5, 6 and 8 of Stirn and Knowles (2024). Initially π is uniform, α = 1 and Λ_j = I.

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
    dirichlet_process : bool
        Whether α is fitted. If not, it is 1 and has no prior: an ablation, in which
        `concentration_prior` says nothing.

    Notes
    -----
    Weights π are those of all K components. The other parameters may have fewer rows, those of the
    first components, which alone are computed (:meth:`narrowed`).
    """

    can_sleep = True
    asleep: Tensor | None
    """Added to the log weights of those that are computed, where some of them sleep."""

    def __init__(
        self,
        latent_dim: int,
        n_components: int,
        responsibility_gradient: bool = True,
        concentration_prior: ConcentrationPrior = "inverse_gamma",
        wishart_scale: WishartScale = "paper",
        dirichlet_process: bool = True,
        pseudo_inputs: Tensor | None = None,
    ):
        super().__init__(latent_dim, n_components, pseudo_inputs)
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
        self.dirichlet_process = dirichlet_process
        one = torch.ones(())
        identity = torch.diag_embed(
            inverse_softplus((one - MIN_SCALE).expand(n_components, latent_dim))
        )
        self.weight_logits = nn.Parameter(torch.zeros(n_components))
        self.precision_raw = nn.Parameter(identity)
        self.concentration_raw = nn.Parameter(inverse_softplus(one), dirichlet_process)
        self.register_buffer("asleep", None)

    def log_weights(self) -> Tensor:
        """Return log π, shape (K,)."""
        return self.weight_logits.log_softmax(-1)

    def of_computed(self, log_weights: Tensor) -> Tensor:
        """Return of log π (K,) that of the components that are computed."""
        if len(self.precision_raw) < self.n_components:
            log_weights = log_weights[: len(self.precision_raw)]
        return log_weights if self.asleep is None else log_weights + self.asleep

    def precision_cholesky(self) -> Tensor:
        """Return lower-triangular L_j with Λ_j = L_j L_jᵀ, shape (K, p, p)."""
        return positive_cholesky(self.precision_raw)

    def concentration(self) -> Tensor:
        """Return the concentration α, a scalar."""
        if not self.dirichlet_process:
            return torch.ones_like(self.concentration_raw)
        value = F.softplus(self.concentration_raw)
        return value if self.concentration_prior == "inverse_gamma" else value.reciprocal()

    def centres(self, encode: Encode | None) -> Tensor | Normal:
        """Return the centres: points (K, p), or the distribution of uncertain ones."""
        raise NotImplementedError(f"{type(self).__name__} lacks centres")

    def component_log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return the log density of each point under each component, shape (N, K)."""
        centres, cholesky = self.centres(encode), self.precision_cholesky()
        if isinstance(centres, Tensor):
            return whitened_log_prob(z, centres, cholesky.mT, log_diagonal(cholesky))
        return widened_log_prob(z, centres, cholesky)

    def log_prob(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log Σ_j π_j p(z | c = j), shape (N,).

        Equations 4 and 11 of Stirn and Knowles (2024).
        """
        return self._log_terms(z, encode).logsumexp(-1)

    def _log_terms(self, z: Tensor, encode: Encode | None) -> Tensor:
        return self.of_computed(self.log_weights()) + self.component_log_prob(z, encode)

    def expected_log_joint(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return log ρ_ij = log π_j + E log N(z_i; μ_j, Λ_j⁻¹), shape (N, K).

        The expectation is over the uncertain centre, if it is: −½ tr(Λ_j S_j).
        """
        centres, cholesky = self.centres(encode), self.precision_cholesky()
        return expected_log_joint(z, centres, cholesky, self.of_computed(self.log_weights()))

    def cluster_log_probs(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return the E-step's log q(c_i = j) = log softmax_j log ρ_ij, shape (N, K)."""
        return self.expected_log_joint(z, encode).log_softmax(-1)

    def prior_step_loss(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return −1/M [Σ_ij q(c_i=j) log ρ_ij + log hyperprior] for M points `z`, a scalar.

        The hyperprior is not scaled by N/M: this up-weighting is the paper's knob on the number
        of clusters (Section 3.2 of Stirn and Knowles (2024)).
        """
        log_weights = self.log_weights()
        value = objective(
            z,
            self.centres(encode),
            self.precision_cholesky(),
            log_weights,
            self.concentration(),
            self.responsibility_gradient,
            self.concentration_prior,
            self.wishart_scale,
            self.dirichlet_process,
            self.of_computed(log_weights),
        )
        return -value / len(z)

    def empirical_bayes_parameters(self) -> list[nn.Parameter]:
        """Return ψ: α, unless it is fixed, π, Λ and the means or pseudo-inputs."""
        fixed = None if self.dirichlet_process else self.concentration_raw
        return [parameter for parameter in self.parameters() if parameter is not fixed]

    def points_of_components(self, z: Tensor, encode: Encode | None = None) -> Tensor:
        """Return Σ_i q(c_i=j), and the sum of the components' parts of the density, (2, K)."""
        parts = self.cluster_log_probs(z, encode), self._log_terms(z, encode).log_softmax(-1)
        return torch.stack(parts).exp().sum(1)

    def narrowed(self, order: Tensor, width: int, n_awake: int | None = None) -> Self:
        """Return the prior in which only some components are computed; π and α are of all K.

        π follows `order`; α is the same tensor. See :meth:`vmm.priors.base.Prior.narrowed`.
        """
        narrow = copy.copy(self)
        # A shallow copy of a module shares the dictionaries that its tensors are kept in.
        narrow._parameters, narrow._buffers = self._parameters.copy(), self._buffers.copy()
        for name, whole in self._parameters.items():
            if whole is not None and name != "concentration_raw":
                rows = order if name == "weight_logits" else order[:width]
                part = nn.Parameter(whole.detach()[rows], whole.requires_grad)
                narrow.register_parameter(name, part)
        if n_awake is not None:
            asleep = torch.arange(width, device=order.device) >= n_awake
            narrow.asleep = ASLEEP * asleep.to(self.weight_logits.dtype)
        return narrow

    def moments(self, encode: Encode | None = None) -> tuple[Tensor, Tensor]:
        """Return the means m_j (K, p) and the covariances Λ_j⁻¹ + S_j (K, p, p)."""
        centres = self.centres(encode)
        covariance = torch.cholesky_inverse(self.precision_cholesky())
        if isinstance(centres, Tensor):
            return centres, covariance
        return centres.mean, covariance + centres.covariance()

    def hyperparameters(self) -> dict[str, float]:
        """Return the concentration α of the Dirichlet process, if it is one."""
        if not self.dirichlet_process:
            return {}
        return {"concentration": float(self.concentration().detach())}


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
        return cls(latent_dim, n_components, generator, **options)

    def centres(self, encode: Encode | None) -> Tensor:
        """Return the means μ, shape (K, p)."""
        return self.means


class VampPriorMixture(MixturePrior):
    """The VampPrior Mixture Model: Σ_j π_j N(z; m_j, Λ_j⁻¹ + S_j), N(m_j, S_j) = g(u_j).

    Stirn and Knowles (2024).

    Parameters
    ----------
    latent_dim : int
        Dimension p of the latent space.
    pseudo_inputs : torch.Tensor, shape (K, D)
        Initial pseudo-inputs, in the model's own unconstrained form.
    **switches
        Passed to :class:`MixturePrior`.
    """

    has_pseudo_inputs = starts_from_data = True
    pseudo_inputs: nn.Parameter

    def __init__(self, latent_dim: int, pseudo_inputs: Tensor, **switches):
        super().__init__(latent_dim, len(pseudo_inputs), pseudo_inputs=pseudo_inputs, **switches)

    def centres(self, encode: Encode | None) -> Normal:
        """Return q(μ_j; u_j) = g(u_j) of the K centres."""
        return encoded(encode, self.pseudo_inputs)
