"""Synthetic data and tiny jobs, for tests of the benchmark."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from vmm.benchmark.jobs import train_trials
from vmm.benchmark.methods.records import METHODS, names
from vmm.testing.examples import EPOCHS as EPOCHS
from vmm.testing.examples import K as K
from vmm.testing.examples import make_cells as make_cells
from vmm.testing.examples import make_images as make_images
from vmm.testing.examples import make_spec as make_spec
from vmm.testing.examples import write as write

IMAGES = [name for name in names("images") if not METHODS["images"][name].unmet]
CELLS = [name for name in names("cells", trains=True) if not METHODS["cells"][name].unmet]
ALL = [("images", m) for m in IMAGES] + [("cells", m) for m in CELLS]
OURS = [(kind, m) for kind, m in ALL if METHODS[kind][m].is_ours]


def train(data, split, spec, folder, device="cpu", progress=None, **options) -> dict:
    """Train one model of the grid quietly."""
    shown = [progress or (lambda row: None)]
    (done,) = train_trials(data, [split], [spec], [folder], device, shown, **options)
    return done


def run(prepared, kind: str, method: str, folder: Path, progress=None, **changes) -> dict:
    """Run one job quietly."""
    spec = make_spec(kind, method, **changes)
    return train(*prepared[kind], spec, folder, progress=progress)


def read_latent(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "latent.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def read_history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)


def assert_same_results(ours: Path, other: Path) -> None:
    """Assert equality of weights, latents and history to the bit."""
    first, second = read_weights(ours), read_weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    first, second = read_latent(ours), read_latent(other)
    assert first.keys() == second.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    histories = [[{**row, "seconds": ""} for row in read_history(f)] for f in (ours, other)]
    assert histories[0] == histories[1]
