"""Each operator of :mod:`vmm.numerics` against float64, and captured against eager."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from benchmarks.gpu.runner import Check, Run
from vmm.numerics.counts import count_log_likelihood
from vmm.numerics.gaussians import (
    MIN_SCALE,
    DiagonalNormal,
    FullRankNormal,
    inverse_softplus,
    positive_cholesky,
    widened_log_prob,
)
from vmm.numerics.products import stackable_affine
from vmm.training.cuda_graph import WARM_UP, CapturedStep, CUDARecorder

Operator = Callable[..., Tensor]
T, TIMES = 3, 10
"""Trials of a stack; and how many times float32's error on a CPU the device's may be."""
FLOOR = 1e-6
"""An error below which, relative to the largest value, nobody asks."""


def operators(toy: bool) -> dict[str, tuple[Operator, list[Tensor]]]:
    """Return operators by name, with their inputs in float64 on the CPU."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def diagonal(mean: Tensor, raw: Tensor) -> DiagonalNormal:
        return DiagonalNormal(mean, F.softplus(raw) + MIN_SCALE)

    def full(mean: Tensor, raw: Tensor) -> FullRankNormal:
        return FullRankNormal(mean, positive_cholesky(raw))

    n, k, genes, width = (7, 4, 9, 5) if toy else (256, 100, 2000, 500)
    found: dict[str, tuple[Operator, list[Tensor]]] = {}
    for p in (2, 3) if toy else (10, 30):
        z, mean, own = draw(n, p), draw(k, p), draw(k, p)
        # Entries of inverse factors grow exponentially with p where those of factors are like the
        # diagonal; here they stay finite when doubled.
        raw = draw(k, p, p) / p
        found |= {
            f"density, full, p = {p}": (
                lambda z, m, r: full(m, r).component_log_prob(z),
                [z, mean, raw],
            ),
            f"density, diagonal, p = {p}": (
                lambda z, m, r: diagonal(m, r).component_log_prob(z),
                [z, mean, own],
            ),
            f"widened density, full, p = {p}": (
                lambda z, m, r, c: widened_log_prob(z, full(m, r), positive_cholesky(c)),
                [z, mean, raw, draw(k, p, p)],
            ),
            f"widened density, diagonal, p = {p}": (
                lambda z, m, r, c: widened_log_prob(z, diagonal(m, r), positive_cholesky(c)),
                [z, mean, own, raw],
            ),
            f"sample and entropy, p = {p}": (
                lambda e, m, r: full(m, r).rsample(e).sum(-1) + full(m, r).entropy(),
                [draw(n, p), draw(n, p), draw(n, p, p)],
            ),
        }
    counts = torch.poisson(2 * torch.rand(n, genes, generator=generator).exp(), generator)
    given = [counts.double(), draw(n, genes), draw(genes), draw(n, genes)]
    return found | {
        "counts, NB": (count_log_likelihood, given[:3]),
        "counts, ZINB": (count_log_likelihood, given),
        "linear layer": (stackable_affine, [draw(n, genes), draw(width, genes), draw(width)]),
        "inverse softplus": (inverse_softplus, [draw(n, genes).exp()]),
        "mixture": (lambda x: x.log_softmax(-1).logsumexp(-2), [draw(n, k)]),
    }


def in_stacks(operator: Operator, inputs: list[Tensor]) -> tuple[Operator, list[Tensor]]:
    """Return an operator of T trials, and inputs that differ between them."""
    scales = 1 + torch.arange(T, dtype=torch.float64) / 10
    # Counts stay whole numbers.
    whole = [bool((value == value.round()).all()) for value in inputs]
    stacked = [
        torch.stack([value if same else scale * value for scale in scales])
        for value, same in zip(inputs, whole, strict=True)
    ]
    return vmap(operator), stacked


def value_and_gradients(operator: Operator, inputs: list[Tensor]) -> list[Tensor]:
    """Return the value, and gradients of a weighted sum of it by all inputs."""
    leaves = [value.detach().requires_grad_() for value in inputs]
    value = operator(*leaves)
    weight = torch.linspace(-1, 2, value.numel(), dtype=value.dtype, device=value.device)
    loss = (value * weight.view(value.shape)).sum()
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    return [value.detach(), *gradients]


def against_float64(run: Run) -> None:
    """Compare values and gradients of the device's float32 with the CPU's float64."""
    for name, one in operators(run.toy).items():
        for form, (operator, inputs) in {"": one, ", stacked": in_stacks(*one)}.items():
            exact = value_and_gradients(operator, inputs)
            single = [value.float() for value in inputs]
            cpu = _error(value_and_gradients(operator, single), exact)
            single = [value.to(run.device) for value in single]
            own = _error(value_and_gradients(operator, single), exact)
            run.bound(f"{name}{form}: error", own, TIMES * cpu + FLOOR)


def _error(values: list[Tensor], exact: list[Tensor]) -> float:
    """Return the largest error of value and gradients, each relative to its largest number."""
    return max(
        float((value.cpu().double() - true).abs().max() / true.abs().max().clamp_min(1e-300))
        for value, true in zip(values, exact, strict=True)
        if true.abs().max() > 0
    )


def captured_is_eager(run: Run) -> None:
    """Compare replays of each operator with calls of it, the inputs new each time."""
    for name, one in operators(run.toy).items():
        for form, (operator, inputs) in {"": one, ", stacked": in_stacks(*one)}.items():

            def step(*given: Tensor, operator: Operator = operator) -> Tensor:
                return torch.cat([v.flatten() for v in value_and_gradients(operator, list(given))])

            single = [value.float().to(run.device) for value in inputs]
            finite = torch.ones((), dtype=torch.bool, device=run.device)
            replayed = CapturedStep(step, CUDARecorder(run.device))
            same = True
            for call in range(WARM_UP + 3):
                # Doubling keeps counts whole, and every number exact.
                given = [value * 2 ** (call % 2) for value in single]
                again = replayed(*given)
                same &= torch.equal(again, step(*given))
                finite &= again.isfinite().all()
            run.same(f"{name}{form}", same)
            run.same(f"{name}{form}: numbers", bool(finite))


CHECKS = [
    Check("operators", "each operator against float64, alone and stacked", against_float64, 60),
    Check("operators_captured", "each operator, captured and eager", captured_is_eager, cuda=True),
]
