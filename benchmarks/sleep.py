"""`python -m benchmarks.sleep OUT.csv`: trainings with and without sleeping components, paired.

Each trial trains the VMM twice, from the same start with the same batches and noise. A row of the
file is a training; `elbo_change` is by how much validation's ELBO falls, in nats per point, where
the sleeping are left out: the most just before a look at them, after LOOK_EVERY epochs.
"""

from __future__ import annotations

import argparse
import copy
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.scvi_epochs import settings_of, spec
from vmm.benchmark.metrics.clustering import clustering_scores
from vmm.benchmark.ours import build_model
from vmm.data import CellData, ImageData
from vmm.data.cells import build_cells
from vmm.data.h5ad import read_h5ad
from vmm.data.splits import make_split
from vmm.models.records import ImageNetworks
from vmm.models.tensors import Tensors, to_tensors
from vmm.training.embedding import embed, evaluate
from vmm.training.loop import Trainer, one_by_one, train_until_finished
from vmm.training.settings import Settings
from vmm.training.sleep import LOOK_EVERY

CELLS = {
    "mixology": ("mixology_3protocols_3lines.h5ad", "batch"),
    "pbmc_3tech": ("pbmc_3tech_symphony.h5ad", "batch"),
    "zeisel_200genes": ("zeisel_3005x200.h5ad", None),
}


def data_of(name: str, folder: Path) -> CellData | ImageData:
    """Return scikit-learn's digits, or cells from a file of `folder`."""
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = (digits.data / 8 - 1).astype(np.float32)
        names = [str(number) for number in range(10)]
        return ImageData(name, pixels, digits.target.astype(np.int64), names, (8, 8))
    file, batch_key = CELLS[name]
    raw = read_h5ad(folder / file, None, [key for key in (batch_key, "cell_type") if key])
    return build_cells(raw, name, batch_key, "cell_type")[0]


def pair(name: str, data: CellData | ImageData, trial: int, options: argparse.Namespace) -> list:
    """Train the VMM with and without sleeping components; return what came of either.

    Until the first components sleep both are the same training, to the bit, which is done once.
    """
    own = spec("vmm", trial, data.kind)
    if data.kind == "images":
        own = replace(own, networks=ImageNetworks(n_latent=5, hidden=(128, 128)))
    own = replace(own, learning_rate=options.rate, prior_learning_ratio=options.ratio)
    tensors, (rows, valid) = to_tensors(data, "cpu"), make_split(data, trial, 0)
    epochs, below = options.epochs, options.below
    settings = settings_of(own, max_epochs=epochs, patience=None, sleep_below=below)

    def trainer(settings: Settings) -> Trainer:
        return Trainer(build_model(own, tensors, rows), tensors, rows, valid, settings)

    sleeping = trainer(settings)
    while not sleeping.awake.components and not sleeping.finished:
        if len(sleeping.history) % LOOK_EVERY == 0:
            common = copy.deepcopy(sleeping.state())
        sleeping.add(sleeping.train(), sleeping.validate(), 0.0)
    full = trainer(replace(settings, sleep_below=0.0))
    full.restore(common)
    what = {
        "data": name,
        "trial": trial,
        "rate": options.rate,
        "ratio": options.ratio,
        "common": len(full.history),
    }
    return [
        what | {"below": 0.0} | finish(full, data, tensors),
        what | {"below": below} | finish(sleeping, data, tensors),
    ]


def finish(trainer: Trainer, data: CellData | ImageData, tensors: Tensors) -> dict:
    """Train to the end, and return scores."""
    falls, awake = [], []

    def look(row):
        awake.append(len(trainer.awake.components) or trainer.model.prior.n_components)
        if trainer.awake.components and row["epoch"] % LOOK_EVERY == 0:
            parts = (trainer.model, trainer.awake.model)
            whole, narrow = (evaluate(p, tensors, trainer.valid_rows, seed=1)[0] for p in parts)
            falls.append(whole - narrow)

    train_until_finished([trainer], *one_by_one, progress=[look])
    result = trainer.result()
    _, probabilities = embed(trainer.model, tensors)
    scores = clustering_scores(data.labels, probabilities)
    return {
        "best_epoch": result.best_epoch,
        "elbo": max(row["valid_elbo"] for row in result.history),
        "last_elbo": result.history[-1]["valid_elbo"],
        **{key: value for key, value in scores.items() if isinstance(value, float)},
        "awake": " ".join(str(number) for number in awake[LOOK_EVERY - 1 :: 2 * LOOK_EVERY]),
        "elbo_change": max(falls, default=0.0),
    }


def main() -> None:
    """Train all and write a row each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sleep", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/cells"))
    parser.add_argument("--only", nargs="*", default=["digits", *CELLS])
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--ratio", type=float, default=2.5)
    parser.add_argument("--below", type=float, default=0.1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with arguments.out.open("w", newline="") as file:
        writer = None
        for name in arguments.only:
            data = data_of(name, arguments.data)
            for trial in range(arguments.trials):
                for row in pair(name, data, trial, arguments):
                    writer = writer or csv.DictWriter(file, row)
                    if not file.tell():
                        writer.writeheader()
                    writer.writerow(row)
                    file.flush()


if __name__ == "__main__":
    main()
