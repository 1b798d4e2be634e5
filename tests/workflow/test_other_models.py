"""A run in a model of scvi-tools: cells and proteins from a MuData file, to tables and report."""

from __future__ import annotations

import json
import warnings
from typing import NamedTuple

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
from working_copy import Done, Project

from vmm.benchmark.metrics.rows import read_rows

N = 120
CONFIG = {
    "run": "cite",
    "device": "cpu",
    "trials": 2,
    "trials_at_once": True,
    "n_components": 8,
    "datasets": {
        "blood": {
            "path": "blood.h5mu",
            "modality": "gex",
            "proteins": "adt",
            "batch_key": "donor",
            "label_key": "type",
            "model": "TOTALVI",
            "n_latent": 3,
            "n_hidden": 16,
            "batch_size": 32,
            "prior_learning_ratio": 1,
        }
    },
    "experiments": {
        "cells": {
            "methods": ["normal", "vmm"],
            "baselines": ["pca"],
            "controls": [],
            "newer_metrics": False,
            "max_epochs": 2,
        }
    },
}


class Story(NamedTuple):
    """A run, and a second one after it."""

    project: Project
    first: Done
    again: Done


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    project = Project(tmp_path_factory.mktemp("other") / "project")
    rng = np.random.default_rng(0)
    types, names = np.arange(N) % 3, [f"c{i}" for i in range(N)]
    obs = pd.DataFrame({"type": np.array(list("TBN"))[types]}, index=names)
    counts = [rng.poisson(np.exp(rng.normal(1, 1, (3, n)))[types]) for n in (25, 12)]
    gex, adt = (
        anndata.AnnData(x.astype(np.float32), obs[columns])
        for x, columns in zip(counts, (["type"], []), strict=True)
    )
    adt.var_names = [f"CD{i}" for i in range(12)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = mudata.MuData({"gex": gex, "adt": adt[:-1].copy()})
        made.obs["donor"] = [f"d{name[-1] in '01234'}" for name in made.obs_names]
        made.write_h5mu(project.folder / "blood.h5mu")
    name = project.configure(CONFIG)
    first = project.snakemake("--cores", "2", configfile=name)
    return Story(project, first, project.snakemake("--dry-run", configfile=name))


def test_it_ends_well_and_has_nothing_more_to_do(story):
    assert story.first.status == 0, story.first.text
    assert "Traceback" not in story.first.text
    assert "Nothing to be done" in story.again.text


def test_rows_are_called_by_the_model(story):
    rows = read_rows(story.project.folder / "results/cite/metrics/integration.csv")
    found = set(rows[["model", "prior"]].itertuples(index=False, name=None))
    assert found == {
        ("TOTALVI", "StandardNormal"), ("TOTALVI", "VampPriorMixture"), ("PCA", "none")
    }  # fmt: skip
    assert (rows["status"] == "ok").all()


def test_what_was_trained(story):
    folder = story.project.folder / "results/cite"
    description = json.loads((folder / "data/blood.json").read_text())
    assert (description["n_cells"], description["n_proteins"]) == (N - 1, 12)
    for trial in range(2):
        run = json.loads((folder / f"models/blood/vmm/chosen/trial_{trial}/run.json").read_text())
        assert run["spec"]["library"] == "TOTALVI" and run["status"] == "ok"
        assert run["spec"]["networks"] == {"n_latent": 3, "n_hidden": 16}


def test_pages_say_which_model(story):
    """Methods keep their labels, in the order of the tables."""
    folder = story.project.folder / "results/cite"
    table = (folder / "tables/table4.html").read_text()
    assert "blood (119 cells, 2 batches, 3 cell types, 12 proteins, TOTALVI)" in table
    methods = pd.read_csv(folder / "tables/table3.csv")["method"].tolist()
    assert methods == ["VMM", "Leiden on N(0, I)", "Leiden on VMM", "Leiden on PCA"]
    page = (folder / "report.html").read_text()
    used = "n_latent 3, n_hidden 16, n_layers 2, likelihood nb, dispersion gene"
    assert f"methods in scvi-tools' <b>TOTALVI</b>: {used}" in page
    assert "<td>TOTALVI</td><td>VampPriorMixture</td>" in page
    assert "Cells without counts of proteins were left out: 1 of 120." in page
