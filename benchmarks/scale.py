"""From a sparse .h5ad to a trained model: the start of a job, and what more cells cost.

Files are made once and kept in ``results/benchmarks/``, which git ignores.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, Benchmark, Comparison
from benchmarks.scvi_epochs import spec
from vmm.benchmark.spec import Spec

FOLDER = ROOT / "results" / "benchmarks"
SIZES = (5_000, 20_000, 100_000, 500_000)
N_GENES, NON_ZERO, N_BATCHES, N_TYPES, BLOCK = 2_000, 0.05, 20, 30, 5_000
LABELS = {n: f"{n:,} cells".replace(",", " ") for n in SIZES}
SPEC = replace(spec("vmm"), batch_size=512)


PREPARE, TRAIN = "prepare 500 000 cells", "train 500 000 cells"
BENCHMARKS = [
    Benchmark(
        name="start",
        work="a training job from the start of its process to the end of its first step",
        contenders={"ours VMM": "benchmarks.scale:first_step"},
        comparisons=(Comparison("ours VMM", 6.0),),
        processes=True,
    ),
    Benchmark(
        name="scale_time",
        work=f"scVI VMM epoch, {N_GENES} genes, batch {SPEC.batch_size}; 25 times the cells",
        contenders={LABELS[n]: f"benchmarks.scale:epochs_{n}" for n in SIZES},
        comparisons=(Comparison(LABELS[500_000], 1.1 * 25, LABELS[20_000]),),
        repeats=2,
    ),
    Benchmark(
        name="scale_memory",
        work=f"peak memory of a whole job, {N_GENES} genes",
        contenders={
            PREPARE: "benchmarks.scale:prepare_all",
            TRAIN: "benchmarks.scale:train_all",
        },
        comparisons=(Comparison(PREPARE, 8.0), Comparison(TRAIN, 8.0)),
        repeats=1,
        processes=True,
        unit="GB",
    ),
]


def first_step(lap) -> None:
    """Start a job on as many cells as cortex has, and stop after its first step."""
    files = prepared(3_005)
    import vmm.training.loop

    step = vmm.training.loop.take_step

    def one_step(*arguments, **options):
        result = step(*arguments, **options)
        lap()
        return result

    vmm.training.loop.take_step = one_step
    # One epoch: should training no longer call this function, the benchmark fails, and soon.
    train(files, replace(SPEC, max_epochs=1), FOLDER / "start")


def _epochs(n_cells: int, lap) -> None:
    """Train on so many cells."""
    files = prepared(n_cells)
    lap()
    train(files, SPEC, FOLDER / f"model_{n_cells}", lambda row: lap())


def train(files: tuple[Path, Path], spec: Spec, folder: Path, progress=None) -> None:
    """Do a training job into an empty folder."""
    from vmm.benchmark.jobs import train_trials

    data, split = files
    shown = None if progress is None else [progress]
    train_trials(data, [split], [spec], [empty(folder)], "cpu", shown)


epochs_5000, epochs_20000, epochs_100000, epochs_500000 = (partial(_epochs, n) for n in SIZES)


def prepare_all(lap) -> None:
    """Prepare the largest set; report the peak of memory in GB."""
    source = h5ad(SIZES[-1])
    prepare(source, FOLDER / "again.npz")
    lap(peak())


def train_all(lap) -> None:
    """Do a whole training job of one epoch on the largest set; report the peak of memory in GB."""
    train(prepared(SIZES[-1]), replace(SPEC, max_epochs=1), FOLDER / "model")
    lap(peak())


def prepared(n_cells: int) -> tuple[Path, Path]:
    """Return the prepared cells and their split; make them if there are none yet."""
    cells, split = FOLDER / f"{n_cells}.npz", FOLDER / f"{n_cells}_split.npz"
    if not split.exists():
        # In another process, which takes its memory with it.
        subprocess.run([sys.executable, "-m", "benchmarks.scale", str(n_cells)], check=True)
    return cells, split


def h5ad(n_cells: int) -> Path:
    """Return a sparse .h5ad of so many cells; write it, block by block, if there is none yet.

    The same 5 000 cells over and over. One gene in fifty has counts a hundred times as large, so
    that they need 16 bits, as those of most real data do.
    """
    path = FOLDER / f"{n_cells}.h5ad"
    if path.exists():
        return path
    import h5py
    import pandas as pd
    from anndata.io import sparse_dataset, write_elem

    from benchmarks.data import cells
    from vmm.io import atomic

    counts, batch = cells(BLOCK, N_GENES, N_BATCHES, N_TYPES, NON_ZERO)
    counts.data[counts.indices % 50 == 0] *= 100
    counts, row = counts.astype(np.float32), np.arange(n_cells)
    obs = pd.DataFrame(index="cell" + pd.Series(row).astype(str))
    obs["batch"] = pd.Categorical.from_codes(
        batch[row % BLOCK], [f"batch{b}" for b in range(N_BATCHES)]
    )
    obs["type"] = pd.Categorical.from_codes(row % N_TYPES, [f"type{t}" for t in range(N_TYPES)])
    FOLDER.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        write_elem(file, "X", counts[: min(BLOCK, n_cells)])
        for start in range(BLOCK, n_cells, BLOCK):
            sparse_dataset(file["X"]).append(counts[: min(BLOCK, n_cells - start)])
        write_elem(file, "obs", obs)
        write_elem(file, "var", pd.DataFrame(index=[f"gene{g}" for g in range(N_GENES)]))
    return path


def prepare(source: Path, out: Path) -> None:
    """Prepare an .h5ad as the pipeline does."""
    from vmm.data import prepare as vmm_prepare

    config = {"kind": "cells", "path": str(source), "batch_key": "batch", "label_key": "type"}
    vmm_prepare("synthetic", config, None, FOLDER, out, out.with_suffix(".json"))


def main(n_cells: int) -> None:
    """Make the prepared cells and their split."""
    from vmm.data import load, make_split
    from vmm.io import atomic

    cells, split = FOLDER / f"{n_cells}.npz", FOLDER / f"{n_cells}_split.npz"
    prepare(h5ad(n_cells), cells)
    train, valid = make_split(load(cells), 0, 0)
    with atomic(split) as temporary:
        np.savez(temporary, train=train, valid=valid)


def peak() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def empty(folder: Path) -> Path:
    """Return a folder without anything in it."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


if __name__ == "__main__":
    main(int(sys.argv[1]))
