"""Compare batch size and ratio chosen without labels with those chosen by labels.

``python docs/evidence/choice.py`` trains the grids of ``choice.yaml`` and ``choice_short.yaml``
beside this file, into ``results/evidence_choice``, and chooses by both rules, from the same models.
A benchmark trains what was chosen with the same splits and seeds, so that these are its models too;
the choice by labels has seen the scores that are compared. Writes ``results/choice.csv`` and
``results/choice.md`` beside this file; what was trained is not trained again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vmm.benchmark import grid
from vmm.benchmark.choice import choose_setting, choose_without_labels
from vmm.benchmark.config import load as read_config
from vmm.benchmark.evaluation.clustering import evaluate_clustering
from vmm.benchmark.evaluation.integration import evaluate_integration
from vmm.benchmark.metrics.records import CLUSTERS
from vmm.benchmark.metrics.rows import concatenate_rows, read_rows, write_rows
from vmm.benchmark.metrics.significance import paired_tests
from vmm.benchmark.setting import Setting
from vmm.benchmark.spec import Spec
from vmm.benchmark.tuning import climb
from vmm.data.containers import load
from vmm.data.preparation import prepare
from vmm.data.splits import make_split
from vmm.io import read_json

HERE = Path(__file__).resolve().parent
ROWS, TABLE = HERE / "results" / "choice.csv", HERE / "results" / "choice.md"
RUN = Path("results/evidence_choice")
METRICS = [CLUSTERS, "NMI (unmerged)", "Bio conservation"]
RULES = {"labels": "by labels", "none": "without"}


class Trainings:
    """The models of one data set: trained where they are not there yet."""

    def __init__(self, name: str, config: grid.Config):
        self.name, self.seed = name, config["seed"]
        self.path, described = RUN / f"data/{name}.npz", RUN / f"data/{name}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        settings = grid.data_settings(config["datasets"][name])
        prepare(name, settings, None, "downloads", self.path, described)
        self.data, self.about = load(self.path), read_json(described)

    def train(self, specs: list[Spec], ratios: list[float]) -> list[list[Path]]:
        """Train trials at once with each ratio; return the folders of each trial."""

        def folder_of(trial: int, setting: Setting) -> Path:
            return RUN / f"models/{self.name}/vmm/{setting}/trial_{trial}"

        torch.set_num_threads(1)  # libraries that scored before have set others
        splits = [self._split(spec.job.trial) for spec in specs]
        origin = {"data": self.about["content_sha256"]}
        steps = climb(self.path, splits, specs, ratios, None, folder_of, "cpu", origin=origin)
        return [
            [folder_of(spec.job.trial, Setting.parse(step["setting"])) for step in own]
            for spec, own in zip(specs, steps, strict=True)
        ]

    def _split(self, trial: int) -> Path:
        path = RUN / f"splits/{self.name}/trial_{trial}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        train, valid = make_split(self.data, trial, self.seed)
        np.savez(path, train=train, valid=valid)
        return path

    def scores(self, folders: list[Path]) -> pd.DataFrame:
        """Return tidy rows of clustering and integration, computed once."""
        kept = RUN / f"metrics/{self.name}.csv"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            of = (folders, self.path)
            write_rows(
                concatenate_rows([evaluate_clustering(*of), evaluate_integration(*of)]), kept
            )
        return read_rows(kept)


def as_climbed(rows: pd.DataFrame, n_types: int) -> pd.DataFrame:
    """Return the rows of those settings that the rule with labels would have trained."""
    parsed = rows["setting"].map(Setting.parse)
    frame = rows.assign(batch=[s.batch_size for s in parsed], ratio=[s.ratio for s in parsed])
    few = frame[(frame["metric"] == CLUSTERS) & (frame["value"] < n_types)]
    last = few.groupby(["batch", "trial"])["ratio"].min().rename("last").reset_index()
    frame = frame.merge(last, how="left", on=["batch", "trial"])
    return rows[(frame["ratio"] <= frame["last"].fillna(np.inf)).to_numpy()]


def measure(name: str, config: grid.Config) -> pd.DataFrame:
    """Choose by both rules, return the scores of the models of either choice."""
    of = Trainings(name, config)
    ladders = grid.ladders(config, name)
    by_size: dict[int, list[Spec]] = {}
    for ladder in ladders:
        by_size.setdefault(ladder.batch_size, []).append(grid.ladder_spec(ladder, config))
    trained = [of.train(specs, list(ladders[0].ratios)) for specs in by_size.values()]
    folders = [folder for trials in trained for own in trials for folder in own]
    scores, n_types = of.scores(folders), of.about["n_types"]
    labels = choose_setting(as_climbed(scores, n_types), n_types, of.about["n_batches"] == 1)
    found = []
    for rule, choice in zip(RULES, (labels, choose_without_labels(folders)[0]), strict=True):
        print(name, rule, choice["setting"], choice["reason"], flush=True)
        own = scores[scores["setting"].eq(choice["setting"]) & scores["metric"].isin(METRICS)]
        for trial, part in own.groupby("trial"):
            values = part.set_index("metric")["value"].to_dict()
            found.append(
                {"dataset": name, "n_types": n_types, "rule": rule}
                | {"setting": choice["setting"], "trial": trial, **values}
            )
    return pd.DataFrame(found)


def table(measured: pd.DataFrame) -> str:
    """Return each rule's choice and scores, and the paired difference between rules."""
    lines = [
        "| data set (types) | chosen by labels | without | clusters | NMI | Bio conservation "
        "| NMI, without − by labels | p | Bio conservation, without − by labels | p |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, part in measured.groupby("dataset", sort=False):
        rules = {rule: own.set_index("trial") for rule, own in part.groupby("rule")}
        labels, none = (rules[rule] for rule in RULES)
        cells = [f"{name} ({labels['n_types'].iloc[0]:.0f})"]
        cells += [own["setting"].iloc[0] for own in (labels, none)]
        for metric, digits in zip(METRICS, (1, 3, 3), strict=True):
            pair = [f"{own[metric].mean():.{digits}f}" for own in (labels, none)]
            cells.append(" and ".join(pair))
        same = cells[1] == cells[2]
        for metric in METRICS[1:]:
            difference = none[metric] - labels[metric]
            if same:
                cells += ["same", ""]
                continue
            p = paired_tests(pd.DataFrame({0: labels[metric], 1: none[metric]}))["p"].min()
            cells += [f"{difference.mean():+.3f} ± {difference.std():.3f}", f"{p:.2f}"]
        lines.append("| " + " | ".join(cells).replace("-0.", "−0.") + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is not there yet, and write the table."""
    measured = pd.read_csv(ROWS) if ROWS.exists() else pd.DataFrame(columns=["dataset"])
    for config in map(read_config, (HERE / "choice.yaml", HERE / "choice_short.yaml")):
        for name in [n for n in config["datasets"] if n not in set(measured["dataset"])]:
            measured = pd.concat([measured, measure(name, config)], ignore_index=True)
            measured.to_csv(ROWS, index=False)
            TABLE.write_text(table(measured))
    print(TABLE.read_text())


if __name__ == "__main__":
    main()
