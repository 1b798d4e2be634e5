"""`python -m benchmarks.gpu_path`: the tables of docs/gpu.md, counted and computed on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.data import SIZES, cells, split
from benchmarks.harness import ROOT
from benchmarks.report import fill, number, table
from benchmarks.scvi_epochs import settings_of, spec
from vmm.benchmark.ours import build_model
from vmm.benchmark.spec import Spec
from vmm.io import atomic
from vmm.models.records import ImageNetworks
from vmm.models.tensors import CellTensors, ImageTensors, Tensors
from vmm.numerics.products import without_onednn
from vmm.training.cuda_graph import WARM_UP, CapturedStep
from vmm.training.loop import Trainer, fit
from vmm.training.settings import Settings

PAGE = ROOT / "docs" / "gpu.md"
EPOCHS = 20
IMAGES = ImageNetworks(n_latent=10, hidden=(500, 500, 2000))
WORK = {
    "scVI N(0, I), cortex size": spec("normal"),
    "scVI VMM, cortex size": spec("vmm"),
    "image VAE VMM, digits, MNIST's networks": replace(
        spec("vmm", kind="images"), networks=IMAGES, learning_rate=1e-4
    ),
}
PRECISIONS = ("float32", "tf32", "bf16")


class Counter(TorchDispatchMode):
    """Counts the operators that are dispatched, with the products that a GPU would be asked for."""

    n = 0

    def __enter__(self):
        """Keep products from oneDNN."""
        self.products = without_onednn()
        self.products.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        """Let products be as they were."""
        super().__exit__(*error)
        self.products.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count and call."""
        self.n += 1
        return func(*args, **(kwargs or {}))


class NoRecorder:
    """Stands for a CUDA graph: its replay is one launch, which dispatches nothing."""

    def warm_up(self, step: Callable[[], Tensor]) -> Tensor:
        """Run `step`."""
        return step()

    def record(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Return what replays nothing."""
        return lambda: None, torch.zeros(())


def data_of(spec: Spec) -> Tensors:
    """Return the data that a model of `WORK` is trained on."""
    if spec.job.kind == "cells":
        counts, batch = cells(**SIZES["cortex"])
        return CellTensors(counts, batch, SIZES["cortex"]["n_batches"])
    from sklearn.datasets import load_digits

    return ImageTensors((load_digits().data / 8 - 1).astype(np.float32))


def short(spec: Spec, **changes) -> Settings:
    """Return how it is trained here."""
    return settings_of(spec, max_epochs=EPOCHS, patience=None, monitor="none", seed=0, **changes)


def operators(spec: Spec, captured: bool) -> float:
    """Return how many operators Python starts in a step: those of an epoch by its steps.

    The drawing of its batches and noise is included.
    """
    data = data_of(spec)
    train, valid = split(len(data))
    trainer = Trainer(build_model(spec, data, train), data, train, valid, short(spec))
    step = CapturedStep(trainer.step, NoRecorder()) if captured else trainer.step
    draws = trainer.draws()
    for _ in range(WARM_UP + 1):
        step(*next(draws))
    n_steps = 0
    with Counter() as counter:
        for drawn in trainer.draws():
            step(*drawn)
            n_steps += 1
    return counter.n / n_steps


def final_elbo(spec: Spec, precision: str) -> float:
    """Return the validation ELBO after the last epoch; start, batches and noise are the same."""
    data = data_of(spec)
    train, valid = split(len(data))
    model = build_model(spec, data, train)
    result = fit(model, data, train, valid, short(spec, precision=precision))
    return result.history[-1]["valid_elbo"]


def main() -> None:
    """Count, train, and put the tables into the page."""
    torch.set_num_threads(1)
    counts, elbos = [], []
    for name, work in WORK.items():
        eager, captured = (operators(work, captured) for captured in (False, True))
        counts.append([name, number(eager), number(captured), number(eager / captured)])
        values = [final_elbo(work, precision) for precision in PRECISIONS]
        elbos.append([name, *(f"{value:.2f}" for value in values)])
        print(counts[-1], elbos[-1], flush=True)
    text = PAGE.read_text()
    head = ["one step of", "operators, step by step", "with a CUDA graph", "ratio"]
    text = fill(text, "operators", table(head, counts))
    head = ["model", *PRECISIONS]
    text = fill(text, "elbos", table(head, elbos))
    with atomic(PAGE) as temporary:
        temporary.write_text(text)
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
