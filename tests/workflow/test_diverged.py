"""A run in which every training diverges comes to its end, and says so everywhere."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from working_copy import Done, Project

CONFIG = {
    "run": "lost",
    "device": "cpu",
    "trials": 2,
    "n_components": 8,
    "datasets": {"digits": {"n_subset": 60, "hidden": [8], "n_latent": 2, "learning_rate": 1e20}},
    "experiments": {
        "image_clustering": {"methods": ["vmm"], "max_epochs": 5, "patience": 5},
        "batch_size": {"batch_sizes": [256]},
    },
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> tuple[Project, Done]:
    project = Project(tmp_path_factory.mktemp("diverged") / "project")
    return project, project.snakemake("--cores", "2", configfile=project.configure(CONFIG))


def test_it_ends_with_every_table_and_figure(ended):
    project, done = ended
    assert done.status == 0, done.text
    assert "Traceback" not in done.text
    for name in ("batch_size", "samples_digits_vmm", "training_digits"):
        assert (project.folder / f"results/lost/figures/{name}.pdf").stat().st_size > 1000
    for name, words in (("batch_size", "all diverged"), ("samples_digits_vmm", "all diverged")):
        drawn = (project.folder / f"results/lost/figures/{name}.svg").read_text()
        assert words in drawn


def test_run_and_history_say_in_which_epoch(ended):
    for trial in (0, 1):
        folder = ended[0].folder / f"results/lost/models/digits/vmm/b256-nmi/trial_{trial}"
        run = json.loads((folder / "run.json").read_text())
        history = pd.read_csv(folder / "history.csv")
        assert (run["status"], run["epochs"]) == ("diverged", 1)
        assert history["epoch"].tolist() == [1]
        assert not np.isfinite(history["valid_elbo"]).any()


def test_tables_and_tests_have_it_missing_with_n(ended):
    tables = ended[0].folder / "results/lost/tables"
    table = pd.read_csv(tables / "table2.csv")
    assert set(table.drop(columns=["dataset", "method"]).iloc[0]) == {"diverged"}
    assert "0 of 2 trials have a value: 2 diverged" in (tables / "table2.html").read_text()
    assert "0 of 2 trials have a value: 2 diverged" in (tables / "table2.tex").read_text()
    tests = pd.read_csv(tables / "table2_tests.csv")
    assert set(tests["n"]) == {0} and tests["mean"].isna().all() and tests["p"].isna().all()


def test_the_report_names_the_trials_and_the_epoch(ended):
    page = (ended[0].folder / "results/lost/report.html").read_text()
    assert "2 trainings diverged or failed" in page
    assert "after 1 epochs" in page
