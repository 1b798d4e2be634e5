"""Every model × prior × likelihood on the device against the CPU's float64, alone and stacked."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from benchmarks.gpu.runner import Check, Run
from benchmarks.gpu.work import norm, works
from vmm.models.base import LatentVariableModel
from vmm.training.stacked import StackedModel

LOSS, GRADIENTS = 1e-5, 1e-4
ZERO = 1e-9
"""Share of the whole gradient's norm below which a parameter's own is zero and what is computed is
rounding, as that of a bias before batch normalisation: it is then compared with the whole."""
T = 3


def device_is_cpu(run: Run) -> None:
    """Compare losses and gradients of both steps from the same weights, rows and noise."""
    for name, work in works(run.toy, "cpu"):
        models = work.models(T)
        n = work.settings.batch_size
        batches = [work.data.batch(torch.arange(trial, trial + n)) for trial in range(T)]
        noises = [_noise(model, n, trial) for trial, model in enumerate(models)]
        exact = [
            _losses(copy.deepcopy(model).double(), *_to((batch, noise), dtype=torch.float64))
            for model, batch, noise in zip(models, batches, noises, strict=True)
        ]
        there = [copy.deepcopy(model).to(run.device) for model in models]
        batch, noise = _to((batches[0], noises[0]), device=run.device)
        _compare(run, name, [_losses(copy.deepcopy(there[0]), batch, noise)], exact[:1])
        batch, noise = _to((_stack(batches), _stack(noises)), device=run.device)
        stacked = StackedModel(there)
        together = _losses(stacked, batch, noise, stacked)
        own = [
            {what: (loss[trial], _each(g, trial)) for what, (loss, g) in together.items()}
            for trial in range(T)
        ]
        _compare(run, f"{name}, stacked", own, exact)


Losses = dict[str, tuple[Tensor, dict[str, Tensor]]]


def _losses(
    model: Any, batch: Any, noise: dict[str, Tensor], stack: StackedModel | None = None
) -> Losses:
    """Return the loss of each step and its gradients by their parameters' names."""
    first: LatentVariableModel = model if stack is None else stack.models[0]
    parameters = dict(first.named_parameters()) if stack is None else stack.tensors
    names = {id(value): name for name, value in first.named_parameters()}
    steps = {"variational step": first.variational_parameters()}
    losses = {"variational step": -model.elbo(batch, noise, training=True).mean(-1)}
    if fitted := first.prior.empirical_bayes_parameters():
        steps["prior step"] = fitted
        losses["prior step"] = model.prior_loss(batch, noise["prior_step"])
    found = {}
    for what, loss in losses.items():
        wanted = {names[id(p)]: parameters[names[id(p)]] for p in steps[what]}
        gradients = torch.autograd.grad(
            loss.sum(), list(wanted.values()), allow_unused=True, materialize_grads=True
        )
        found[what] = loss.detach(), dict(zip(wanted, gradients, strict=True))
    return found


def _compare(run: Run, name: str, own: list[Losses], exact: list[Losses]) -> None:
    for what in exact[0]:
        pairs = [(one[what], true[what]) for one, true in zip(own, exact, strict=True)]
        loss = max(abs(float(a.double().cpu() - b) / float(b)) for (a, _), (b, _) in pairs)
        gradients = max(_gradient_error(a, b) for (_, a), (_, b) in pairs)
        run.bound(f"{name}, {what}: loss", loss, LOSS)
        run.bound(f"{name}, {what}: gradients", gradients, GRADIENTS)


def _gradient_error(own: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Return the largest error of a parameter's gradient, relative to its norm."""
    whole = norm(list(exact.values()))
    errors = []
    for name, true in exact.items():
        size = norm([true])
        error = norm([own[name].double().cpu() - true])
        errors.append(error / (size if size > ZERO * whole else whole))
    return max(errors)


def _noise(model: LatentVariableModel, n: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    noise = model.draw_noise(n, generator, "cpu")
    return noise | {"prior_step": torch.randn(n, model.latent_dim, generator=generator)}


def _to(values: Any, **where: Any) -> Any:
    return tree_map(lambda value: value.to(**where), values)


def _each(gradients: dict[str, Tensor], trial: int) -> dict[str, Tensor]:
    return {name: value[trial] for name, value in gradients.items()}


def _stack(values: list[Any]) -> Any:
    leaves, structures = zip(*map(tree_flatten, values), strict=True)
    return tree_unflatten([torch.stack(own) for own in zip(*leaves, strict=True)], structures[0])


CHECKS = [Check("models", "every model, prior and likelihood against float64", device_is_cpu, 100)]
