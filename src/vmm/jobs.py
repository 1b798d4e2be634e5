"""What one job of the benchmark does: files in, files out."""

from __future__ import annotations

import csv
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vmm.data import CellData, ImageData, load
from vmm.device import resolve_device
from vmm.io import (
    atomic,
    read_arrays,
    read_json,
    read_tensors,
    remove_leftovers,
    write_json,
    write_tensors,
)
from vmm.models import LatentVariableModel
from vmm.models.build import build_model, seed_of
from vmm.names import METHODS
from vmm.progress import progress as show_progress
from vmm.stacked import fit_stacked
from vmm.tensors import CellTensors, ImageTensors, Tensors
from vmm.training import FitResult, Row, Settings, embed, fit
from vmm.versions import installed

PRETRAINING_RATE = 2e-3
SAMPLES_PER_CLUSTER = 10


def read_split(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the training and validation rows of a split."""
    rows = read_arrays(path, "train", "valid")
    return rows["train"], rows["valid"]


def to_tensors(data: CellData | ImageData, device: torch.device) -> Tensors:
    """Put prepared data on the device."""
    if isinstance(data, CellData):
        return CellTensors(data.counts, data.batch, data.n_batches, device)
    return ImageTensors(data.x, device)


def train(
    data_path: str | Path,
    split_path: str | Path,
    spec: dict[str, Any],
    folder: str | Path,
    device: str = "auto",
    progress: Callable[[Row], None] | None = None,
    cuda_graph: bool = False,
) -> dict[str, Any]:
    """Train one model of the grid and write its folder.

    Parameters
    ----------
    data_path : path
        Prepared data, ``data/<dataset>.npz``.
    split_path : path
        ``splits/<dataset>/trial_<t>.npz``.
    spec : dict
        dataset, model, prior, setting, trial, seed, learning_rate, batch_size, max_epochs,
        patience, monitor, prior_learning_ratio, the keys of
        :func:`vmm.models.build.build_model` and, unless it is "float32", precision.
    folder : path
        Gets weights.pt, latent.npz, history.csv and, last, run.json. A checkpoint lies there
        while the job runs; a job killed and started again resumes from it.
    device : {"auto", "cpu", "cuda"}
    progress : callable, optional
        Called with the row of each epoch; by default progress goes to standard error.
    cuda_graph : bool
        See :class:`vmm.training.Settings`.

    Returns
    -------
    dict
        What run.json holds.
    """
    shown = None if progress is None else [progress]
    (run,) = train_trials(data_path, [split_path], [spec], [folder], device, shown, cuda_graph)
    return run


def train_trials(
    data_path: str | Path,
    split_paths: Sequence[str | Path],
    specs: Sequence[dict[str, Any]],
    folders: Sequence[str | Path],
    device: str = "auto",
    progress: Sequence[Callable[[Row], None]] | None = None,
    cuda_graph: bool = False,
) -> list[dict[str, Any]]:
    """Train trials of one model of the grid at once, and write their folders.

    Each comes to what :func:`train` makes of it, up to rounding. scvi-tools' models are trained
    one after another.

    Parameters
    ----------
    data_path : path
    split_paths, specs, folders, progress
        As for :func:`train`, one for each trial. The specs differ in nothing but the trial. The
        checkpoint of all trials lies in the first folder.
    device, cuda_graph
        As for :func:`train`.

    Returns
    -------
    list of dict
        What each run.json holds; the time of what was done together is shared out evenly.
    """
    folders = [Path(folder) for folder in folders]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").unlink(missing_ok=True)
        remove_leftovers(folder)
    where = resolve_device(device)
    start = time.monotonic()
    data = load(data_path)
    splits = [read_split(path) for path in split_paths]
    if progress is None:
        progress = [show_progress(job_label(spec), spec["max_epochs"]) for spec in specs]
    if specs[0]["model"] == "scvi-tools":
        each = zip(splits, specs, progress, strict=True)
        trained = [_train_scvi_tools(data, rows, spec, where, show) for rows, spec, show in each]
    else:
        trained = _train_ours(data, splits, specs, folders[0], where, progress, cuda_graph)
    seconds = (time.monotonic() - start) / len(specs)
    runs = [
        _write_folder(folder, one, seconds, where, spec)
        for folder, one, spec in zip(folders, trained, specs, strict=True)
    ]
    for folder in folders:  # all are complete
        for checkpoint in folder.glob("checkpoint*.pt"):
            checkpoint.unlink(missing_ok=True)
    return runs


class _Trained(NamedTuple):
    """What training makes of one model."""

    result: FitResult
    weights: dict[str, torch.Tensor]
    latent: dict[str, np.ndarray]


def _write_folder(
    folder: Path, trained: _Trained, seconds: float, device: torch.device, spec: dict[str, Any]
) -> dict[str, Any]:
    """Write all files of a model, and last run.json; return what that holds."""
    result, weights, latent = trained
    write_tensors(folder / "weights.pt", weights)
    with atomic(folder / "latent.npz") as temporary:
        np.savez_compressed(temporary, **latent)
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
        "spec": spec,
    }
    write_json(folder / "run.json", run)
    return run


def job_label(spec: dict[str, Any]) -> str:
    """Return a short name of a job for progress lines."""
    method = f"{spec['model']} {spec['prior']}"
    return f"{spec['dataset']} {method} {spec['setting']} trial {spec['trial']}"


def machine(device: torch.device) -> dict[str, Any]:
    """Return device, threads, peak memory and versions of this process."""
    on_gpu = device.type == "cuda"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "peak_memory_mb": round(peak, 1),
        "peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1) if on_gpu else 0,
        "versions": installed("torch", "numpy", "scipy", "scvi-tools"),
    }


def _train_ours(data, splits, specs, folder, device, progress, cuda_graph) -> list[_Trained]:
    tensors = to_tensors(data, device)
    models = [
        build_model(spec, tensors, train_rows)
        for spec, (train_rows, _) in zip(specs, splits, strict=True)
    ]
    settings = [_settings(spec, cuda_graph) for spec in specs]
    if specs[0]["model"] == "VaDE":
        pretrain_vade(models, tensors, splits, settings, folder)
    checkpoint = folder / "checkpoint.pt"
    results = _fit(models, tensors, splits, settings, checkpoint, data.labels, progress)
    each = zip(models, results, settings, strict=True)
    return [_embedded(model, result, tensors, own.seed) for model, result, own in each]


def _settings(spec: dict[str, Any], cuda_graph: bool) -> Settings:
    return Settings(
        learning_rate=spec["learning_rate"],
        batch_size=spec["batch_size"],
        max_epochs=spec["max_epochs"],
        prior_learning_ratio=spec["prior_learning_ratio"],
        patience=spec["patience"],
        monitor=spec["monitor"],
        seed=seed_of(spec["seed"], spec["trial"], "training"),
        precision=spec.get("precision", "float32"),
        cuda_graph=cuda_graph,
    )


def _fit(models, data, splits, settings, checkpoint, labels=None, progress=None) -> list[FitResult]:
    """Train one model alone, or several at once."""
    if len(models) > 1:
        return fit_stacked(models, data, splits, settings, labels, checkpoint, progress=progress)
    show = None if progress is None else progress[0]
    return [fit(models[0], data, *splits[0], settings[0], labels, checkpoint, progress=show)]


def _embedded(model, result: FitResult, data: Tensors, seed: int) -> _Trained:
    embedding, cluster_probs = embed(model, data, seed)
    latent = {"embedding": embedding}
    if cluster_probs is not None:
        latent["cluster_probs"] = cluster_probs
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    return _Trained(result, weights, latent)


def pretrain_vade(
    models: Sequence[LatentVariableModel],
    data: Tensors,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: Sequence[Settings],
    folder: str | Path,
) -> None:
    """Pre-train without the KL, then fit the mixture to samples of z (Jiang et al. 2017).

    round(5·M/100) epochs at rate 2e-3 for batches of M; the rest as in the `settings` of the
    training that follows.
    """
    pretraining = [
        replace(
            own,
            learning_rate=PRETRAINING_RATE,
            max_epochs=round(5 * own.batch_size / 100),
            patience=None,
            monitor="none",
            kl_weight=0.0,
        )
        for own in settings
    ]
    _fit(models, data, splits, pretraining, Path(folder) / "checkpoint-pretraining.pt")
    for model, (train_rows, _), own in zip(models, splits, settings, strict=True):
        model.prior.initialise(_samples(model, data, train_rows, own.seed), own.seed)


@torch.no_grad()
def _samples(
    model: LatentVariableModel, data: Tensors, rows: np.ndarray, seed: int
) -> torch.Tensor:
    """Return a sample of z for each row, shape (n, p)."""
    generator = torch.Generator(data.device).manual_seed(seed)
    samples = []
    for part in torch.as_tensor(rows, device=data.device).split(1024):
        q = model.posterior(data.batch(part))
        noise = torch.randn(q.mean.shape, generator=generator, device=data.device)
        samples.append(q.rsample(noise))
    return torch.cat(samples)


def _train_scvi_tools(data, rows, spec, device, progress) -> _Trained:
    from vmm.scvi_tools import train_scvi_tools

    seed = seed_of(spec["seed"], spec["trial"], "training")
    result, embedding, state = train_scvi_tools(data, *rows, spec, seed, device.type, progress)
    weights = {name: value.cpu() for name, value in state.items()}
    return _Trained(result, weights, {"embedding": embedding})


def _write_history(path: Path, history: list[Row]) -> None:
    columns = list(history[0]) if history else ["epoch"]
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


def baselines(
    data_path: str | Path,
    methods: Iterable[str],
    trials: Iterable[int],
    folder_of: Callable[[str, int], str | Path],
    setting: str = "chosen",
    seed: int = 0,
) -> None:
    """Embed a cell data set by methods without training, for all trials in one process.

    A method that corrects for batches has none to correct in single-batch data: its folder then
    holds the plain principal components and the status says so.

    Parameters
    ----------
    data_path : path
    methods : iterable of str
        Of "pca", "harmony", "scanorama".
    trials : iterable of int
    folder_of : callable
        Maps method and trial to the folder that gets latent.npz and run.json.
    setting : str
        What their rows of metrics say.
    seed : int
    """
    from vmm.baselines import baseline_embedding, principal_components

    data = load(data_path)
    trials, methods = list(trials), list(methods)
    components = principal_components(data)
    for method in methods:
        single = data.n_batches == 1 and method != "pca"
        for trial in trials:
            start = time.monotonic()
            trial_seed = seed_of(seed, trial, method)
            name = "pca" if single else method
            embedding = baseline_embedding(name, data, components, trial_seed)
            folder = Path(folder_of(method, trial))
            with atomic(folder / "latent.npz") as temporary:
                np.savez_compressed(temporary, embedding=embedding)
            run = {
                "status": "n/a: single batch" if single else "ok",
                "seconds": round(time.monotonic() - start, 3),
                **machine(torch.device("cpu")),
                "spec": {
                    "dataset": data.name,
                    "model": METHODS["cells"][method].model,
                    "prior": METHODS["cells"][method].prior,
                    "setting": setting,
                    "trial": trial,
                    "seed": seed,
                },
            }
            write_json(folder / "run.json", run)


def load_model(
    folder: str | Path,
    data_path: str | Path,
    split_path: str | Path,
    device: str = "auto",
) -> tuple[LatentVariableModel, CellData | ImageData, Tensors]:
    """Return the trained model of a folder, with its data prepared and on the device."""
    folder = Path(folder)
    spec = read_json(folder / "run.json", "spec")["spec"]
    data = load(data_path)
    tensors = to_tensors(data, resolve_device(device))
    model = build_model(spec, tensors, read_split(split_path)[0])
    model.load_state_dict(read_tensors(folder / "weights.pt", tensors.device))
    return model, data, tensors


@torch.no_grad()
def prior_samples(
    folder: str | Path,
    data_path: str | Path,
    split_path: str | Path,
    out: str | Path,
    device: str = "auto",
) -> None:
    """Write prior-predictive samples of the clusters that an image model utilises.

    Parameters
    ----------
    folder : path
        A model's folder.
    data_path, split_path : path
    out : path
        An ``.npz`` with, for the J utilised clusters sorted by descending weight: cluster (J,),
        weight (J,) π_j, n_samples (J,) = round(10 π_j / max π), samples (J, 10, D) decoder means in
        [−1, 1] of draws from the component, members (J, D) the most probable image of the
        data, image_shape (2,).
    device : str
    """
    model, data, tensors = load_model(folder, data_path, split_path, device)
    spec = read_json(Path(folder) / "run.json", "spec")["spec"]
    probabilities = read_arrays(Path(folder) / "latent.npz", "cluster_probs")["cluster_probs"]
    weights = model.prior.log_weights().exp().cpu().numpy()
    used = np.unique(probabilities.argmax(1))
    used = used[np.argsort(-weights[used], kind="stable")]
    generator = torch.Generator(tensors.device)
    generator.manual_seed(seed_of(spec["seed"], spec["trial"], "samples"))
    shape = (len(used) * SAMPLES_PER_CLUSTER, model.latent_dim)
    noise = torch.randn(shape, generator=generator, device=tensors.device)
    component = torch.as_tensor(used, device=tensors.device)
    component = component.repeat_interleave(SAMPLES_PER_CLUSTER)
    z = model.prior.sample_component(component, noise, model.encode_pseudo_inputs)
    members = torch.as_tensor(probabilities[:, used].argmax(0), device=tensors.device)
    with atomic(out) as temporary:
        np.savez_compressed(
            temporary,
            cluster=used,
            weight=weights[used],
            n_samples=np.rint(10 * weights[used] / weights[used].max()).astype(np.int64),
            samples=model.decode(z).reshape(len(used), SAMPLES_PER_CLUSTER, -1).cpu().numpy(),
            members=tensors.batch(members).cpu().numpy(),
            image_shape=np.array(data.image_shape, dtype=np.int64),
        )
