"""The job of methods that embed cells without training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from scipy.sparse import issparse

from vmm.benchmark.baselines.pca import pca, principal_components
from vmm.benchmark.graphs import graph_arrays
from vmm.benchmark.job import Job
from vmm.benchmark.jobs import machine, write_latent
from vmm.benchmark.methods.records import Method
from vmm.benchmark.setting import CHOSEN
from vmm.data.containers import CellData, load
from vmm.io import write_json
from vmm.lazy import resolve
from vmm.numerics.seeds import seed_of
from vmm.progress import say


def embed_cells(
    data_path: str | Path,
    methods: Iterable[str],
    trials: Iterable[int],
    folder_of: Callable[[str, int], str | Path],
    seed: int = 0,
) -> None:
    """Embed a cell data set by methods that do not train, for all trials in one process.

    A method that needs batches has nothing to do in single-batch data, one that needs labels in
    data without any, and one that would not end with so many cells is not tried: its folder then
    holds the plain principal components and the status says so.

    Parameters
    ----------
    data_path : path
    methods : iterable of str
        Short names of methods of cells that do not train.
    trials : iterable of int
    folder_of : callable
        Maps method and trial to the folder that gets latent.npz and run.json.
    seed : int
    """
    data = load(data_path)
    assert isinstance(data, CellData)
    components = principal_components(data)
    for method in methods:
        for trial in trials:
            start = time.monotonic()
            job = Job("cells", data.name, method, CHOSEN, trial)
            obstacle = _obstacle(job.record, data)
            embed = pca if obstacle else resolve(job.record.made_by)
            embedding = embed(components, data, seed_of(seed, trial, method))
            folder = Path(folder_of(method, trial))
            is_graph = issparse(embedding)
            write_latent(folder, graph_arrays(embedding) if is_graph else {"embedding": embedding})
            run = {
                "status": f"n/a: {obstacle}" if obstacle else "ok",
                "seconds": round(time.monotonic() - start, 3),
                **machine(torch.device("cpu")),
                "spec": {**job.row, "seed": seed},
            }
            write_json(folder / "run.json", run)


def _obstacle(method: Method, data: CellData) -> str:
    """Return why a method is not for these cells, or nothing."""
    if method.needs_batches and data.n_batches == 1:
        return "single batch"
    if method.needs_labels and not (data.labels >= 0).any():
        return "no labels"
    if not method.takes(data.n_cells):
        say(
            f"{method.label} is left out of {data.name}, which has {data.n_cells:,} cells: it "
            f"takes time with their square and is tried up to {method.most_cells:,}."
        )
        return f"more than {method.most_cells:,} cells".replace(",", " ")
    return ""
