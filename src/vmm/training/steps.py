"""Algorithm 1: variational steps alternating with Empirical Bayes steps.

Stirn and Knowles, arXiv:2402.04412, Algorithm 1. Per batch: (1) one Adam step on the networks for
the ELBO; (2) samples of z from the updated posterior; (3) one Adam step on the prior's parameters.
Priors without Empirical Bayes parameters have only (1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from vmm.models.base import Noise

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam keeps of a parameter, in its shape."""


class Trainable(Protocol):
    """A model, or several of the same shape stacked: what the steps know of it."""

    def elbo(self, batch: Any, noise: Noise, training: bool, kl_weight: float) -> Tensor:
        """Return the ELBO of each point, shape (..., n)."""
        ...

    def prior_loss(self, batch: Any, noise: Tensor) -> Tensor:
        """Return the loss of the Empirical Bayes step, shape (...)."""
        ...


def take_step(
    model: Trainable,
    optimizers: Sequence[torch.optim.Optimizer],
    batch: Any,
    noise: Noise,
    kl_weight: float = 1.0,
) -> Tensor:
    """Take the steps (1) to (3) on a batch; return its mean ELBO. Nothing waits for the GPU.

    Parameters
    ----------
    model : Trainable
        A :class:`vmm.models.base.LatentVariableModel`, or stacked ones
        (:class:`vmm.training.stacked.StackedModel`), each with a batch of its own.
    optimizers : sequence of torch.optim.Optimizer
        Of step (1) and, where the prior has Empirical Bayes parameters, of step (3).
    batch, noise
        See :meth:`Trainer.draw_noise`.
    kl_weight : float
    """
    with held_fixed(optimizers[1:]):
        elbo = variational_step(model, optimizers[0], batch, noise, kl_weight)
    for optimizer in optimizers[1:]:
        with held_fixed(optimizers[:1]):
            prior_step(model, optimizer, batch, noise["prior_step"])
    return elbo


def variational_step(
    model: Trainable,
    optimizer: torch.optim.Optimizer,
    batch: Any,
    noise: Noise,
    kl_weight: float = 1.0,
) -> Tensor:
    """Take step (1), on φ and θ with ψ fixed; return the mean ELBO, detached, a scalar."""
    elbo = model.elbo(batch, noise, training=True, kl_weight=kl_weight).mean(-1)
    descend(optimizer, -elbo)
    return elbo.detach()


def prior_step(
    model: Trainable, optimizer: torch.optim.Optimizer, batch: Any, noise: Tensor
) -> None:
    """Take steps (2) and (3): z from the updated posterior, one step on ψ with φ and θ fixed."""
    descend(optimizer, model.prior_loss(batch, noise))


@contextmanager
def held_fixed(optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[None]:
    """Let the parameters of these optimizers be constants, which take part in no derivative.

    An autograd function of Python's own computes the derivatives of all its inputs that have any,
    whichever of them are asked for.
    """
    parameters = [p for optimizer in optimizers for p in optimizer.param_groups[0]["params"]]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step on the optimizer's parameters; no other parameter gets a gradient.

    The losses of stacked trials (T,) each depend on parameters of their own only.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = torch.autograd.grad(loss, parameters, torch.ones_like(loss), allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        # Fused Adam on the CPU reads the gradient's memory in the parameter's order.
        parameter.grad = None if gradient is None else gradient.contiguous()
    optimizer.step()


def adam(parameters: Sequence[Tensor], rate: float, epsilon: float) -> torch.optim.Adam:
    """Return the optimizer of either step."""
    on_gpu = parameters[0].is_cuda  # capturable: a CUDA graph may hold its steps
    return torch.optim.Adam(parameters, lr=rate, eps=epsilon, fused=True, capturable=on_gpu)
