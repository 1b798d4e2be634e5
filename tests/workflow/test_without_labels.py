"""Cells that nobody has labelled: tuned, trained, clustered and shown without labels."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

N = 240
CONFIG = {
    "run": "new",
    "device": "cpu",
    "trials": 2,
    "trials_at_once": True,
    "n_components": 8,
    "tuning": "unsupervised",
    "datasets": {
        "mine": {"path": "mine.h5ad", "batch_key": "donor", "n_hidden": 16, "n_latent": 4}
    },
    "experiments": {
        "tuning": {
            "trials": 2,
            "batch_sizes": [32, 64],
            "prior_learning_ratios": [1, 5],
            "max_epochs": 3,
        },
        "cells": {"methods": ["vmm"], "baselines": ["pca"], "max_epochs": 2},
    },
}


@pytest.fixture
def mine(project):
    """A project with counts of three kinds of cells from two donors, which nobody named."""
    random = np.random.default_rng(0)
    kinds = np.exp(random.normal(1, 1, (3, 40)))[np.arange(N) % 3]
    obs = pd.DataFrame({"donor": np.where(np.arange(N) % 2, "a", "b")}, index=map(str, range(N)))
    cells = anndata.AnnData(random.poisson(kinds).astype(np.float32), obs)
    cells.write_h5ad(project.folder / "mine.h5ad")
    return project


def test_a_whole_run(mine):
    """Every setting of the grid is trained, none is scored by labels, and the page says so."""
    name = mine.configure(CONFIG)
    done = mine.snakemake("--cores", "2", configfile=name)
    assert done.status == 0, done.text
    assert done.job_counts["tune"] == 2 and "evaluate_tuning" not in done.job_counts
    results = mine.folder / "results" / "new"
    tuned = sorted(path.parent.name for path in results.glob("models/mine/vmm/b*/trial_1"))
    assert tuned == ["b32-r1", "b32-r5", "b64-r1", "b64-r5"]
    choice = json.loads((results / "tuning/mine.json").read_text())
    assert choice["rule"] == "unsupervised" and choice["setting"] in tuned
    spec = json.loads((results / "models/mine/vmm/chosen/trial_0/run.json").read_text())["spec"]
    chosen = spec["batch_size"], spec["prior_learning_ratio"]
    assert f"b{chosen[0]}-r{chosen[1]:g}" == choice["setting"]
    page = (results / "report.html").read_text()
    assert "without labels" in page and "Traceback" not in page
    said = json.loads((results / "tables/recommendation.json").read_text())["mine"]
    sentence = said["clustering"]["sentence"]
    assert "so no clusters can be called the best" in sentence
    assert "VMM's clusters agree between the two trials" in sentence
    assert "0 cell types" not in page and "Control: cell types" not in page
    assert "NMI (unmerged)" not in (results / "tables" / "table3.html").read_text()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"tuning": "supervised"},
            "datasets.mine lacks label_key, the column of obs with the cell",
        ),
        ({"tuning": "blind"}, "tuning is 'blind'"),
        (
            {"experiments": {"tuning": {"trials": 1}}},
            "experiments.tuning.trials is 1, but `tuning:",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(mine, change, expected):
    name = mine.configure(yaml.safe_dump(CONFIG | change))
    done = mine.snakemake("--cores", "2", configfile=name)
    assert done.status == 1
    assert expected in done.text and "Traceback" not in done.text
    assert not (mine.folder / "results").exists()
