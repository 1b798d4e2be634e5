"""Data as odd as they may be: a batch and a cell type of one cell, cells without labels, one trial.

Cell types are called by numbers, one of which looks like another. There are covariates.

They are those of a built-in set that the user supplies, so that the paper has numbers for it.
"""

from __future__ import annotations

import json
import zipfile
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from working_copy import Done, Project

from vmm.benchmark.metrics.records import of_family
from vmm.benchmark.metrics.rows import read_rows

N, TYPES = 120, ["10", "2", "007"]
UNLABELLED = slice(0, 60, 6)
PART = "results/odd/metrics/parts/clustering/split_seq/trial_0.csv"
CONFIG = {
    "run": "odd",
    "device": "cpu",
    "trials": 1,
    "n_components": 8,
    "datasets": {
        "split_seq": {
            "path": "supplied",
            "categorical_covariate_keys": ["plate"],
            "continuous_covariate_keys": ["depth"],
            "size_factor_key": "size",
            "likelihood": "nb",
            "dispersion": "gene-batch",
            "n_hidden": 16,
            "n_latent": 4,
            "batch_size": 32,
            "prior_learning_ratio": 5,
        }
    },
    "experiments": {"cells": {"methods": ["vmm"], "baselines": ["pca"], "max_epochs": 2}},
}


class Story(NamedTuple):
    """What was run, in turn."""

    project: Project
    first: Done
    partial: Done
    whole: Done


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    """Run a part, look at what there is, run the rest."""
    project = Project(tmp_path_factory.mktemp("odd") / "project")
    rng = np.random.default_rng(0)
    types = np.arange(N) % 2
    types[-1] = 2
    counts = rng.poisson(np.exp(rng.normal(1, 1, (3, 30)))[types])
    supplied = project.folder / "supplied"
    supplied.mkdir()
    sp.save_npz(supplied / "counts_small.npz", sp.csr_matrix(counts))
    preparation = np.where(np.arange(N) % 3, "polydT", "random")
    preparation[0] = "lonely"
    labels = np.array(TYPES, dtype=object)[types]
    labels[UNLABELLED] = None
    table = {"polydT": preparation, "cellchat_clusters": labels, "plate": np.arange(N) % 4}
    table |= {"depth": rng.normal(size=N), "size": rng.uniform(0.5, 2, N)}
    pd.DataFrame(table).to_csv(supplied / "cells.csv", index=False)
    name = project.configure(CONFIG)
    return Story(
        project,
        project.snakemake("--cores", "2", PART, configfile=name),
        project.snakemake("--cores", "2", "partial", configfile=name),
        project.snakemake("--cores", "2", configfile=name),
    )


def test_all_of_it_runs(story):
    for done in story[1:]:
        assert done.status == 0, done.text
        assert "Traceback" not in done.text


def test_the_description_names_what_is_odd(story):
    path = story.project.folder / "results" / "odd" / "data" / "split_seq.json"
    description = json.loads(path.read_text())
    assert description["batches"] == {"lonely": 1, "polydT": 80, "random": 39}
    assert list(description["cell_types"].items()) == [("2", 59), ("007", 1), ("10", 50)]
    assert (description["n_cells"], description["n_labelled"]) == (120, 110)
    known = description["covariates"]
    assert known["plate"] == {"0": 30, "1": 30, "2": 30, "3": 30}
    assert known["depth"]["least"] < -1 and known["size_factor"]["least"] >= 0.5
    assert "The batch 'lonely' has a single cell." in description["notes"]
    assert "The cell type '007' has a single cell." in description["notes"]
    said = "10 of 120 cells have no label; what needs labels speaks of the 110 cells that have one."
    assert said in description["notes"]


def test_every_metric_has_a_value_or_a_reason(story):
    rows = read_rows(story.project.folder / "results" / "odd" / "metrics" / "integration.csv")
    metrics = of_family("integration", newer=True)
    assert len(rows) == (2 + 3) * len(metrics), "of two methods and three controls"
    assert rows["status"].str.fullmatch(r"ok|n/a: .{10,}").all()
    for metric in ("Graph connectivity", "KMeans NMI", "Silhouette label", "iLISI"):
        assert set(rows.loc[rows["metric"] == metric, "status"]) == {"ok"}, metric
    values = rows.loc[~rows["model"].str.startswith("Control"), "value"].dropna()
    assert values.between(-1e-6, 1 + 1e-6).all()


def test_pages_say_of_how_many_labelled_cells_they_speak(story):
    """And that isolated labels tell nothing; a name that is a number stays what it is."""
    results = story.project.folder / "results" / "odd"
    page = (results / "report.html").read_text()
    assert "<b>110</b> cells with a label" in page
    assert '<th scope="row">007</th>' in page
    for table in ("table3", "table4"):
        assert (
            "110 cells with a label, of which the scores speak"
            in (results / "tables" / f"{table}.html").read_text()
        )
    told = "0.500 for every method and tells nothing: the cell type in the fewest batches (007)"
    assert told in (results / "tables" / "table4.html").read_text()
    recommended = json.loads((results / "tables" / "recommendation.json").read_text())
    for part in recommended["split_seq"].values():
        assert "of the 110 of 120 cells that have a label" in part["sentence"]


def test_it_is_packed_for_others(story):
    """By `snakemake --report`."""
    done = story.project.snakemake("--report", "report.zip", configfile="my.yaml")
    assert done.status == 0, done.text
    with zipfile.ZipFile(story.project.folder / "report.zip") as packed:
        names = packed.namelist()
    assert any(name.endswith("report.html") for name in names)
    assert sum(name.endswith(".png") for name in names) >= 1


def test_one_trial_is_not_tested_and_says_so(story):
    path = story.project.folder / "results" / "odd" / "tables" / "table4_tests.csv"
    tests = pd.read_csv(path)
    too_small = tests["metric"] == "scGraph"  # it takes three types of ten cells
    assert set(tests.loc[~too_small, "n"]) == {1} and set(tests.loc[too_small, "n"]) == {0}
    assert tests["p"].isna().all()
    assert set(tests["status"]) >= {"not tested: only one trial in common with the best method"}


def test_the_comparison_has_the_papers_numbers_beside_ours(story):
    """Of a mean over one trial it says so; what was not run has no number of ours."""
    comparison = pd.read_csv(story.project.folder / "results/odd/tables/comparison.csv")
    ran = (comparison["dataset"] == "split_seq") & (comparison["prior"] == "VampPriorMixture")
    assert len(comparison[ran]) == 4 + 13
    assert set(comparison.loc[ran, "verdict"]) == {"n/a: one trial, no CI"}
    ours, published = comparison.loc[ran, "mean"], comparison.loc[ran, "published_mean"]
    np.testing.assert_allclose(comparison.loc[ran, "difference"], ours - published)
    assert comparison.loc[~ran, "mean"].isna().all()
    gmm = (comparison["dataset"] == "split_seq") & (comparison["prior"] == "GaussianMixture")
    assert set(comparison.loc[gmm, "verdict"]) == {"not run"}


def test_partial_shows_what_there_is(story):
    """Table 3 for one, before there was a Table 4; it does not stand for the whole one."""
    results = story.project.folder / "results" / "odd"
    assert not {"tune", "train_cells"} & story.partial.job_counts.keys()
    page = (results / "partial.html").read_text()
    assert "Table 3" in page
    made = {path.name for path in (results / "partial").iterdir()}
    assert {"table3.csv", "table3.html"} <= made and "table4.csv" not in made
