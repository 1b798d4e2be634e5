"""The recipes of docs/extending.md, done: what they touch, what they run again, what comes out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from finished_run import FinishedRun, rules, tiny, trainings
from recipes import commands, files_of, recipes
from working_copy import ROOT, Done, Project

from vmm.benchmark.metrics.rows import read_rows

RECIPES = recipes()
PRIOR, METRIC, EMBEDDING, SOURCE, OWN = (
    "A prior",
    "A metric",
    "An embedding without training",
    "A built-in data set",
    "A data set of your own",
)
OUTSIDE = "A prior outside of the package"
INSIDE = (PRIOR, METRIC, EMBEDDING, SOURCE)


def test_the_page_has_a_recipe_for_each():
    assert list(RECIPES) == [*INSIDE, OWN, OUTSIDE]


@pytest.mark.parametrize("heading", [*INSIDE, OWN])
def test_a_recipe_touches_its_file_and_its_records(heading):
    files = [step.file for step in RECIPES[heading]]
    assert len(set(files)) == len(files) == (1 if heading == OWN else 2)
    if heading != OWN:
        new, records = files
        assert Path(records).name == "records.py" and not (ROOT / new).exists()


# On a finished run --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> FinishedRun:
    return FinishedRun(tmp_path_factory.mktemp("extending") / "project", tiny())


def added(finished: FinishedRun, heading: str) -> Done:
    return finished.rerun_with(files_of(RECIPES[heading], finished.folder))


@pytest.mark.parametrize("heading", [PRIOR, EMBEDDING, SOURCE, OWN])
def test_what_is_added_runs_nothing_again(finished, heading):
    assert rules(added(finished, heading)) == set()


def test_a_metric_is_scored_and_shown_and_nothing_is_trained(finished):
    """The best trial, whose samples are shown, is chosen by the same files of rows."""
    done = added(finished, METRIC)
    assert trainings(done) == set()
    assert rules(done) == {
        *("evaluate_clustering", "gather", "table", "recommendation", "report"),
        *("figure_batch_size", "samples", "figure_samples"),
    }
    assert done.job_counts["table"] == 2  # those of clusters


# A run with all of them ---------------------------------------------------------------------------


class Extended(NamedTuple):
    """A copy of the project with everything added, and its run."""

    project: Project
    done: Done

    @property
    def results(self) -> Path:
        return self.project.folder / "results" / "extended"

    def table(self, number: int) -> pd.DataFrame:
        path = self.results / "tables" / f"table{number}.csv"
        return pd.read_csv(path, keep_default_na=False, dtype=str)

    def rows(self, metrics: str) -> pd.DataFrame:
        return read_rows(self.results / "metrics" / f"{metrics}.csv")


@pytest.fixture(scope="module")
def extended_project(tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("extended") / "project")
    for heading in (*INSIDE, OWN):
        for name, text in files_of(RECIPES[heading], project.folder).items():
            (project.folder / name).write_text(text)
    for *arguments, _, printed in commands():
        done = python(project.folder, *arguments)
        assert done.returncode == 0, done.stderr
        (project.folder / printed).write_text(done.stdout)
    return project


@pytest.fixture(scope="module")
def extended(extended_project) -> Extended:
    """Return the run of the page's own configuration with the rest in it, as small as can be."""
    (own,) = RECIPES[OWN]
    config = yaml.safe_load(own.text)
    write_cells(extended_project.folder / config["datasets"]["my_cells"]["path"])
    networks = {"n_hidden": 16, "n_latent": 4, "batch_size": 64, "prior_learning_ratio": 5}
    digits = {"n_subset": 200, "n_latent": 3, "hidden": [16], "batch_size": 32}
    config["datasets"]["my_cells"] |= networks
    config["datasets"] |= {"simulated": networks, "digits": digits | {"learning_rate": 1e-3}}
    config |= {"run": "extended", "device": "cpu", "n_components": 10}
    config |= {"trials": 2, "trials_at_once": True}
    config["experiments"] = {
        "image_clustering": {"methods": ["mog"], "max_epochs": 2},
        "cells": {"methods": ["mog"], "baselines": ["svd"], "max_epochs": 2},
    }
    extended_project.configure(config, "extended.yaml")
    done = extended_project.snakemake("--cores", "2", configfile="extended.yaml")
    return Extended(extended_project, done)


def write_cells(path: Path) -> None:
    """Write counts of three types from one donor, as the page's configuration names columns."""
    random = np.random.default_rng(0)
    types = np.arange(240) % 3
    counts = random.poisson(np.exp(random.normal(size=(3, 60)))[types]).astype(np.float32)
    obs = pd.DataFrame({"donor": "me", "cell_type": np.array(["T", "B", "NK"])[types]})
    obs.index = [f"cell {i}" for i in range(240)]
    anndata.AnnData(counts, obs=obs).write_h5ad(path)


def test_the_pipeline_runs_to_its_end(extended):
    assert extended.done.status == 0, extended.done.text
    assert (extended.results / "report.html").is_file()


def test_tables_show_what_was_added_by_its_label(extended):
    for number, labels in {
        2: ["MoG", "Purity", "Digits"],
        3: ["MoG", "Purity", "Leiden on SVD", "Simulated cells", "my_cells"],
        4: ["MoG", "SVD", "Simulated cells", "my_cells"],
    }.items():
        page = (extended.results / "tables" / f"table{number}.html").read_text()
        assert [label for label in labels if label not in page] == []
        assert (extended.table(number) != "").all(axis=None)


def test_scores_of_what_was_added(extended):
    clustering = extended.rows("clustering")
    purity = clustering[clustering["metric"] == "Purity"]
    assert set(purity["dataset"]) == {"my_cells", "simulated", "digits"}
    assert set(purity["status"]) == {"ok"}
    assert purity["value"].between(0.05, 1).all()
    ours = clustering[clustering["prior"] == "MixtureOfGaussians"]
    assert set(zip(ours["dataset"], ours["model"], strict=True)) == {
        *(("my_cells", "scVI"), ("simulated", "scVI"), ("digits", "VAE"))
    }


def test_an_embedding_that_needs_no_batches_has_scores_without(extended):
    integration = extended.rows("integration")
    total = integration[integration["metric"] == "Bio conservation"].set_index("model")
    svd = total.loc["SVD"]
    assert set(svd["dataset"]) == {"my_cells", "simulated"}
    assert set(svd["status"]) == {"ok"}


def test_the_users_model_takes_the_new_prior(extended_project):
    code = (
        "import vmm, scvi; adata = scvi.data.synthetic_iid(n_genes=20)\n"
        "vmm.SCVI.setup_anndata(adata, batch_key='batch')\n"
        "model = vmm.SCVI(adata, prior='mog', n_components=5, n_hidden=8, n_latent=2)\n"
        "model.train(max_epochs=1)\n"
        "print(sorted(set(model.predict())) <= list('01234'))\n"
    )
    done = python(extended_project.folder, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("True")


# Its tests ----------------------------------------------------------------------------------------

TESTS = (
    "benchmark/baselines",
    "benchmark/config/test_config.py",
    "benchmark/config/test_editors.py",
    "benchmark/metrics/test_metric_records.py",
    "benchmark/test_grid.py",
    "data/sources/test_source_records.py",
    "data/sources/test_source_contract.py",
    "models/test_networks.py",
    "paper/tables",
    "paper/test_comparison.py",
    "plots/test_colours.py",
    "priors",
    "training/test_stacked.py",
)
"""Tests of whatever is registered, and of what follows from records."""


def test_what_the_page_shows_is_in_the_form_of_the_code(extended_project):
    shutil.copy(ROOT / "pyproject.toml", extended_project.folder)
    files = {step.file for heading in INSIDE for step in RECIPES[heading]}
    for command in (["check", "--no-cache"], ["format", "--no-cache", "--check"]):
        done = python(extended_project.folder, "-m", "ruff", *command, *files)
        assert done.returncode == 0, done.stdout


def test_the_copys_tests_pass(extended_project):
    shutil.copy(ROOT / "pyproject.toml", extended_project.folder)
    for part in ("tests", "docs"):
        shutil.copytree(ROOT / part, extended_project.folder / part)
    chosen = [f"tests/{name}" for name in TESTS]
    done = python(extended_project.folder, "-m", "pytest", "-q", "-n0", "-x", *chosen)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def test_a_prior_outside_of_the_package_is_tested_by_the_contract(tmp_path):
    for name, text in files_of(RECIPES[OUTSIDE], tmp_path).items():
        (tmp_path / name).write_text(text)
    done = python(tmp_path, "-m", "pytest", "-q", "-n0", "test_my_prior.py", source=ROOT / "src")
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout


def python(folder: Path, *arguments: str, source: Path | None = None):
    """Run Python in a copy of the project, with the package of that copy."""
    given = os.environ | {"PYTHONPATH": str(source or folder / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=given, capture_output=True, text=True
    )
