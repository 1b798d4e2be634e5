"""Dry runs: what each configuration would run."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import anndata
import numpy as np
import pytest
import yaml
from working_copy import ROOT

from vmm.benchmark import grid
from vmm.benchmark.config import complete

EVALUATED = {"evaluate_clustering", "evaluate_integration", "evaluate_elbo_surgery"}
TRAINING = {"train_cells", "train_images", "train_scvi_tools", "tune"}


def models(done) -> Counter:
    """Return the numbers of training jobs: images, cells, tuning."""
    jobs = Counter(done.job_counts)
    cells = jobs["train_cells"] + jobs["train_scvi_tools"]
    return Counter(images=jobs["train_images"], cells=cells, tuning=jobs["tune"])


@pytest.mark.parametrize("name", ["config.yaml", "published_code.yaml"])
def test_the_paper(name, project):
    """180 models of images, 160 of cells, ten to a job; 60 ladders of tuning, five to a job."""
    done = project.snakemake("--dry-run", "--cores", "2", configfile=f"config/{name}")
    assert done.status == 0, done.text
    jobs = done.job_counts
    assert models(done) == {"images": 18, "cells": 16, "tuning": 12}
    assert jobs["baselines"] == 4, "each embeds one data set for all trials"
    assert (jobs["prepare"], jobs["split"], jobs["choose"]) == (6, 60, 4)
    assert (jobs["evaluate_clustering"], jobs["evaluate_integration"]) == (60, 40)
    assert jobs["evaluate_elbo_surgery"] == 40
    assert (jobs["table"], jobs["figure_batch_size"]) == (4, 1)
    assert (jobs["figure_samples"], jobs["figure_tuning"], jobs["figure_mde"]) == (4, 4, 4)
    assert not (project.folder / "results").exists()


def test_the_paper_is_the_default(project):
    """Each model in a job of its own, where that is asked for."""
    done = project.snakemake("-n", "--cores", "2", "--config", "trials_at_once=false")
    assert done.status == 0, done.text
    assert models(done) == {"images": 180, "cells": 160, "tuning": 60}
    assert "results/paper/" in done.text


def of_grid(path: str, **changes) -> Counter:
    """Return the numbers of training jobs that the grid of a configuration has."""
    config = complete(yaml.safe_load((ROOT / path).read_text()) | changes)
    ladders = [grid.ladders(config, dataset) for dataset in grid.tuned_datasets(config)]
    jobs = grid.training_jobs(config) + [ladder for of in ladders for ladder in of]
    if config["trials_at_once"]:
        jobs = {replace(job, trial=0) for job in jobs}
    return Counter(getattr(job, "kind", "tuning") for job in jobs)


def test_the_demo(project):
    """All trials of a model in one job: 10 + 8 jobs, and tuning at two batch sizes."""
    done = project.snakemake("-n", "--cores", "2", configfile="config/demo.yaml")
    assert done.status == 0, done.text
    assert models(done) == of_grid("config/demo.yaml") == {"images": 10, "cells": 8, "tuning": 2}


def test_trials_in_jobs_of_their_own(project):
    """The same models: three times the jobs."""
    apart = ("--config", "trials_at_once=false")
    done = project.snakemake("-n", "--cores", "2", *apart, configfile="config/demo.yaml")
    assert done.status == 0, done.text
    assert models(done) == of_grid("config/demo.yaml", trials_at_once=False)
    assert models(done) == {"images": 30, "cells": 24, "tuning": 6}


def test_the_tests_own(project):
    project.configure((ROOT / "tests" / "workflow" / "tiny.yaml").read_text(), "tiny.yaml")
    done = project.snakemake("-n", "--cores", "2", configfile="tiny.yaml")
    assert done.status == 0, done.text
    assert models(done) == {"images": 10, "cells": 12, "tuning": 1}
    assert done.job_counts.keys() >= EVALUATED | {"choose", "baselines", "samples", "mde"}


def test_own_data(project):
    """A path, the columns, nothing else: tuned, trained, compared with the baselines."""
    (project.folder / "x.h5ad").touch()
    cells = {"path": "x.h5ad", "batch_key": "donor", "label_key": "cell_type"}
    name = project.configure({"run": "mine", "datasets": {"my_cells": cells}})
    done = project.snakemake("-n", "--cores", "2", configfile=name)
    assert done.status == 0, done.text
    assert models(done) == {"cells": 10 * 4, "tuning": 5 * 3, "images": 0}
    jobs = done.job_counts
    assert (jobs["prepare"], jobs["baselines"], jobs["table"]) == (1, 1, 2)
    assert "train_images" not in jobs


def test_the_size_of_the_largest_job_is_in_the_words_of_the_model(project):
    cytometry = anndata.AnnData(np.ones((60, 7), dtype=np.float32))
    cytometry.write_h5ad(project.folder / "x.h5ad")
    cells = {"path": "x.h5ad", "label_key": "type", "model": "CYTOVI", "n_top_genes": None}
    config = {"run": "mine", "n_components": 20, "datasets": {"mine": cells}}
    done = project.snakemake("-n", configfile=project.configure(config))
    assert done.status == 0, done.text
    told = [line for line in done.text.splitlines() if line.startswith(("Largest", "Longest"))]
    assert len(told) == 2 and all(line.endswith(" (60 cells x 7 proteins).") for line in told)


def test_rivals_have_a_row_in_the_figure_of_embeddings(project):
    """What is trained and has an embedding of its own; scvi-tools' scVI is left out, as before."""
    (project.folder / "x.h5ad").touch()
    cells = {"path": "x.h5ad", "label_key": "cell_type", "batch_size": 64}
    cells["prior_learning_ratio"] = 5
    methods = {"methods": ["scvi_tools", "sysvi", "vmm"], "baselines": ["pca", "bbknn"]}
    config = {"run": "mine", "trials": 1, "datasets": {"mine": cells}}
    name = project.configure(config | {"experiments": {"cells": methods}})
    done = project.snakemake("-n", "results/mine/figures/mde_mine.png", configfile=name)
    assert done.status == 0, done.text
    inputs = done.text.partition("rule mde:")[2].partition("output:")[0]
    drawn = {part.split("/")[4] for part in inputs.split() if "/models/" in part}
    assert drawn == {"sysvi", "vmm"}


def test_own_data_with_settings_of_their_own(project):
    """Nothing to tune."""
    (project.folder / "x.h5ad").touch()
    cells = {"path": "x.h5ad", "label_key": "cell_type", "batch_size": 64}
    cells["prior_learning_ratio"] = 5
    name = project.configure({"run": "mine", "trials": 3, "datasets": {"my_cells": cells}})
    done = project.snakemake("-n", "--cores", "2", configfile=name)
    assert done.status == 0, done.text
    assert models(done) == {"cells": 3 * 4, "tuning": 0, "images": 0}
    assert not {"tune", "choose"} & done.job_counts.keys()


def test_settings_on_the_command_line(project):
    """As the documentation shows: --config mirror=…, trials=…."""
    (project.folder / "there").mkdir()
    done = project.snakemake(
        "-n", "--cores", "2", "--config", "mirror=there", "trials=1", configfile="config/demo.yaml"
    )
    assert done.status == 0, done.text
    assert models(done) == of_grid("config/demo.yaml", trials=1)
    assert models(done)["cells"] == 2 * 4


@pytest.mark.parametrize("target", ["partial", "results/demo/data/digits.npz"])
def test_other_targets(project, target):
    done = project.snakemake("-n", "--cores", "2", target, configfile="config/demo.yaml")
    assert done.status == 0, done.text
    assert not TRAINING & done.job_counts.keys()


def test_another_folder_holds_data_and_results(project):
    """By `snakemake --directory`: relative paths, also of links, start there."""
    elsewhere = project.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.h5ad").write_bytes(b"content")
    (elsewhere / "my.h5ad").symlink_to("kept.h5ad")
    given = {"path": "my.h5ad", "label_key": "type", "batch_size": 64, "prior_learning_ratio": 5}
    name = project.configure({"run": "x", "trials": 1, "datasets": {"mine": given}})
    place = ("--directory", "elsewhere", "--cores", "1")
    done = project.snakemake("-n", *place, configfile=str(project.folder / name))
    assert done.status == 0, done.text
    assert done.job_counts["prepare"] == 1
    assert {path.name for path in elsewhere.iterdir()} == {"kept.h5ad", "my.h5ad", ".snakemake"}
    assert not (project.folder / "results").exists()
