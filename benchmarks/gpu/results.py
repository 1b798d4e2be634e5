"""What trainings on a GPU come to, against the paper and the evidence; many cells; two jobs."""

from __future__ import annotations

import csv
import math
import multiprocessing
import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.data import SIZES, cells
from benchmarks.gpu.runner import ROOT, Check, NotThere, Run
from benchmarks.gpu.work import (
    NETWORKS,
    Array,
    Enough,
    Work,
    cell_tensors,
    pixels,
    synchronize,
    work_on,
)
from benchmarks.report import number
from vmm.data.containers import CellData, load
from vmm.data.sources.idx import read_idx
from vmm.data.sources.records import IDX
from vmm.models.tensors import CellTensors, ImageTensors
from vmm.priors.records import PRIORS
from vmm.training.embedding import embed

N_TRIALS, EVIDENCE = 10, "pbmc_3tech"
LATENT = {"mnist": 10, "fashion_mnist": 30}
FORMS = {"eager": False, "graph": True}
SCORES = ("Utilized clusters", "Accuracy", "NMI (unmerged)")


def image_clusters(run: Run, name: str, to_the_end: bool) -> None:
    """Train the trials of an image set, for most of the time or to early stopping."""
    if run.toy:
        x, labels = pixels(100, 4)
        n_train, networks = 80, NETWORKS["images"][True]
    else:
        folder = run.needs(run.data, f"{name}/{IDX[0]} and the other three files") / name
        paths = [run.needs(folder / file, "a file of the set") for file in IDX]
        parts = [read_idx(path) for path in paths]
        x = np.concatenate([parts[0], parts[2]]).reshape(-1, parts[0][0].size)
        labels, n_train = np.concatenate([parts[1], parts[3]]).astype(np.int64), len(parts[0])
        networks = replace(NETWORKS["images"][False], n_latent=LATENT[name])
    data = ImageTensors(x, run.device)
    work = work_on("images", None, networks, data, run.toy)
    work = replace(work, valid=np.arange(n_train, len(x)))
    paper = {}
    with (ROOT / "src" / "vmm" / "paper" / "published.csv").open() as file:
        for row in csv.DictReader(file):
            if row["dataset"] == name and row["prior"] == PRIORS[work.prior].class_name:
                paper[row["metric"]] = f"{row['mean']} ± {row['sd']}"
    patience = 100 if to_the_end else None
    _clusters(run, work, labels, paper, "the paper", patience=patience)


def cell_clusters(run: Run) -> None:
    """Train the trials of a cell set as docs/evidence did on a CPU, whose scores stand beside."""
    if run.toy:
        counts, batch = cells(**(SIZES["cortex"] | {"n_cells": 100, "n_genes": 12}))
        labels, n_batches = np.arange(100) % 3, 1
    else:
        data = _cell_set(run)
        counts, batch, labels, n_batches = data.counts, data.batch, data.labels, data.n_batches
    tensors = CellTensors(counts, batch, n_batches, run.device)
    work = work_on("cells", None, NETWORKS["cells"][run.toy], tensors, run.toy)
    if not run.toy:
        settings = replace(work.settings, learning_rate=1e-3, prior_learning_ratio=2.5)
        work = replace(work, settings=settings)
    text = (ROOT / "docs" / "evidence" / "results" / "evidence_cells_three.md").read_text()
    start = f"| {EVIDENCE} | {PRIORS[work.prior].label} |"
    found = next((line for line in text.splitlines() if line.startswith(start)), "| " * 7)
    columns = [cell.strip() for cell in found.strip("| ").split("|")][2:]
    names = ["Utilized clusters", "Accuracy", "NMI (merged)", "NMI (unmerged)"]
    evidence = dict(zip(names, columns, strict=False))
    _clusters(run, work, labels, evidence, "docs/evidence", max_epochs=120, patience=20)


def _cell_set(run: Run) -> CellData:
    """Return the set of the evidence: prepared (.npz), or .h5ad where anndata is installed."""
    folder = run.needs(run.data, "cells/") / "cells"
    prepared = folder / f"{EVIDENCE}.npz"
    if prepared.exists():
        data = load(prepared)
        assert isinstance(data, CellData)
        return data
    path = run.needs(folder / f"{EVIDENCE}_symphony.h5ad", f"nor {prepared}")
    try:
        from anndata import read_h5ad
    except ImportError as error:
        raise NotThere(f"needs anndata, or {prepared} as a run prepares it") from error
    adata = read_h5ad(path)
    batch, labels = (adata.obs[key].astype("category").cat for key in ("batch", "cell_type"))
    return CellData(
        name=EVIDENCE,
        counts=adata.X.tocsr(),
        batch=batch.codes.to_numpy().astype(np.int64),
        batch_names=[str(name) for name in batch.categories],
        labels=labels.codes.to_numpy().astype(np.int64),
        label_names=[str(name) for name in labels.categories],
        genes=adata.var_names.to_numpy().astype(str),
        cells=adata.obs_names.to_numpy().astype(str),
    )


def _clusters(
    run: Run, work: Work, labels: Array, known: dict[str, str], of: str, **changes: Any
) -> None:
    """Train until done, or until a fifth of the time is left; report the curve and the scores."""
    n_trials = 3 if run.toy else N_TRIALS
    changes = {"max_epochs": 10_000, "cuda_graph": True} | changes
    if run.toy:
        changes["max_epochs"] = 3
    curve: list[list[str]] = []
    kept: dict[int, Any] = {}
    start = time.monotonic()
    last = {"epoch": 0}

    def progress(trial: int, model, row: dict) -> None:
        kept[trial] = model
        last["epoch"] = max(last["epoch"], int(row["epoch"]))
        if trial == 0:
            shown = [number(time.monotonic() - start), *map(number, _curve(row))]
            curve.append([str(int(row["epoch"])), *shown])
        if trial == 0 and len(curve) > 1 and run.left() < run.seconds / 5:
            raise Enough

    try:
        models, results = work.fit(n_trials, progress=progress, **changes)
        run.same("no trial diverged", all(result.status == "ok" for result in results))
        run.number("best epochs", ", ".join(str(result.best_epoch) for result in results))
    except Enough:
        models = [kept[trial] for trial in sorted(kept)]
        run.number("cut by the clock", "the scores are those of the last epoch")
    seconds = time.monotonic() - start
    run.number("epochs", last["epoch"])
    run.number("an epoch of all trials", seconds / last["epoch"], "s")
    few = curve[:: max(1, len(curve) // 12)]
    head = ["epoch", "s", "training ELBO", "validation ELBO", "clusters in use"]
    run.table(f"{run.check.name}: the first of {n_trials} trials", head, few)
    scores = np.array([_scores(*embed(model, work.data), labels) for model in models])
    run.same("all scores are numbers", bool(np.isfinite(scores).all()))
    rows = [
        [name, f"{column.mean():.3f} ± {column.std(ddof=1):.3f}", known.get(name, "")]
        for name, column in zip(SCORES, scores.T, strict=True)
    ]
    run.table(f"{run.check.name}: {len(models)} trials", ["score", "here", of], rows)


def _curve(row: dict) -> list[float]:
    return [row["train_elbo"], row["valid_elbo"], row["utilized_clusters"]]


def _scores(embedding: Array, probabilities: Array | None, labels: Array) -> list[float]:
    """Return clusters in use, accuracy and NMI, as the pipeline's metrics define them."""
    assert probabilities is not None
    clusters = probabilities.argmax(1)
    predicted = labels[probabilities.argmax(0)][clusters]
    return [len(np.unique(clusters)), float((predicted == labels).mean()), nmi(labels, clusters)]


def nmi(first: Array, second: Array) -> float:
    """Return the mutual information of two partitions over the mean of their entropies."""
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1 / len(first))

    def entropy(shares: Array) -> float:
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())

    each = entropy(table.sum(0)) + entropy(table.sum(1))
    return 2 * (each - entropy(table.ravel())) / each if each else 1.0


def many_cells(run: Run) -> None:
    """Train on 500 000 cells for two epochs; report the seconds of one and the memory."""
    from scipy import sparse

    n_blocks, shape = (3, (40, 12)) if run.toy else (100, (5000, 2000))
    own = {"n_cells": shape[0], "n_genes": shape[1], "n_batches": 4, "non_zero": 0.1}
    counts, batch = cells(**(SIZES["pbmc"] | own))
    whole = sparse.vstack([counts] * n_blocks, format="csr")
    data = CellTensors(whole, np.tile(batch, n_blocks), 4, run.device)
    run.number("cells", len(data))
    work = work_on("cells", None, NETWORKS["cells"][run.toy], data, run.toy)
    start = time.monotonic()
    _, (result,) = work.fit(1, max_epochs=2, cuda_graph=True)
    synchronize(run.device)
    run.number("an epoch", (time.monotonic() - start) / 2, "s")
    run.same("finite", all(math.isfinite(row["valid_elbo"]) for row in result.history))
    if run.device.type == "cuda":
        run.number("memory", torch.cuda.max_memory_allocated(run.device) / 2**30, "GiB")


def two_jobs(run: Run) -> None:
    """Train in one process, then in two at once on the same device, eager and captured."""
    alone, both = _side_by_side(run, 1), _side_by_side(run, 2)
    for form in FORMS:
        seconds = max(each[form] for each in both)
        run.number(f"{form}, alone", alone[0][form], "s")
        run.number(f"{form}, two at once, each", seconds / alone[0][form], "times as long")


def _side_by_side(run: Run, n_jobs: int) -> list[dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(n_jobs), context.Queue()
    given = (str(run.device), run.toy, barrier, answers)
    jobs = [context.Process(target=_job, args=given, daemon=True) for _ in range(n_jobs)]
    for job in jobs:
        job.start()
    found = [answers.get(timeout=max(1.0, run.left())) for _ in jobs]
    for job in jobs:
        job.join()
    return found


def _job(device: str, toy: bool, barrier, answers) -> None:
    """Train for a while in each form, once all jobs are ready; answer with the seconds."""
    data = cell_tensors(toy, device, small=False)
    work = work_on("cells", None, NETWORKS["cells"][toy], data, toy)
    found = {}
    for form, graph in FORMS.items():
        work.fit(1, max_epochs=1, cuda_graph=graph)
        barrier.wait()
        start = time.monotonic()
        work.fit(1, max_epochs=2 if toy else 30, cuda_graph=graph)
        found[form] = time.monotonic() - start
    answers.put(found)


def _images(name: str, to_the_end: bool):
    return partial(image_clusters, name=name, to_the_end=to_the_end)


CHECKS = [
    Check("mnist", "MNIST, ten trials for a minute or two", _images("mnist", False), 120),
    Check("mnist_to_the_end", "MNIST against the paper", _images("mnist", True), 780, 40),
    Check(
        "fashion_to_the_end", "Fashion-MNIST against the paper", _images("fashion_mnist", True),
        780, 40,
    ),
    Check("cells", "a set of cells against docs/evidence", cell_clusters, 240, 40),
    Check("many_cells", "500 000 cells", many_cells, 180, 40),
    Check("two_jobs", "two jobs on one card", two_jobs, 120, 40),
]  # fmt: skip
