"""Ten trials of scVI with the VMM, at once and one after another: time, and operators started."""

from __future__ import annotations

from benchmarks.data import SIZES, cells, split
from benchmarks.gpu_path import Counter
from benchmarks.harness import Benchmark, Comparison
from benchmarks.scvi_epochs import settings_of, spec

AT_ONCE, AFTER = "ten at once", "one after another"
N_TRIALS = 10
SIZE = "{n_cells} cells × {n_genes} genes, batch 128".format(**SIZES["cortex"])

BENCHMARKS = [
    Benchmark(
        name="ten_trials",
        work=f"an epoch of ten trials of scVI VMM, {SIZE}",
        contenders={
            AT_ONCE: "benchmarks.trials:at_once",
            AFTER: "benchmarks.trials:one_after_another",
        },
        comparisons=(Comparison(AT_ONCE, 0.9, AFTER),),
        repeats=7,
    ),
    Benchmark(
        name="ten_trials_operators",
        work=f"operators started per trial and step, the same ten trials, {SIZE}",
        contenders={
            AT_ONCE: "benchmarks.trials:operators_at_once",
            AFTER: "benchmarks.trials:operators_alone",
        },
        comparisons=(Comparison(AT_ONCE, round(1 / 7, 3), AFTER),),
        repeats=1,
        unit="operators",
    ),
]


def at_once(lap) -> None:
    """Train them by :func:`vmm.training.stacked.fit_stacked`."""
    from vmm.training.stacked import fit_stacked

    models, data, splits, settings = trainings()
    fit_stacked(models, data, splits, settings, progress=_after_the_last(lap))


def one_after_another(lap) -> None:
    """Train the same for an epoch each, in turn."""
    from vmm.training.loop import one_by_one, train_until_finished

    train_until_finished(trainers(), *one_by_one, progress=_after_the_last(lap))


def operators_at_once(lap) -> None:
    """Count the operators of a step of all, and share them out."""
    from vmm.training.stacked import Stack

    _count(Stack(trainers()), lap, N_TRIALS)


def operators_alone(lap) -> None:
    """Count the operators of a step of one trial."""
    _count(trainers()[0], lap, 1)


def trainings():
    """Return models, data, splits and settings of ten trials."""
    import torch

    from vmm.benchmark.ours import build_model
    from vmm.models.tensors import CellTensors

    torch.set_num_threads(1)
    counts, batch = cells(**SIZES["cortex"])
    data = CellTensors(counts, batch, SIZES["cortex"]["n_batches"])
    splits = [split(len(data), trial) for trial in range(N_TRIALS)]
    specs = [spec("vmm", trial) for trial in range(N_TRIALS)]
    models = [build_model(own, data, train) for own, (train, _) in zip(specs, splits, strict=True)]
    settings = [settings_of(own, patience=None, seed=trial) for trial, own in enumerate(specs)]
    return models, data, splits, settings


def trainers():
    """Return the ten as trainers."""
    from vmm.training.loop import Trainer

    models, data, splits, settings = trainings()
    return [
        Trainer(model, data, *rows, own)
        for model, rows, own in zip(models, splits, settings, strict=True)
    ]


def _after_the_last(lap):
    """Return what each trial calls after an epoch: the last one of ten ends the repetition."""
    return [lambda row: None] * (N_TRIALS - 1) + [lambda row: lap()]


def _count(trainer, lap, n_trials: int) -> None:
    lap(0)
    trainer.step(*next(trainer.draws()))  # Adam makes its state
    while True:
        with Counter() as counter:
            n_steps = sum(1 for drawn in trainer.draws() if trainer.step(*drawn) is not None)
        lap(counter.n / n_steps / n_trials)
