"""The Empirical Bayes step for a model of your own, whatever trains its networks."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import Tensor

from vmm.priors.base import Encode, Prior
from vmm.training.steps import adam, descend, held_fixed


class EmpiricalBayes:
    """The optimiser of a prior's parameters ψ, the second beside that of the networks.

    It is called after each step of the networks' optimiser, which need not know of ψ. A prior
    without such parameters, or one whose parameters are all frozen, stays as it is.

    Parameters
    ----------
    prior : Prior
        On its device.
    rate : float
        Adam's learning rate γ₂, which may be changed at any time; larger gives fewer clusters.
    epsilon : float
        Adam's.

    Examples
    --------
    >>> empirical_bayes = EmpiricalBayes(prior, rate=5e-3)
    >>> empirical_bayes(vae.encode(batch).sample(), vae.encode)

    References
    ----------
    Stirn and Knowles, "The VampPrior Mixture Model", arXiv:2402.04412 (2024), Algorithm 1.
    """

    def __init__(self, prior: Prior, rate: float, epsilon: float = 1e-7):
        self.prior = prior
        fitted = [p for p in prior.empirical_bayes_parameters() if p.requires_grad]
        self.optimizer = adam(fitted, rate, epsilon) if fitted else None

    @property
    def rate(self) -> float:
        """The learning rate γ₂."""
        return 0.0 if self.optimizer is None else self.optimizer.param_groups[0]["lr"]

    @rate.setter
    def rate(self, rate: float) -> None:
        if self.optimizer is not None:
            self.optimizer.param_groups[0]["lr"] = rate

    def __call__(self, z: Tensor, encode: Encode | None = None) -> None:
        """Take step (3): one step on ψ, and on nothing else.

        Parameters
        ----------
        z : torch.Tensor, shape (M, p)
            A sample of q(z|x) of each point of the batch, which is held fixed.
        encode : callable, optional
            Maps pseudo-inputs to their posteriors, for a prior that is made of them.
        """
        if self.optimizer is not None:
            descend(self.optimizer, self.prior.prior_step_loss(z.detach(), encode))

    def held_fixed(self) -> AbstractContextManager[None]:
        """Let ψ be constant within the ``with`` block, in the step of the networks."""
        return nullcontext() if self.optimizer is None else held_fixed([self.optimizer])
