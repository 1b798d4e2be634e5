"""Trials that one job trains: other jobs, the same files."""

from __future__ import annotations

import csv
import json

import pytest

MODEL = "results/x/models/digits/vmm/b32-nmi/trial_{}/run.json"
LADDER = "results/x/tuning/pbmc68k_replicates/b128_trial_{}.json"
CONFIG = """
run: x
device: cpu
trials: 2
trials_at_once: true
n_components: 8
datasets:
  digits: {n_subset: 200, n_latent: 3, hidden: [16], batch_size: 32}
  pbmc68k_replicates: {n_hidden: 16, n_latent: 4}
experiments:
  image_clustering: {methods: [vmm], max_epochs: 2}
  tuning: {trials: 2, batch_sizes: [128], prior_learning_ratios: [1, 5], max_epochs: 1}
"""


def elbos(folder) -> list[float]:
    with (folder / "history.csv").open(newline="") as file:
        return [float(row["train_elbo"]) for row in csv.DictReader(file)]


def test_one_job_trains_all_trials(project):
    """Two of each in one job; then, apart, only those jobs run again, with the same outcome."""
    name = project.configure(CONFIG)
    models, ladders = ([of.format(t) for t in range(2)] for of in (MODEL, LADDER))
    done = project.snakemake("--cores", "2", *models, *ladders, configfile=name)
    assert done.status == 0, done.text
    assert (done.job_counts["train_images"], done.job_counts["tune"]) == (1, 1)
    folders = [(project.folder / path).parent for path in models]
    together = [elbos(folder) for folder in folders]
    assert together[0] != together[1] and len(together[0]) == 2
    for trial, path in enumerate(ladders):
        ladder = json.loads((project.folder / path).read_text())
        assert len(ladder["folders"]) == len(ladder["steps"]) > 0
        assert all(folder.endswith(f"/trial_{trial}") for folder in ladder["folders"])
        for folder in ladder["folders"]:
            spec = json.loads((project.folder / folder / "run.json").read_text())["spec"]
            assert spec["trial"] == trial
    logs = project.folder / "results/x/logs"
    assert (logs / "train/digits/vmm/b32-nmi/trials.log").exists()
    assert (logs / "tune/pbmc68k_replicates/b128_trials.log").exists()

    apart = ("--config", "trials_at_once=false")
    done = project.snakemake("--cores", "2", *models, *apart, configfile=name)
    assert done.status == 0, done.text
    assert done.job_counts == {"train_images": 2}
    for folder, expected in zip(folders, together, strict=True):
        assert elbos(folder) == pytest.approx(expected, rel=1e-4)
        files = {path.name for path in folder.iterdir()}
        assert files == {"weights.pt", "latent.npz", "history.csv", "run.json"}
