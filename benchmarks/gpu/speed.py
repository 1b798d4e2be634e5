"""Milliseconds of a step, share of validation, kernels and memory; scvi-tools beside it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import get_args

import torch
from scipy import sparse

from benchmarks.gpu.runner import Check, Run
from benchmarks.gpu.work import NETWORKS, Work, cell_tensors, images, synchronize, work_on
from benchmarks.gpu_path import Counter
from benchmarks.report import number
from benchmarks.scvi_epochs import spec, train_library
from vmm.numerics.products import Precision
from vmm.priors.records import priors_of
from vmm.training.cuda_graph import WARM_UP
from vmm.training.stacked import Stack

N_TRIALS, N_STEPS = 10, 40
FORMS = {"eager": (1, False), "graph": (1, True), "stack": (0, False), "both": (0, True)}
"""Trials (0: all) and whether the step is captured."""


def speed(run: Run, kind: str, size: str, n_latent: int) -> None:
    """Measure one kind of model in all forms and precisions."""
    networks, toy = NETWORKS[kind][run.toy], run.toy
    networks = networks if toy else replace(networks, n_latent=n_latent)
    if kind == "images":
        data = images(toy, run.device, small=False)
        valid = None if toy else torch.arange(60_000, 70_000).numpy()
    else:
        data, valid = cell_tensors(toy, run.device, small=False, size=size), None
    work = replace(work_on(kind, None, networks, data, toy), valid=valid)
    title = f"{kind}, {size}, p = {networks.n_latent}, {work.prior}, batch "
    title += f"{work.settings.batch_size}: a step, per trial where {_n_trials(toy)} are stacked"
    counted = "kernels" if run.device.type == "cuda" else "operators"
    head = ["form", "precision", "ms", "MiB allocated", "MiB reserved"]
    head += ["validation's share of an epoch", counted]
    rows: list[list[str]] = []
    forms = []
    for precision in get_args(Precision):
        for form, (trials, graph) in FORMS.items():
            settings = replace(work.settings, precision=precision, cuda_graph=graph)
            forms.append((replace(work, settings=settings), trials or _n_trials(toy)))
            rows.append([form, precision, *_measure(run, *forms[-1]), ""])
            run.table(title, head, rows)
    # Last, as a profiler slows all that its process starts later.
    for row, own in zip(rows, forms, strict=True):
        row[-1] = _started(run, *own)
        run.table(title, head, rows)
    run.number("forms and precisions measured", len(rows))


def _n_trials(toy: bool) -> int:
    return 3 if toy else N_TRIALS


def _measure(run: Run, work: Work, n_trials: int) -> list[str]:
    """Return ms a step and trial, memory and the share of validation, as text."""
    whole = len(work.splits(1)[0][0]) // work.settings.batch_size
    n_steps = 2 if run.toy else min(N_STEPS, whole)
    trainers = work.trainers(n_trials, n_steps)
    training = Stack(trainers) if n_trials > 1 else trainers[0]
    training.train()
    memory = ["", ""]
    if run.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(run.device)
    synchronize(run.device)
    start = time.perf_counter()
    training.train()
    synchronize(run.device)
    seconds = (time.perf_counter() - start) / n_steps
    if run.device.type == "cuda":
        peaks = torch.cuda.max_memory_allocated, torch.cuda.max_memory_reserved
        memory = [number(peak(run.device) / 2**20) for peak in peaks]
    if isinstance(training, Stack):
        training.part()
    del trainers, training
    if run.device.type == "cuda":
        torch.cuda.empty_cache()  # what is reserved is then each model's own
    share = ""
    if work.settings.precision == "float32":  # in which validation always is
        validation = max(0.0, _epoch(run, work, n_trials, n_steps) - n_steps * seconds)
        share = number(validation / (whole * seconds + validation))
    return [number(1e3 * seconds / n_trials), *memory, share]


def _started(run: Run, work: Work, n_trials: int) -> str:
    """Return how many kernels a step and trial runs; on the CPU, how many operators."""
    n_steps = WARM_UP + 1
    trainers = work.trainers(n_trials, n_steps)
    training = Stack(trainers) if n_trials > 1 else trainers[0]
    training.train()
    if run.device.type != "cuda":
        with Counter() as counter:
            training.train()
        found = counter.n
    else:
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            training.train()
            synchronize(run.device)
        events = seen.key_averages()
        found = sum(event.count for event in events if event.device_type.name == "CUDA")
    if isinstance(training, Stack):
        training.part()
    return number(found / n_steps / n_trials)


def _epoch(run: Run, work: Work, n_trials: int, n_steps: int | None = None) -> float:
    """Return the seconds of an epoch of all trials, of so many steps, validation included.

    Of one after validation was recorded.
    """
    ends: list[float] = []

    def progress(trial: int, model, row: dict) -> None:
        if trial == n_trials - 1:
            synchronize(run.device)
            ends.append(time.perf_counter())

    work.fit(
        n_trials,
        progress=progress,
        pretraining=False,
        n_steps=n_steps,
        max_epochs=WARM_UP + 2,
    )
    return ends[-1] - ends[-2]


def beside_scvi_tools(run: Run) -> None:
    """Measure epochs, validation included, of scvi-tools and of ours with every prior."""
    networks = NETWORKS["cells"][run.toy]
    data = cell_tensors(run.toy, run.device, small=False)
    library: list[dict[str, float]] = []
    own = replace(spec("scvi_tools"), networks=networks, max_epochs=3)
    counts = sparse.csr_matrix(data.counts.cpu().numpy())
    train_library(counts, data.codes.cpu().numpy(), own, run.device, library.append)
    theirs = library[-1]["seconds"]
    run.number("scvi-tools", theirs, "s an epoch")
    for prior in priors_of("cells"):
        work = work_on("cells", prior, networks, data, run.toy)
        for graph in (False, True):
            own_settings = replace(work.settings, cuda_graph=graph)
            seconds = _epoch(run, replace(work, settings=own_settings), 1)
            form = f"{prior}, {'graph' if graph else 'eager'}"
            run.number(form, seconds / theirs, "of its time")


CHECKS = [
    Check(f"speed_{name}", f"time, kernels and memory of a step: {name}", function, 75)
    for name, function in {
        "images_10": partial(speed, kind="images", size="MNIST's size", n_latent=10),
        "images_30": partial(speed, kind="images", size="MNIST's size", n_latent=30),
        "cortex": partial(speed, kind="cells", size="cortex", n_latent=10),
        "pbmc": partial(speed, kind="cells", size="pbmc", n_latent=10),
    }.items()
]
CHECKS.append(
    Check("scvi_tools", "an epoch beside scvi-tools'", beside_scvi_tools, 90, needs=("scvi",))
)
