"""Trainings that must be equal to the bit: repeated, captured, resumed, on another device."""

from __future__ import annotations

import gc
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu.runner import Check, Run
from benchmarks.gpu.work import (
    Enough,
    Work,
    histories,
    one_a_kind,
    one_a_prior,
    small_data,
    states_equal,
)
from vmm.tensor_files import read_tensors, write_tensors
from vmm.training.embedding import embed
from vmm.training.sleep import LOOK_EVERY

T, KILLED = 3, 2
"""Trials at once; and after which epoch a training is killed, unless another is named."""


def the_same_again(run: Run) -> None:
    """Train every model and prior twice, eager and captured, resumed and not."""
    for name, work in one_a_prior(run.toy, run.device):
        for n_trials in (1, T):
            what = name if n_trials == 1 else f"{name}, stacked"
            models, results = work.fit(n_trials)
            forms = {
                "again": partial(work.fit, n_trials),
                "captured": partial(work.fit, n_trials, cuda_graph=True),
                "resumed": partial(_resumed, work, work, n_trials),
                "resumed, captured": partial(_resumed, work, work, n_trials, graph=True),
            }
            for form, train in forms.items():
                run.same(f"{what}, {form}", _equal((models, results), train()))


def stacks_left(run: Run) -> None:
    """Let trials leave a stack one by one, so that its step is recorded anew each time.

    Those that leave have NaN written into a weight. Garbage that lies about in cycles meanwhile
    may not harm a recording; and the memory of a graph must be free when its stack is.
    """
    n_trials = 4 if run.toy else 10
    for kind, work in one_a_kind(run.toy, run.device):
        settings = replace(work.settings, max_epochs=n_trials + 1)
        work = replace(work, settings=settings)

        def poison(trial: int, model, row: dict) -> None:
            if row["epoch"] == trial:  # the first trial stays to the end
                with torch.no_grad():
                    next(model.parameters()).fill_(float("nan"))

        expected, results = work.fit(n_trials, progress=poison)
        run.same(f"{kind}: all but one left", [r.status for r in results].count("ok") == 1)
        left_over = []
        gc.disable()
        try:
            for _ in range(2 if run.toy else 4):
                _make_garbage(run.device)
                again = work.fit(n_trials, progress=poison, cuda_graph=True)
                run.same(f"{kind}: captured", _equal((expected, results), again))
                del again
                left_over.append(_allocated(run.device))
        finally:
            gc.enable()
        growth = max((after - before for before, after in pairwise(left_over)), default=0)
        # The garbage made here is a MiB a time.
        run.bound(f"{kind}: memory not given back", growth / 2**20, 4.0)


def asleep(run: Run) -> None:
    """Train with components that sleep from the sixth epoch on: again, captured, resumed."""
    for name, work in one_a_prior(run.toy, run.device):
        (model,) = work.models(1)
        if not model.prior.can_sleep:
            continue
        settings = replace(work.settings, sleep_below=0.1, max_epochs=LOOK_EVERY + 3)
        work = replace(work, settings=settings, n_unused=work.n_components // 2)
        for n_trials in (1, T):
            what = name if n_trials == 1 else f"{name}, stacked"
            own = work.fit(n_trials)
            awake = work.fit(n_trials, sleep_below=0.0)
            run.same(f"{what}, some sleep", not states_equal(own[0], awake[0]))
            forms = {
                "again": work.fit(n_trials),
                "captured": work.fit(n_trials, cuda_graph=True),
                "resumed": _resumed(work, work, n_trials, after=LOOK_EVERY + 2),
                "resumed, captured": _resumed(work, work, n_trials, True, LOOK_EVERY + 2),
            }
            for form, other in forms.items():
                run.same(f"{what}, {form}", _equal(own, other))


def across_devices(run: Run) -> None:
    """Continue a checkpoint of the CPU on the device, and the other way round; and its weights.

    Numbers of another device's generator cannot go on, so the training may start anew; it may
    not end in an error, nor be anything but the whole training on the device it is on.
    """
    for kind, work in one_a_kind(run.toy, run.device):
        there = replace(work, data=small_data(kind, run.toy, "cpu"))
        for form, (first, second) in {"to it": (there, work), "from it": (work, there)}.items():
            for n_trials in (1, T):
                what = f"{kind}, {form}" + ("" if n_trials == 1 else ", stacked")
                run.same(what, _equal(second.fit(n_trials), _resumed(first, second, n_trials)))
            (source, *_), _ = first.fit(1)
            (loaded,) = second.models(1)
            with TemporaryDirectory() as folder:
                path = Path(folder, "weights.pt")
                write_tensors(path, source.state_dict())
                loaded.load_state_dict(read_tensors(path, second.data.device))
            run.same(f"{kind}, {form}: weights", states_equal([source], [loaded]))
            means = [embed(*own)[0] for own in ((source, first.data), (loaded, second.data))]
            error = abs(means[0] - means[1]).max() / abs(means[0]).max()
            run.bound(f"{kind}, {form}: embedding", float(error), 1e-4)


def _equal(own, other) -> bool:
    """Return whether trainings are equal to the bit: models and histories."""
    return states_equal(own[0], other[0]) and histories(own[1]) == histories(other[1])


def _resumed(first: Work, second: Work, n_trials: int, graph: bool = False, after: int = KILLED):
    """Kill the training `first`, with its checkpoint on disk; return what `second` makes of it.

    With `graph`, the second one's step is captured; the first is killed `after` an epoch.
    """

    def kill(trial: int, model, row: dict) -> None:
        if row["epoch"] == after and trial == n_trials - 1:
            raise Enough

    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # That of another device is not used, in a warning.
        warnings.filterwarnings("ignore", message=".*checkpoint not used")
        path = Path(folder, "checkpoint.pt")
        with suppress(Enough):
            first.fit(n_trials, path, kill, checkpoint_seconds=0.0)
        return second.fit(n_trials, path, cuda_graph=graph)


def _make_garbage(device: torch.device) -> None:
    """Leave cycles about that hold memory of the device."""
    for _ in range(4):
        cycle: list = [torch.zeros(2**16, device=device)]
        cycle.append(cycle)


def _allocated(device: torch.device) -> int:
    """Return the bytes that are held, but for the workspaces that cuBLAS keeps for each stream."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize(device)
    getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)()
    return torch.cuda.memory_allocated(device)


CHECKS = [
    Check("trainings", "the same training again, captured, resumed", the_same_again, 120),
    Check("stacks_left", "stacks left and recorded anew, with garbage about", stacks_left, 90),
    Check("asleep", "the same with components that sleep", asleep, 120),
    Check("checkpoints", "checkpoints and weights to the device and from it", across_devices, 60),
]
