"""What one job of the benchmark does: files in, files out."""

from __future__ import annotations

import csv
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.job import Job
from vmm.benchmark.spec import Spec
from vmm.data.containers import load
from vmm.device import claimed, described
from vmm.io import atomic, read_arrays, remove_leftovers, write_json
from vmm.lazy import resolve
from vmm.progress import progress as show_progress
from vmm.progress import say
from vmm.tensor_files import write_tensors
from vmm.versions import installed

if TYPE_CHECKING:
    import torch

    from vmm.benchmark.trained import Trained
    from vmm.training.settings import Row


def read_split(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the training and validation rows of a split."""
    rows = read_arrays(path, "train", "valid")
    return rows["train"], rows["valid"]


def train_trials(
    data_path: str | Path,
    split_paths: Sequence[str | Path],
    specs: Sequence[Spec],
    folders: Sequence[str | Path],
    device: str = "auto",
    progress: Sequence[Callable[[Row], None]] | None = None,
    cuda_graph: bool = True,
    origin: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Train trials of one model of the grid at once, and write their folders.

    Each comes to what it would alone, up to rounding. scvi-tools' models are trained one after
    another.

    Parameters
    ----------
    data_path : path
        Prepared data, ``data/<dataset>.npz``.
    split_paths : sequence of path
        ``splits/<dataset>/trial_<t>.npz`` of each trial.
    specs : sequence of Spec
        Of each trial; they differ in nothing but the trial.
    folders : sequence of path
        Of each trial. They get weights.pt, latent.npz, history.csv and, last, run.json. The
        checkpoint of all trials lies in the first while the job runs; a job that is killed and
        started again resumes from it.
    device : {"auto", "cpu", "cuda"}
    progress : sequence of callable, optional
        For each trial, called with the row of each epoch; by default progress goes to standard
        error.
    cuda_graph : bool
        See :class:`vmm.training.settings.Settings`.
    origin : mapping, optional
        What else the result depends on, for run.json.

    Returns
    -------
    list of dict
        What each run.json holds; the time of what was done together is shared out evenly.
    """
    paths = [Path(folder) for folder in folders]
    for folder in paths:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").unlink(missing_ok=True)
        remove_leftovers(folder)
    with claimed(device) as where:
        say(described(where))
        start = time.monotonic()
        reset_peak_memory(where)
        data = load(data_path, mapped=True)
        splits = [read_split(path) for path in split_paths]
        if progress is None:
            progress = [show_progress(job_label(spec.job), spec.max_epochs) for spec in specs]
        train = resolve(specs[0].job.record.made_by)
        trained = train(data, splits, specs, paths[0], where, progress, cuda_graph)
        seconds = (time.monotonic() - start) / len(specs)
        runs = [
            _write_folder(folder, one, seconds, where, spec, origin)
            for folder, one, spec in zip(paths, trained, specs, strict=True)
        ]
    for folder in paths:  # all are complete
        for checkpoint in folder.glob("checkpoint*.pt"):
            checkpoint.unlink(missing_ok=True)
    return runs


def _write_folder(
    folder: Path,
    trained: Trained,
    seconds: float,
    device: torch.device,
    spec: Spec,
    origin: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Write all files of a model, and last run.json; return what that holds."""
    result, latent = trained.result, trained.latent
    write_tensors(folder / "weights.pt", trained.weights)
    write_latent(folder, latent)
    _write_history(folder / "history.csv", result.history)
    clusters = latent["cluster_probs"].argmax(1) if "cluster_probs" in latent else []
    run = {
        "status": result.status,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "utilized_clusters": len(np.unique(clusters)),
        "seconds": round(seconds, 3),
        "training_seconds": round(sum(row["seconds"] for row in result.history), 3),
        **machine(device),
        "spec": spec.plain(),
    }
    if trained.networks is not None:
        run["networks"] = trained.networks
    if origin is not None:
        run["origin"] = dict(origin)
    write_json(folder / "run.json", run)
    return run


def write_latent(folder: Path, latent: Mapping[str, Any]) -> None:
    """Write what a method says of its data: embedding and, if any, cluster probabilities."""
    with atomic(folder / "latent.npz") as temporary:
        np.savez_compressed(temporary, **latent)


def _write_history(path: Path, history: list[Row]) -> None:
    columns = list(history[0]) if history else ["epoch"]
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def job_label(job: Job) -> str:
    """Return a short name of a job for progress lines."""
    return f"{job.dataset} {job.model} {job.prior} {job.setting} trial {job.trial}"


def reset_peak_memory(device: torch.device) -> None:
    """Forget what models before took of a GPU's memory; of the process's, that cannot be done."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()  # or what they reserved would count as this one's
        torch.cuda.reset_peak_memory_stats(device)


def machine(device: torch.device) -> dict[str, Any]:
    """Return device, threads, peak memory and versions of this process.

    Of a GPU's memory, what tensors took since :func:`reset_peak_memory`, and what was reserved for
    them, which a card must have.
    """
    import torch

    on_gpu = device.type == "cuda"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    allocated = torch.cuda.max_memory_allocated(device) if on_gpu else 0
    reserved = torch.cuda.max_memory_reserved(device) if on_gpu else 0
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "peak_memory_mb": round(peak, 1),
        "peak_gpu_memory_mb": round(allocated / 2**20, 1),
        "peak_gpu_memory_reserved_mb": round(reserved / 2**20, 1),
        "versions": installed("torch", "numpy", "scipy", "scvi-tools", "clustpy"),
    }
