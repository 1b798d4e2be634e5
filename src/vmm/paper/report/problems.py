"""What a reader must know is missing: everything whose status is not ok, grouped by reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from vmm.benchmark import grid
from vmm.benchmark.job import JOB_COLUMNS, Job
from vmm.benchmark.metrics.scoring import NO_LABELS
from vmm.benchmark.setting import Setting
from vmm.paper.labels import dataset_label, method_label
from vmm.paper.report.folder import RunFolder

SINGLE = ("diverged", "failed")
"""Statuses that speak of one model; a reason why something does not apply speaks of many."""


class Gap(NamedTuple):
    """Models, or trainings of tuning, that are ``missing``, ``diverged`` or ``failed``.

    `what` are the methods and settings concerned, `trials` such as ``0–2, 5``, `n` the number of
    models, and `log` the path of a log to look into, if any.
    """

    status: str
    reason: str
    dataset: str
    what: str
    trials: str
    n: int
    log: str = ""


class Absence(NamedTuple):
    """All values that are not there for the same reason."""

    reason: str
    datasets: list[str]
    methods: str
    metrics: str
    n: int


def model_gaps(run: RunFolder) -> list[Gap]:
    """Return the models that are not there, and those whose training was not ok."""
    found: dict[tuple, list[Job]] = {}
    for job in run.jobs:
        made = run.runs.get(job.folder, {"status": "missing"})
        if made["status"] in (*SINGLE, "missing"):
            key = (job.dataset, job.method, job.setting, made["status"])
            found.setdefault(key, []).append(job)
    gaps = [_model_gap(run, status, jobs) for (*_, status), jobs in found.items()]
    return gaps + _tuning_gaps(run) + _unscored(run)


def cut(run: RunFolder) -> list[str]:
    """Return, a line for each data set and method, the trainings that were cut at `max_epochs`.

    Those that early stopping had not ended: they might have become better. Those of tuning too,
    from which settings were chosen.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for made in filter(_is_cut, run.runs.values()):
        spec = made["spec"]
        label = f"tuning at {spec['setting']}"
        if not Setting.parse(spec["setting"]).is_tuning:
            label = method_label(spec["model"], spec["prior"], spec["setting"])
        found.setdefault((spec["dataset"], label), []).append(spec["trial"])
    return [
        f"{dataset_label(dataset)}, {label}: trials {ranges(trials)}"
        for (dataset, label), trials in found.items()
    ]


def _is_cut(made: Mapping[str, Any]) -> bool:
    most = made["spec"].get("max_epochs")  # of what is trained
    if made["status"] != "ok" or most is None or made["epochs"] != most:
        return False
    return most - made["best_epoch"] < made["spec"]["patience"]


def _model_gap(run: RunFolder, status: str, jobs: list[Job]) -> Gap:
    first = jobs[0]
    log = next((log for log in map(run.log, jobs) if run.has(log)), "")
    if status != "missing":
        epochs = [run.runs[job.folder].get("epochs", "?") for job in jobs]
        reason = f"after {_listed(epochs)} epochs"
    else:
        reason = f"not finished; its log ends: {run.last_line(log)}" if log else "has not run"
    label = method_label(first.model, first.prior, str(first.setting))
    trials = ranges(job.trial for job in jobs)
    return Gap(status, reason, first.dataset, label, trials, len(jobs), log)


def _tuning_gaps(run: RunFolder) -> list[Gap]:
    gaps = []
    for name in grid.tuned_datasets(run.config):
        steps = [
            step
            for step in grid.ladders(run.config, name)
            if not run.has(f"tuning/{name}.json")
            and not run.has(f"tuning/{name}/b{step.batch_size}_trial_{step.trial}.json")
        ]
        if steps:
            what = f"tuning at batch size {_listed(step.batch_size for step in steps)}"
            trials = ranges(step.trial for step in steps)
            gaps.append(Gap("missing", "not finished", name, what, trials, len(steps)))
    failed: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for made in run.runs.values():
        spec = made["spec"]
        if made["status"] in SINGLE and Setting.parse(spec["setting"]).is_tuning:
            key = (spec["dataset"], made["status"])
            failed.setdefault(key, []).append((spec["setting"], spec["trial"]))
    for (name, status), of in failed.items():
        what = f"tuning at {_listed(setting for setting, _ in of)}"
        gaps.append(Gap(status, "", name, what, ranges(trial for _, trial in of), len(of)))
    return gaps


def absences(run: RunFolder) -> list[Absence]:
    """Return the metrics without a value, by reason, but for those of models that diverged.

    And for those that need labels, of sets of cells without any: of these the page says so.
    """
    if not run.rows:
        return []
    rows = pd.concat([frame.assign(file=name) for name, frame in run.rows.items()])
    rows = rows[rows["status"].ne("ok") & ~rows["status"].isin(SINGLE)]
    new = [name for name, of in run.descriptions.items() if of and of.get("n_labelled") == 0]
    rows = rows[~(rows["dataset"].isin(new) & rows["status"].eq(NO_LABELS))]
    found = []
    for status, of in rows.groupby("status"):
        reason = str(status).removeprefix("n/a: ")
        found += [Absence(reason, *lines) for lines in _exactly(of)]
    return found


def _exactly(rows: pd.DataFrame) -> list[tuple[list[str], str, str, int]]:
    """Return data sets, methods, metrics and number of rows: no line says more than there is.

    Methods without the same metrics share a line, and data sets of which all of this is the same.
    """
    lines: dict[tuple[str, str], tuple[list[str], int]] = {}
    for dataset, of in rows.groupby("dataset", sort=False):
        alike: dict[str, tuple[list[str], int]] = {}
        for key, own in of.groupby(["model", "prior", "setting"], sort=False):
            metrics = "; ".join(f"{n}: {_listed(p['metric'])}" for n, p in own.groupby("file"))
            labels, n = alike.get(metrics, ([], 0))
            alike[metrics] = ([*labels, method_label(*map(str, key))], n + len(own))
        for metrics, (labels, n) in alike.items():
            datasets, before = lines.get((_listed(labels), metrics), ([], 0))
            lines[_listed(labels), metrics] = ([*datasets, str(dataset)], before + n)
    return [(datasets, *key, n) for key, (datasets, n) in lines.items()]


def _unscored(run: RunFolder) -> list[Gap]:
    config = run.config
    needed = {
        "clustering": grid.clustering_jobs(config) + grid.leiden_jobs(config),
        "integration": grid.experiment_jobs(config, "cells"),
        "elbo_surgery": grid.experiment_jobs(config, "elbo_surgery"),
    }
    gaps = []
    for name, jobs in needed.items():
        rows = run.rows.get(name)
        there = set() if rows is None else set(rows[JOB_COLUMNS].itertuples(index=False, name=None))
        absent: dict[str, list[Job]] = {}
        for job in jobs:
            if tuple(job.row.values()) not in there:
                absent.setdefault(job.dataset, []).append(job)
        for dataset, lost in absent.items():
            what = (
                f"{name}: {_listed(method_label(j.model, j.prior, str(j.setting)) for j in lost)}"
            )
            trials = ranges(job.trial for job in lost)
            gaps.append(Gap("missing", "not scored", dataset, what, trials, len(lost)))
    return gaps


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as ranges: ``0–2, 5``."""
    parts: list[list[int]] = []
    for number in sorted({int(number) for number in numbers}):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))
