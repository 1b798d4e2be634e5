"""What one job of the benchmark does: files in, files out."""

from __future__ import annotations

import csv
import platform
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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
from vmm.tensors import CellTensors, ImageTensors, Tensors
from vmm.training import Row, Settings, embed, fit

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
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)
    remove_leftovers(folder)
    where = resolve_device(device)
    start = time.monotonic()
    data = load(data_path)
    rows = read_split(split_path)
    if progress is None:
        progress = show_progress(job_label(spec), spec["max_epochs"])
    if spec["model"] == "scvi-tools":
        result, weights, latent = _train_scvi_tools(data, rows, spec, where, progress)
    else:
        result, weights, latent = _train_ours(data, rows, spec, folder, where, progress, cuda_graph)

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
        "seconds": round(time.monotonic() - start, 3),
        "training_seconds": round(sum(row["seconds"] for row in result.history), 3),
        **machine(where),
        "spec": spec,
    }
    write_json(folder / "run.json", run)
    for checkpoint in folder.glob("checkpoint*.pt"):
        checkpoint.unlink(missing_ok=True)
    return run


def job_label(spec: dict[str, Any]) -> str:
    """Return a short name of a job for progress lines."""
    method = f"{spec['model']} {spec['prior']}"
    return f"{spec['dataset']} {method} {spec['setting']} trial {spec['trial']}"


def machine(device: torch.device) -> dict[str, Any]:
    """Return device, threads, peak memory and versions of this process."""
    on_gpu = device.type == "cuda"
    packages = {}
    for name in ("vmm", "torch", "numpy", "scipy", "scvi-tools"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "peak_memory_mb": round(peak, 1),
        "peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1) if on_gpu else 0,
        "versions": {"python": platform.python_version(), **packages},
    }


def _train_ours(data, rows, spec, folder, device, progress, cuda_graph):
    train_rows, valid_rows = rows
    tensors = to_tensors(data, device)
    model = build_model(spec, tensors, train_rows)
    seed = seed_of(spec["seed"], spec["trial"], "training")
    settings = Settings(
        learning_rate=spec["learning_rate"],
        batch_size=spec["batch_size"],
        max_epochs=spec["max_epochs"],
        prior_learning_ratio=spec["prior_learning_ratio"],
        patience=spec["patience"],
        monitor=spec["monitor"],
        seed=seed,
        precision=spec.get("precision", "float32"),
        cuda_graph=cuda_graph,
    )
    if spec["model"] == "VaDE":
        pretrain_vade(model, tensors, train_rows, valid_rows, settings, folder)
    checkpoint = folder / "checkpoint.pt"
    result = fit(
        model, tensors, train_rows, valid_rows, settings, data.labels, checkpoint, progress=progress
    )
    embedding, cluster_probs = embed(model, tensors, seed)
    latent = {"embedding": embedding}
    if cluster_probs is not None:
        latent["cluster_probs"] = cluster_probs
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    return result, weights, latent


def pretrain_vade(
    model: LatentVariableModel,
    data: Tensors,
    train_rows: np.ndarray,
    valid_rows: np.ndarray,
    settings: Settings,
    folder: str | Path,
) -> None:
    """Pre-train without the KL, then fit the mixture to samples of z (Jiang et al. 2017).

    round(5·M/100) epochs at rate 2e-3 for batches of M; the rest as in the `settings` of the
    training that follows.
    """
    pretraining = replace(
        settings,
        learning_rate=PRETRAINING_RATE,
        max_epochs=round(5 * settings.batch_size / 100),
        patience=None,
        monitor="none",
        kl_weight=0.0,
    )
    checkpoint = Path(folder) / "checkpoint-pretraining.pt"
    fit(model, data, train_rows, valid_rows, pretraining, checkpoint=checkpoint)
    generator = torch.Generator(data.device).manual_seed(settings.seed)
    samples = []
    with torch.no_grad():
        for rows in torch.as_tensor(train_rows, device=data.device).split(1024):
            q = model.posterior(data.batch(rows))
            noise = torch.randn(q.mean.shape, generator=generator, device=data.device)
            samples.append(q.rsample(noise))
    model.prior.initialise(torch.cat(samples), settings.seed)


def _train_scvi_tools(data, rows, spec, device, progress):
    from vmm.scvi_tools import train_scvi_tools

    seed = seed_of(spec["seed"], spec["trial"], "training")
    result, embedding, state = train_scvi_tools(data, *rows, spec, seed, device.type, progress)
    weights = {name: value.cpu() for name, value in state.items()}
    return result, weights, {"embedding": embedding}


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
