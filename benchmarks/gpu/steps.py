"""No step waits for the device: CUDA itself is asked to refuse it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from benchmarks.gpu.runner import Check, Run
from benchmarks.gpu.work import works
from vmm.models.networks import matrix_products
from vmm.training.cuda_graph import WARM_UP
from vmm.training.stacked import Stack

T = 3


def no_waiting(run: Run) -> None:
    """Take steps of every model and prior, alone and stacked, eager and captured."""
    for name, work in works(run.toy, run.device):
        for graph in (False, True):
            own = replace(work, settings=replace(work.settings, cuda_graph=graph))
            form = "captured" if graph else "eager"
            alone, *_ = own.trainers(1, WARM_UP + 4)
            _steps(run, f"{name}, {form}", alone, alone.model)
            stack = Stack(own.trainers(T, WARM_UP + 4))
            _steps(run, f"{name}, {form}, stacked", stack, stack.model.skeleton)
            stack.part()


def _steps(run: Run, name: str, training, model) -> None:
    draws = iter(training.draws())
    with matrix_products(model, "float32"):
        for _ in range(WARM_UP + 1):  # libraries set themselves up, and a step is recorded
            training.step(*next(draws))
        try:
            with _waiting_refused():
                for drawn in draws:
                    training.step(*drawn)
            waited = False
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            waited = True
    run.same(f"{name}: a step with and without waiting", not waited)


@contextmanager
def _waiting_refused() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


CHECKS = [Check("steps", "no step waits for the device", no_waiting, 90, cuda=True)]
