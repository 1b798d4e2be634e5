"""A complete run of tiny.yaml: every table and figure from every experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml
from metric_names import (
    AGGREGATE_METRICS,
    CLUSTERING_METRICS,
    ELBO_METRICS,
    INTEGRATION_METRICS,
    NEED_BATCHES,
)
from working_copy import ROOT, Done, Project

from vmm.benchmark import grid
from vmm.benchmark.config import load
from vmm.benchmark.metrics.records import BATCH, BIO, parts_of
from vmm.benchmark.metrics.rows import read_rows
from vmm.benchmark.samples import read_spec
from vmm.benchmark.spec import Spec

TINY = ROOT / "tests" / "workflow" / "tiny.yaml"
FIGURES = [
    "batch_size",
    "controls_pbmc68k",
    "controls_pbmc68k_replicates",
    "mde_pbmc68k",
    "mde_pbmc68k_replicates",
    "samples_digits_vampprior",
    "samples_digits_vmm",
    "training_digits",
    "training_pbmc68k",
    "training_pbmc68k_replicates",
    "tuning_pbmc68k_replicates",
]
SIGNATURES = {"pdf": b"%PDF-", "png": b"\x89PNG\r\n", "svg": b"<?xml"}
CHOICE = "tuning/pbmc68k_replicates.json"


class Finished(NamedTuple):
    """A working copy whose run of tiny.yaml has ended."""

    project: Project
    done: Done

    @property
    def results(self) -> Path:
        return self.project.folder / "results" / "tiny"

    def snakemake(self, *arguments: str) -> Done:
        return self.project.snakemake("--cores", "2", *arguments, configfile="tiny.yaml")

    def rows(self, metrics: str) -> pd.DataFrame:
        return read_rows(self.results / "metrics" / f"{metrics}.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Finished:
    project = Project(tmp_path_factory.mktemp("complete") / "project")
    project.configure(TINY.read_text(), "tiny.yaml")
    return Finished(project, project.snakemake("--cores", "2", configfile="tiny.yaml"))


@pytest.fixture(scope="module")
def config() -> dict:
    return load(TINY)


def test_it_ends_well(finished):
    assert finished.done.status == 0, finished.done.text
    assert "(100%) done" in finished.done.text
    assert "Traceback" not in finished.done.text
    assert "Open first   results/tiny/report.html" in finished.done.text


@pytest.mark.parametrize("name", FIGURES)
def test_figures(finished, name):
    for suffix, signature in SIGNATURES.items():
        path = finished.results / "figures" / f"{name}.{suffix}"
        content = path.read_bytes()
        assert content.startswith(signature) and len(content) > 2000, path


def test_there_are_no_other_figures(finished):
    names = {path.stem for path in (finished.results / "figures").iterdir()}
    assert names == set(FIGURES)


@pytest.mark.parametrize(
    ("number", "rows"),
    [(1, 2), (2, 2), (3, 2 * (1 + 6)), (4, 2 * 6)],
)
def test_tables(finished, number, rows):
    """Every method of the grid has its row; each format has every label."""
    stem = finished.results / "tables" / f"table{number}"
    table = pd.read_csv(stem.with_suffix(".csv"), keep_default_na=False)
    assert len(table) == rows
    assert (table != "").all(axis=None)
    for suffix in (".html", ".tex"):
        text = stem.with_suffix(suffix).read_text()
        assert "VMM" in text
    assert "tabular" in stem.with_suffix(".tex").read_text()
    tests = pd.read_csv(f"{stem}_tests.csv")
    assert {"p", "p_holm", "mean_difference", "ci_low", "ci_high", "n"} <= set(tests.columns)


def test_recommendation_and_report(finished):
    recommended = json.loads((finished.results / "tables" / "recommendation.json").read_text())
    assert set(recommended) >= {"pbmc68k", "pbmc68k_replicates"}
    page = (finished.results / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    for number in (1, 2, 3, 4):
        assert f"Table {number}" in page


# ------------------------------------------------------------------------------------------ rows


@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("clustering", CLUSTERING_METRICS),
        ("elbo_surgery", ELBO_METRICS),
        ("integration", INTEGRATION_METRICS),
    ],
)
def test_rows_are_those_of_the_grid(finished, config, name, metrics):
    jobs = {
        "clustering": grid.clustering_jobs(config) + grid.leiden_jobs(config),
        "elbo_surgery": grid.experiment_jobs(config, "elbo_surgery"),
        "integration": grid.experiment_jobs(config, "cells"),
    }[name]
    expected = {(*job.row.values(), metric) for job in jobs for metric in metrics}
    rows = finished.rows(name)
    columns = ["dataset", "model", "prior", "setting", "trial", "metric"]
    found = list(rows[columns].itertuples(index=False, name=None))
    assert len(found) == len(expected)
    assert set(found) == expected
    assert set(rows["status"].str.partition(":")[0]) <= {"ok", "n/a"}
    assert rows.loc[rows["status"] == "ok", "value"].notna().all()


def test_one_batch_has_bio_conservation_only(finished):
    rows = finished.rows("integration")
    single = rows[(rows["dataset"] == "pbmc68k") & ~rows["model"].isin(["Harmony", "Scanorama"])]
    of_batches = single["metric"].isin(NEED_BATCHES)
    assert set(single.loc[of_batches, "status"]) == {"n/a: single batch"}
    assert set(single.loc[~of_batches, "status"]) == {"ok"}
    corrected = rows[(rows["dataset"] == "pbmc68k") & (rows["model"] == "Harmony")]
    assert set(corrected["status"]) == {"n/a: single batch"}
    several = rows[rows["dataset"] == "pbmc68k_replicates"]
    assert set(several["status"]) == {"ok"}


def test_total_is_that_of_scib(finished):
    """0.4 · batch + 0.6 · bio, each the mean of its five."""
    rows = finished.rows("integration")
    wide = rows[rows["dataset"] == "pbmc68k_replicates"].pivot_table(
        index=["model", "prior", "trial"], columns="metric", values="value"
    )
    assert len(wide) == (6 + 3) * 2, "three controls"
    batch, bio = wide[parts_of(BATCH)].mean(axis=1), wide[parts_of(BIO)].mean(axis=1)
    expected = pd.DataFrame({"Batch correction": batch, "Bio conservation": bio})
    expected["Total"] = 0.4 * batch + 0.6 * bio
    pd.testing.assert_frame_equal(
        wide[AGGREGATE_METRICS], expected, check_names=False, check_exact=False, rtol=1e-6
    )


# ---------------------------------------------------------------------------------------- models


def test_each_model_has_its_folder(finished, config):
    whole = {"weights.pt", "latent.npz", "history.csv", "run.json"}
    for job in grid.training_jobs(config):
        folder = finished.results / job.folder
        assert {path.name for path in folder.iterdir()} == whole
        run = json.loads((folder / "run.json").read_text())
        assert run["status"] == "ok"
        assert Spec.of(run["spec"]).job == job


def test_a_model_does_not_depend_on_what_else_is_trained(finished):
    """One trial of one method on two data sets, alone: the same bytes."""
    config = yaml.safe_load(TINY.read_text()) | {"run": "alone", "trials": 1}
    del config["datasets"]["pbmc68k_replicates"]
    config["experiments"] = {
        name: config["experiments"][name] | {"methods": ["vmm"]}
        for name in ("image_clustering", "cells")
    }
    finished.project.configure(config, "alone.yaml")
    models = ["models/digits/vmm/b32-nmi/trial_0", "models/pbmc68k/vmm/chosen/trial_0"]
    alone = finished.results.parent / "alone"
    targets = [f"results/alone/{model}/latent.npz" for model in models]
    done = finished.project.snakemake("--cores", "2", *targets, configfile="alone.yaml")
    assert done.status == 0, done.text
    assert len(list(alone.glob("models/**/run.json"))) == 2
    for model in models:
        for name in ("latent.npz", "weights.pt"):
            file = f"{model}/{name}"
            assert (alone / file).read_bytes() == (finished.results / file).read_bytes(), file


def test_what_tuning_chose_serves_every_method(finished):
    """The batch size all, the ratio those with Empirical Bayes; given settings stay."""
    choice = json.loads((finished.results / CHOICE).read_text())
    assert choice["batch_size"] == 128 and choice["prior_learning_ratio"] in (1, 5)
    models = finished.results / "models"
    ratios = {"pbmc68k_replicates": choice["prior_learning_ratio"], "pbmc68k": 5}
    for method in ("scvi_tools", "normal", "vmm"):
        for trial in (0, 1):
            place = Path(method, "chosen", f"trial_{trial}")
            for dataset, ratio in ratios.items():
                spec = read_spec(models / dataset / place)
                assert spec.batch_size == 128
                assert spec.prior_learning_ratio == (ratio if method == "vmm" else None)


def test_tuning_climbs_until_clusters_are_too_few(finished):
    """Every ratio but the last had at least as many clusters as there are cell types."""
    ladder = finished.results / "tuning" / "pbmc68k_replicates" / "b128_trial_0.json"
    steps = json.loads(ladder.read_text())["steps"]
    assert [step["prior_learning_ratio"] for step in steps] == [1, 5][: len(steps)]
    enough = [step["utilized_clusters"] >= 10 for step in steps]
    assert all(enough[:-1]) and (len(steps) == 2 or not enough[0])
    models = finished.results / "models" / "pbmc68k_replicates" / "vmm"
    tuned = {path.parent.name for path in models.glob("b*/trial_0")}
    assert tuned == {step["setting"] for step in steps}


def test_logs_hold_nothing_but_what_matters(finished):
    """No chatter of libraries: a log is read when something went wrong."""
    logs = list((finished.results / "logs").rglob("*.log"))
    assert len(logs) > 60
    for log in logs:
        assert len(log.read_text().splitlines()) <= 15, log


# ------------------------------------------------------------------------------- the second run


def rerun(done: Done) -> set[str]:
    """Return the rules that a dry run would run again."""
    assert done.status == 0, done.text
    return set(done.job_counts) - {"all"}


def test_a_second_run_has_nothing_to_do(finished):
    done = finished.snakemake()
    assert done.status == 0
    assert "Nothing to be done" in done.text
    assert rerun(finished.snakemake("--dry-run")) == set()


def test_an_edited_function_reruns_what_depends_on_it_and_no_more(finished):
    """A docstring counts for nothing."""
    path = finished.project.folder / "src" / "vmm" / "paper" / "figures" / "batch_size.py"
    text = path.read_text()
    path.write_text(text.replace('"""', '"""Edited. ', 1))
    documented = finished.snakemake("--dry-run")
    path.write_text(f"{text}\n\nPANELS = PANELS\n")
    edited = finished.snakemake("--dry-run")
    path.write_text(text)
    assert rerun(documented) == set()
    assert rerun(edited) == {"figure_batch_size", "report"}


def test_another_setting_reruns_what_depends_on_it_and_no_more(finished):
    """The samples of ELBO surgery: no model is trained again."""
    text = TINY.read_text()
    finished.project.configure(text.replace("n_samples: 5", "n_samples: 6"), "tiny.yaml")
    done = finished.snakemake("--dry-run")
    finished.project.configure(text, "tiny.yaml")
    assert rerun(done) == {"evaluate_elbo_surgery", "gather", "table", "report"}
    assert done.job_counts["evaluate_elbo_surgery"] == 4
