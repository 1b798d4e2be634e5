"""Trainings that early stopping had not ended, and values that are not there."""

from types import SimpleNamespace

import pandas as pd

from vmm.benchmark.job import Job
from vmm.benchmark.setting import CHOSEN, LEIDEN
from vmm.paper.report.problems import absences, cut, full


def test_trainings_of_tuning_that_were_cut():
    spec = {"dataset": "mine", "setting": "b64-r1", "max_epochs": 6, "patience": 5}
    runs = {
        str(trial): {
            "status": "ok",
            "epochs": 6,
            "best_epoch": best,
            "spec": spec | {"trial": trial},
        }
        for trial, best in enumerate((1, 5, 6))
    }
    assert cut(SimpleNamespace(runs=runs)) == ["mine, tuning at b64-r1: trials 1–2"]


def test_trainings_that_were_cut():
    ended = {"epochs": 10, "best_epoch": 7}  # the best and as many as patience asks for
    going_on = {"epochs": 10, "best_epoch": 8}
    stopped = {"epochs": 9, "best_epoch": 8}
    spec = {"max_epochs": 10, "patience": 3}
    trained = {"vmm": [ended, going_on, going_on], "normal": [stopped, ended, ended]}
    jobs = [Job("cells", "mine", m, CHOSEN, t) for m in ("vmm", "normal", "pca") for t in range(3)]
    runs = {
        job.folder: {"status": "ok", "spec": job.row | spec, **trained[job.method][job.trial]}
        for job in jobs
        if job.method != "pca"
    }
    runs |= {job.folder: {"status": "ok", "spec": job.row} for job in jobs if job.method == "pca"}
    assert cut(SimpleNamespace(runs=runs)) == ["mine, VMM: trials 1–2"]


def test_mixtures_that_had_no_component_left():
    """A VampPrior has cells in nearly all of its components, and that is no problem."""
    jobs = [Job("cells", "mine", m, CHOSEN, t) for m in ("vmm", "vampprior") for t in range(3)]
    made = [("ok", 8), ("ok", 10), ("diverged", 10), ("ok", 10), ("ok", 10), ("ok", 10)]
    runs = {
        job.folder: {
            "status": status,
            "utilized_clusters": n,
            "spec": job.row | {"ours": {"name": job.method, "n_components": 10}},
        }
        for job, (status, n) in zip(jobs, made, strict=True)
    }
    other = Job("cells", "mine", "scvi_tools", CHOSEN, 0)
    runs[other.folder] = {
        "status": "ok",
        "utilized_clusters": 0,
        "spec": other.row | {"ours": None},
    }
    assert full(SimpleNamespace(runs=runs)) == ["mine, VMM: trials 1"]


def test_sets_of_which_the_same_is_absent_share_a_line():
    """Whatever order rows have: a set's own model may sort before the embeddings or after."""
    methods = [("CYTOVI", "VampPriorMixture"), ("PCA", "none"), ("TOTALVI", "VampPriorMixture")]
    sets = {"cyto": methods[:2], "cite": methods[1:]}
    rows = pd.DataFrame(
        [
            {"dataset": name, "model": model, "prior": prior, "setting": str(LEIDEN)}
            for name, own in sets.items()
            for model, prior in own
        ]
    ).assign(trial=0, metric="Accuracy", value=float("nan"), status="n/a: hard")
    (line,) = absences(SimpleNamespace(rows={"clustering": rows}, descriptions={}))
    assert line.datasets == ["cyto", "cite"] and line.n == 4
    assert line.methods == "Leiden on VMM, Leiden on PCA"
