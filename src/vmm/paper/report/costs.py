"""Time and memory by kind of job, and what each model's training took."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vmm.benchmark.methods.records import place_of
from vmm.benchmark.setting import CHOSEN, Setting
from vmm.paper.labels import is_embedding, method_label
from vmm.paper.report.folder import RunFolder


def kinds(benchmarks: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what the jobs of each kind took, the one with most time first."""
    found = [total(of, str(name)) for name, of in benchmarks.groupby("kind")]
    return sorted(found, key=lambda kind: (-kind["seconds"], kind["name"]))


def total(benchmarks: pd.DataFrame, name: str = "All jobs") -> dict[str, Any]:
    """Return how many jobs there are, their time in seconds, the most memory in MB, if known."""
    return {
        "name": name,
        "jobs": len(benchmarks),
        "seconds": benchmarks["seconds"].sum(),
        "longest": benchmarks["seconds"].max(),
        "memory": benchmarks["memory"].max(),
    }


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


def trainings(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what the models of each data set and method took; of tuning, all settings together."""
    found = []
    for (dataset, label, group), of in frame.groupby(["dataset", "label", "group"], sort=False):
        plain = of["baseline"].all() or group == str(CHOSEN)
        found.append(
            {
                "dataset": dataset,
                "label": label if plain else f"{label} {group}",
                "models": len(of),
                "ok": int(of["status"].eq("ok").sum()),
                "epochs": _span(of["epochs"].dropna()),
                "seconds": of["seconds"].sum(),
                "memory": of["peak_memory_mb"].max(),
                "gpu_memory": of["peak_gpu_memory_mb"].max(),
                "devices": ", ".join(sorted(set(of["device"].dropna()))),
            }
        )
    return found


def _span(values: Any) -> str:
    if not len(values):
        return ""
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low}–{high}"
