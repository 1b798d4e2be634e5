"""Products are float32 where that is promised, whatever a user's script has switched on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.gpu.runner import Check, NotThere, Run
from benchmarks.gpu.work import histories, one_a_prior, states_equal
from vmm.numerics.products import product
from vmm.training.embedding import evaluate

SWITCHES = ("highest", "high", "medium")


def float32_is_float32(run: Run) -> None:
    """Train and evaluate every model and prior under each of PyTorch's switches."""
    for name, work in one_a_prior(run.toy, run.device):
        models, results = work.fit(1)
        own = evaluate(models[0], work.data, work.splits(1)[0][1])[0]
        for switch in SWITCHES:
            with _switched(switch):
                others, other = work.fit(1)
                again = evaluate(models[0], work.data, work.splits(1)[0][1])[0]
                kept = torch.get_float32_matmul_precision() == switch
            same = states_equal(models, others) and histories(results) == histories(other)
            run.same(f"{name}, {switch}: training", same)
            run.same(f"{name}, {switch}: evaluation", own == again)
            run.same(f"{name}, {switch}: the switch afterwards", kept)


def layers_are_less_precise(run: Run) -> None:
    """Look at the errors of one product: TF32 must be seen where asked for, and not elsewhere."""
    if torch.cuda.get_device_capability(run.device)[0] < 8:
        raise NotThere("needs a card of compute capability 8 or more")
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1024, 1024, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    there = a.to(run.device), b.to(run.device)
    for switch in SWITCHES:
        with _switched(switch):
            errors = {
                precision: float(
                    (product(*there, precision=precision).cpu().double() - exact).norm()
                    / exact.norm()
                )
                for precision in ("tf32", "bf16")
            }
        for precision, mantissa in (("tf32", 10), ("bf16", 7)):
            error = errors[precision]
            run.bound(f"{switch}: error of {precision}", error, 2.0**-mantissa)
            run.bound(f"{switch}: {precision} less exact", 2.0 ** -(mantissa + 4) / error, 1.0)
    error = float((product(*there).cpu().double() - exact).norm() / exact.norm())
    run.bound("error of float32", error, 1e-6)


@contextmanager
def _switched(switch: str) -> Iterator[None]:
    """Do as a user's script that speeds up its own products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(switch)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


CHECKS = [
    Check("float32", "float32 whatever PyTorch's switch says", float32_is_float32, 90),
    Check("tf32", "TF32 and bfloat16 where asked for", layers_are_less_precise, cuda=True),
]
