"""Time and memory by kind of job, and what each model's training took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from vmm.benchmark.methods.records import place_of
from vmm.benchmark.setting import CHOSEN, Setting
from vmm.paper.labels import is_embedding, method_label
from vmm.paper.report.folder import RunFolder


class Kind(NamedTuple):
    """Jobs of one kind: how many, their time in seconds, the most memory in MB (NaN: unknown)."""

    name: str
    jobs: int
    seconds: float
    longest: float
    memory: float


class Training(NamedTuple):
    """Models of one data set and method (of tuning: all settings together)."""

    dataset: str
    label: str
    models: int
    ok: int
    epochs: str
    seconds: float
    memory: float
    gpu_memory: float
    devices: str


def kinds(benchmarks: pd.DataFrame) -> list[Kind]:
    """Return the kinds of jobs, the one with most time first."""
    found = [
        Kind(name, len(of), of["seconds"].sum(), of["seconds"].max(), of["memory"].max())
        for name, of in benchmarks.groupby("kind")
    ]
    return sorted(found, key=lambda kind: (-kind.seconds, kind.name))


def total(found: Iterable[Kind]) -> Kind:
    """Return all kinds as one."""
    frame = pd.DataFrame(found, columns=Kind._fields)
    return Kind(
        "All jobs",
        int(frame["jobs"].sum()),
        float(frame["seconds"].sum()),
        float(frame["longest"].max()),
        float(frame["memory"].max()),
    )


def models(run: RunFolder) -> pd.DataFrame:
    """Return a row for each model and embedding that is there, from its ``run.json``."""
    found = []
    for made in run.runs.values():
        spec = made["spec"]
        tuning = Setting.parse(spec["setting"]).is_tuning
        found.append(
            {
                "dataset": spec["dataset"],
                "place": (tuning, place_of(spec["model"], spec["prior"])),
                "label": method_label(spec["model"], spec["prior"]),
                "group": "tuning" if tuning else spec["setting"],
                "setting": spec["setting"],
                "trial": spec["trial"],
                "baseline": is_embedding(spec["model"], spec["prior"]),
                **{key: made.get(key) for key in (*MODEL_KEYS, "status", "device")},
            }
        )
    columns = ["dataset", "place", "label", "group", "setting", "trial", "baseline", *MODEL_KEYS]
    frame = pd.DataFrame(found, columns=[*columns, "status", "device"])
    order = {name: i for i, name in enumerate(run.config["datasets"])}
    frame["dataset_place"] = frame["dataset"].map(order)
    frame = frame.sort_values(["dataset_place", "place", "setting", "trial"], kind="stable")
    return frame.drop(columns=["dataset_place", "place"]).reset_index(drop=True)


MODEL_KEYS = (
    "epochs",
    "best_epoch",
    "utilized_clusters",
    "seconds",
    "peak_memory_mb",
    "peak_gpu_memory_mb",
)


def trainings(frame: pd.DataFrame) -> list[Training]:
    """Return what the models of each data set and method took."""
    found = []
    for (dataset, label, group), of in frame.groupby(["dataset", "label", "group"], sort=False):
        name = label if of["baseline"].all() or group == str(CHOSEN) else f"{label} {group}"
        found.append(
            Training(
                dataset,
                name,
                len(of),
                int(of["status"].eq("ok").sum()),
                _span(of["epochs"].dropna()),
                of["seconds"].sum(),
                of["peak_memory_mb"].max(),
                of["peak_gpu_memory_mb"].max(),
                ", ".join(sorted(set(of["device"].dropna()))),
            )
        )
    return found


def _span(values: Any) -> str:
    if not len(values):
        return ""
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low}–{high}"
