"""Every stage of a run of cells but the training of other models: seconds and memory by size.

`make bench ONLY=atlas_100000`. A stage is a process of its own, so that what it needs is what a job
of the pipeline needs. Counts are those of :mod:`benchmarks.scale`; embeddings are drawn: 30 types
around centres of their own, 20 batches shifted a little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import Benchmark, Comparison
from benchmarks.scale import FOLDER, SPEC, empty, h5ad, peak, prepare, prepared, train
from vmm.benchmark.config.schema import schema

SIZES = (20_000, 100_000, 500_000, 1_000_000)
MOST = 16.0
"""GB that no stage may exceed."""
SCORED = schema()["properties"]["evaluation_cells"]["default"]
DIMENSIONS, SPREAD, SHIFT = 10, 3.0, 0.5


def prepare_cells(n: int) -> None:
    """Read, check and write the prepared cells."""
    prepare(h5ad(n), FOLDER / "again.npz")


def train_vmm(n: int) -> None:
    """Do a training job of one epoch, embedding included."""
    train(prepared(n), replace(SPEC, max_epochs=1), FOLDER / "model")


def pca(n: int) -> None:
    """Make the principal components that baselines start from, and keep them for these."""
    from vmm.benchmark.baselines.pca import principal_components

    np.save(FOLDER / f"{n}_components.npy", principal_components(_cells(n)))


def _baseline(name: str, n: int) -> None:
    from vmm.benchmark.methods.records import METHODS
    from vmm.lazy import resolve

    path = FOLDER / f"{n}_components.npy"
    if not path.exists():
        pca(n)
    resolve(METHODS["cells"][name].made_by)(np.load(path), _cells(n), 0)


def integration(n: int) -> None:
    """Score an embedding by scIB's metrics."""
    from vmm.benchmark.evaluation.integration import evaluate_integration

    evaluate_integration([_embedded(n)], prepared(n)[0], cells=SCORED)


def clustering(n: int) -> None:
    """Score a model's clusters, and Leiden's of an embedding."""
    from vmm.benchmark.evaluation.clustering import evaluate_clustering
    from vmm.benchmark.evaluation.leiden import evaluate_leiden

    folder, data = _embedded(n), prepared(n)[0]
    evaluate_clustering([folder], data)
    evaluate_leiden([folder], data, cells=SCORED)


def picture(n: int) -> None:
    """Lay an embedding out and draw it."""
    from vmm.data.stratified import stratified_sample
    from vmm.io import read_arrays
    from vmm.plots.mde import mde_coordinates
    from vmm.plots.mde_figure import mde_figure
    from vmm.plots.style import save

    data = _cells(n)
    drawn = stratified_sample(SCORED, data.batch, data.labels)
    latent = read_arrays(_embedded(n) / "latent.npz", "embedding")
    layout = mde_coordinates({"VMM": latent["embedding"][drawn]}, 0)
    clusters = {"VMM": latent["cluster_probs"][drawn].argmax(1)}
    batch, labels = data.batch[drawn], data.labels[drawn]
    figure = mde_figure(layout, batch, data.batch_names, labels, data.label_names, clusters)
    save(figure, FOLDER / "mde")


STAGES: dict[str, Callable[[int], None]] = {
    "prepare": prepare_cells,
    "train one epoch, embed": train_vmm,
    "PCA": pca,
    "Harmony": partial(_baseline, "harmony"),
    "Scanorama": partial(_baseline, "scanorama"),
    "integration metrics": integration,
    "clusters and Leiden": clustering,
    "MDE and its figure": picture,
}


def stages_of(n: int) -> list[str]:
    """Return the stages that there are with so many cells."""
    from vmm.benchmark.methods.records import METHODS

    tried = METHODS["cells"]["scanorama"].takes(n)
    return [stage for stage in STAGES if stage != "Scanorama" or tried]


def __getattr__(name: str) -> Callable:
    """Return the contender ``<number of the stage>_<cells>``."""
    stage, _, n = name.removeprefix("stage_").partition("_")
    if not (name.startswith("stage_") and stage.isdigit() and n.isdigit()):
        raise AttributeError(name)
    work = list(STAGES.values())[int(stage)]

    def contender(lap) -> None:
        work(int(n))
        lap(peak())

    return contender


BENCHMARKS = [
    Benchmark(
        name=f"atlas_{n}",
        work=f"peak memory of a stage, {n:,} cells".replace(",", " "),
        contenders={
            stage: f"benchmarks.atlas:stage_{i}_{n}"
            for i, stage in enumerate(STAGES)
            if stage in stages_of(n)
        },
        comparisons=tuple(Comparison(stage, MOST) for stage in stages_of(n)),
        repeats=1,
        processes=True,
        unit="GB",
    )
    for n in SIZES
]


def _cells(n: int):
    from vmm.data.containers import load

    return load(prepared(n)[0])


def _embedded(n: int) -> Path:
    """Return the folder of a model whose embedding is drawn; make it if there is none yet."""
    from vmm.benchmark.jobs import write_latent
    from vmm.io import write_json

    folder = FOLDER / f"{n}_embedded"
    if (folder / "run.json").exists():
        return folder
    data, rng = _cells(n), np.random.default_rng(0)
    centres = rng.normal(0, SPREAD, (data.n_types, DIMENSIONS))
    shifts = rng.normal(0, SHIFT, (data.n_batches, DIMENSIONS))
    noise = rng.normal(size=(n, DIMENSIONS))
    embedding = centres[data.labels] + shifts[data.batch] + noise
    distances = ((embedding[:, None] - centres[None]) ** 2).sum(-1)
    probs = np.exp(distances.min(1, keepdims=True) - distances)
    latent = {"embedding": embedding, "cluster_probs": probs / probs.sum(1, keepdims=True)}
    write_latent(empty(folder), {k: v.astype(np.float32) for k, v in latent.items()})
    write_json(folder / "run.json", {"status": "ok", "spec": _row()})
    return folder


def _row() -> dict:
    from vmm.benchmark.job import Job
    from vmm.benchmark.setting import CHOSEN

    return Job("cells", "synthetic", "vmm", CHOSEN, 0).row
