"""A data set that cannot be had stops only what shows it, and says what is to be put where."""

from __future__ import annotations

from working_copy import Project

CONFIG = {
    "run": "gap",
    "device": "cpu",
    "trials": 1,
    "n_components": 8,
    "datasets": {
        "digits": {
            "n_subset": 120,
            "n_latent": 2,
            "hidden": [8],
            "batch_size": 32,
            "prior_learning_ratio": 1,
        },
        "split_seq": {"path": "supplied", "batch_size": 32, "prior_learning_ratio": 5},
    },
    "experiments": {
        "image_clustering": {"methods": ["vmm"], "max_epochs": 1},
        "cells": {"methods": ["vmm"], "max_epochs": 1},
    },
}


def test_without_split_seq_everything_else_is_made(tmp_path):
    project = Project(tmp_path / "project")
    done = project.snakemake("--cores", "2", configfile=project.configure(CONFIG))
    assert done.status != 0
    end = done.text.partition("Not finished:")[2]
    (sentence,) = [line for line in end.splitlines() if "data set 'split_seq'" in line]
    assert sentence.startswith("results/gap/logs/prepare/split_seq.log: ")
    assert "supplied has none of" in sentence
    assert "cellchat_clusters" in sentence
    made = project.results("gap")
    assert {"tables/table2.html", "figures/samples_digits_vmm.pdf"} <= set(made)
    assert not [name for name in made if "split_seq" in name]
    assert not [name for name in made if name.startswith(("tables/table4", "report"))]

    partial = project.snakemake("--cores", "1", "partial", configfile="my.yaml")
    assert partial.status == 0
    assert {"partial.html", "partial/table2.csv"} <= set(project.results("gap"))
    page = (project.folder / "results/gap/partial.html").read_text()
    assert "data/split_seq.json" in page
