"""What lies in the folder of a run, read for its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from vmm.benchmark import grid
from vmm.benchmark.job import Job, model_folder
from vmm.benchmark.metrics.rows import concatenate_rows, read_rows
from vmm.benchmark.setting import Setting
from vmm.errors import InputError
from vmm.io import read_json, read_table, whole

METRICS = ("clustering", "integration", "elbo_surgery")
INPUTS = (
    "data/*.json",
    "models/**/run.json",
    "metrics/**/*.csv",
    "tuning/*.json",
    "tables/*.html",
    "tables/*.json",
    "figures/*.png",
)
"""What the page is made from; benchmarks are left out, which are written after their job."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run and its complete configuration."""

    path: Path
    config: grid.Config

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return (self.path / name).is_file()

    def json(self, name: str) -> Any:
        """Return the content of a JSON file, or None where it is not there."""
        return read_json(self.path / name) if self.has(name) else None

    @cached_property
    def newest(self) -> datetime | None:
        """When the newest of the page's inputs was written."""
        files = whole(path for pattern in INPUTS for path in self.path.glob(pattern))
        times = [path.stat().st_mtime for path in files]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    @cached_property
    def descriptions(self) -> dict[str, dict[str, Any] | None]:
        """Descriptions of the data sets; None for one that is not prepared."""
        return {name: self.json(f"data/{name}.json") for name in grid.used_datasets(self.config)}

    @cached_property
    def jobs(self) -> list[Job]:
        """Every model and embedding of the run, without those of tuning."""
        return grid.training_jobs(self.config) + grid.baseline_jobs(self.config)

    @cached_property
    def runs(self) -> dict[str, dict[str, Any]]:
        """``run.json`` of each model that is there and belongs to the run, by its folder."""
        folders = [job.folder for job in self.jobs] + self._tuning_folders()
        found = {folder: self.json(f"{folder}/run.json") for folder in folders}
        return {folder: run for folder, run in found.items() if run is not None}

    @cached_property
    def networks(self) -> dict[str, dict[str, Any]]:
        """Sizes and likelihood that a model of scvi-tools really had, by data set."""
        told = [run for run in self.runs.values() if "networks" in run]
        return {run["spec"]["dataset"]: run["networks"] for run in told}

    def _tuning_folders(self) -> list[str]:
        return [
            model_folder(name, grid.TUNED_METHOD, Setting(step.batch_size, r), step.trial)
            for name in grid.tuned_datasets(self.config)
            for step in grid.ladders(self.config, name)
            for r in step.ratios
        ]

    @cached_property
    def rows(self) -> dict[str, pd.DataFrame]:
        """Tidy rows by file of metrics, from the parts where they are not gathered yet."""
        found = {}
        for name in METRICS:
            gathered = self.path / f"metrics/{name}.csv"
            parts = whole((self.path / f"metrics/parts/{name}").rglob("*.csv"))
            if gathered.is_file() or parts:
                files = [gathered] if gathered.is_file() else parts
                found[name] = concatenate_rows(map(read_rows, files))
        for name in grid.tuned_datasets(self.config):
            if self.has(f"tuning/{name}.csv"):
                found[f"tuning of {name}"] = read_rows(self.path / f"tuning/{name}.csv")
        return found

    @cached_property
    def benchmarks(self) -> pd.DataFrame:
        """Time (s) and memory (MB) of every job that ended: columns kind, job, seconds, memory."""
        found = []
        root = self.path / "benchmarks"
        for path in sorted(root.rglob("*.tsv")):
            job = path.relative_to(root).with_suffix("").as_posix()
            kind, _, name = job.partition("/")
            if kind == "report":
                continue
            try:
                table = read_table(path, sep="\t", na_values="-")
            except InputError:  # cut by a kill: costs are worth no failure
                continue
            found.append((kind, name, table["s"].sum(), table["max_rss"].max()))
        return pd.DataFrame(found, columns=["kind", "job", "seconds", "memory"])

    def log(self, job: Job) -> str:
        """Return the path of the log of a model's job."""
        if not job.record.trains:
            return f"logs/baselines/{job.dataset}.log"
        folder = job.folder.replace("models/", "logs/train/", 1)
        if self.config["trials_at_once"]:
            folder = str(Path(folder).with_name("trials"))
        return folder + ".log"

    def last_line(self, log: str) -> str:
        """Return the last line of a log, empty where there is none."""
        if not self.has(log):
            return ""
        text = (self.path / log).read_text(errors="replace")
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
