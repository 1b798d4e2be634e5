"""A small finished run: two data sets, rows and models written by hand."""

from __future__ import annotations

import base64
import copy
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from metric_names import CLUSTERING_METRICS, ELBO_METRICS, INTEGRATION_METRICS, NEED_BATCHES

from vmm.benchmark import config as configuration
from vmm.benchmark import grid
from vmm.benchmark.job import Job
from vmm.benchmark.metrics.rows import concatenate_rows, rows_from_scores, write_rows
from vmm.benchmark.setting import Setting
from vmm.io import write_json
from vmm.paper.comparison import comparison, write_comparison
from vmm.paper.recommendation import recommend, write_recommendation
from vmm.paper.report import contents
from vmm.paper.tables import build_table, write_table

SINGLE = "n/a: single batch"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
CONFIG: dict[str, Any] = {
    "run": "small",
    "trials": 3,
    "datasets": {
        "mnist": {"n_latent": 2},
        "mine": {"path": "mine.h5ad", "label_key": "type", "batch_size": 64},
    },
    "experiments": {
        "elbo_surgery": {"methods": ["normal", "vmm"]},
        "image_clustering": {"methods": ["vampprior", "vmm"]},
        "tuning": {"trials": 1, "batch_sizes": [64], "prior_learning_ratios": [1, 5]},
        "cells": {"methods": ["normal", "vmm"], "baselines": ["pca", "harmony"], "controls": []},
    },
}
DESCRIPTIONS = {
    "mnist": {
        "name": "mnist",
        "kind": "images",
        "source": "mnist",
        "title": "Handwritten digits",
        "licence": "CC BY-SA 3.0",
        "citation": "LeCun et al. (1998), doi:10.1109/5.726791",
        "homepage": "http://yann.lecun.com/exdb/mnist/",
        "n_images": 70000,
        "image_shape": [28, 28],
        "n_types": 10,
        "classes": {str(digit): 7000 for digit in range(10)},
        "notes": [],
    },
    "mine": {
        "name": "mine",
        "kind": "cells",
        "source": "mine",
        "title": "Cells of mine",
        "licence": "",
        "citation": "",
        "homepage": "",
        "n_cells": 1234,
        "n_genes": 56,
        "n_batches": 1,
        "n_types": 7,
        "batches": {"all": 1234},
        "cell_types": {"B": 1000, "T": 234},
        "notes": ["Counted twice."],
    },
}


def config_of(**changes: Any) -> dict[str, Any]:
    """Return the complete configuration with some top-level keys replaced."""
    return configuration.complete(copy.deepcopy({**CONFIG, **changes}))


def score(job: Job, place: int) -> float:
    """Return a value that depends on method, trial and metric; the VMM is best."""
    best = job.method == "vmm"
    of_trial = 0.01 * job.trial + 0.001 * best * (job.trial - 1)  # or differences were constant
    return 0.5 + 0.2 * best + of_trial + 0.001 * place


def rows_of(jobs: list[Job], metrics: list[str], single_batch: bool = False) -> pd.DataFrame:
    """Return the rows of jobs; with a single batch some metrics do not apply."""
    parts = []
    for job in jobs:
        undefined = set(NEED_BATCHES) if single_batch else set()
        scores = {
            metric: (None, SINGLE)
            if metric in undefined or (single_batch and job.method == "harmony")
            else score(job, place)
            for place, metric in enumerate(metrics)
        }
        parts.append(rows_from_scores(job.row, scores))
    return concatenate_rows(parts)


def write_run_json(folder: Path, job: Job, setting: str = "") -> None:
    """Write the `run.json` of a model or an embedding."""
    status = SINGLE if job.method == "harmony" else "ok"
    run = {"status": status, "seconds": 10.0, "device": "cpu", "peak_memory_mb": 300.0}
    if job.method not in ("pca", "harmony"):
        run |= {"epochs": 20 + job.trial, "best_epoch": 15, "utilized_clusters": 11}
    spec = job.row | {"method": job.method, "setting": setting or str(job.setting)}
    versions = {"torch": "2.13.0", "numpy": "2.4.6"}
    write_json(folder / "run.json", run | {"versions": versions, "spec": spec})


def write_small_run(folder: Path, config: dict[str, Any]) -> Path:
    """Write everything of a finished run that its page reads."""
    for name in grid.used_datasets(config):
        write_json(folder / f"data/{name}.json", DESCRIPTIONS[name])
    jobs = grid.training_jobs(config) + grid.baseline_jobs(config)
    for job in jobs:
        write_run_json(folder / job.folder, job)
    _write_tables(folder, config)
    _write_tuning(folder, config)
    for name in contents.expected_files(config):
        if name.endswith(".png"):
            for suffix in ("png", "pdf", "svg"):
                path = (folder / name).with_suffix(f".{suffix}")
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(PIXEL)
    for job, seconds, memory in (("train/a", 90.0, 1500.0), ("train/b", 3600.0, 800.0)):
        _write_benchmark(folder, job, seconds, memory)
    _write_benchmark(folder, "gather/clustering", 2.5, "-")
    _write_benchmark(folder, "report", 12345.0, 99999.0)
    return folder


def _write_benchmark(folder: Path, job: str, seconds: float, memory: float | str) -> None:
    path = folder / f"benchmarks/{job}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:00\t{memory}\n")


def _write_tables(folder: Path, config: dict[str, Any]) -> None:
    scored = {
        "elbo_surgery": (grid.experiment_jobs(config, "elbo_surgery"), ELBO_METRICS, False),
        "clustering": (
            grid.clustering_jobs(config) + grid.leiden_jobs(config),
            CLUSTERING_METRICS,
            False,
        ),
        "integration": (grid.experiment_jobs(config, "cells"), INTEGRATION_METRICS, True),
    }
    rows = {name: rows_of(*args) for name, args in scored.items() if args[0]}
    for name, frame in rows.items():
        write_rows(frame, folder / f"metrics/{name}.csv")
    sources = {1: "elbo_surgery", 2: "clustering", 3: "clustering", 4: "integration"}
    grids = {n: [job.row for job in grid.table_jobs(config, n)] for n in sources}
    grids = {number: jobs for number, jobs in grids.items() if jobs}
    of_table = {number: rows[sources[number]] for number in grids}
    for number, jobs in grids.items():
        table = build_table(number, of_table[number], jobs, DESCRIPTIONS)
        write_table(table, folder / f"tables/table{number}")
    if "cells" in config["experiments"]:
        write_recommendation(
            recommend(of_table, grids, DESCRIPTIONS), folder / "tables/recommendation"
        )
    if grid.published_datasets(config):
        write_comparison(comparison(of_table, grids), folder / "tables/comparison")


def _write_tuning(folder: Path, config: dict[str, Any]) -> None:
    for name in grid.tuned_datasets(config):
        for step in grid.ladders(config, name):
            write_json(folder / f"tuning/{name}/b{step.batch_size}_trial_{step.trial}.json", {})
            for ratio in step.ratios:
                setting = Setting(step.batch_size, ratio)
                job = Job("cells", name, "vmm", setting, step.trial)
                write_run_json(folder / job.folder, job)
        table = [
            {"setting": "b64-r1", "Bio conservation": 0.61, "Utilized clusters": 9.0, "trials": 1},
            {"setting": "b64-r5", "Bio conservation": 0.72, "Utilized clusters": 8.0, "trials": 1},
        ]
        choice = {
            "batch_size": 64,
            "prior_learning_ratio": 5.0,
            "setting": "b64-r5",
            "rule": "supervised",
            "criteria": ["Bio conservation"],
            "reason": "best mean Bio conservation (0.7200) among the 2 of 2 settings",
            "table": table,
        }
        write_json(folder / f"tuning/{name}.json", choice)


@pytest.fixture
def config() -> dict[str, Any]:
    return config_of()


@pytest.fixture
def with_experiments() -> Callable[..., dict[str, Any]]:
    """Return a function that gives the configuration with only some of its experiments."""

    def chosen(names: Iterable[str]) -> dict[str, Any]:
        return config_of(experiments={name: CONFIG["experiments"][name] for name in names})

    return chosen


@pytest.fixture
def write_run() -> Callable[[Path, dict[str, Any]], Path]:
    return write_small_run


@pytest.fixture(scope="session")
def pristine_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_run(tmp_path_factory.mktemp("small"), config_of())


@pytest.fixture
def small_run(pristine_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine_run, tmp_path / "results/small")
