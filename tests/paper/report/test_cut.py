"""A training that early stopping had not ended is told, and no other."""

from types import SimpleNamespace

from vmm.benchmark.job import Job
from vmm.benchmark.setting import CHOSEN
from vmm.paper.report.problems import cut


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
