"""What the page of a run shows: its tables and figures, in the paper's order, with captions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from vmm.benchmark import grid
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.setting import Setting
from vmm.paper.labels import dataset_label

CAPTIONS = Path(__file__).with_name("captions")
"""Captions, which ``snakemake --report`` shows too."""
TABLE_TITLES = {
    1: "ELBO surgery",
    2: "Clustering of images",
    3: "Clustering of cells",
    4: "Integration of cells",
}


@dataclass(frozen=True)
class Item:
    """A table or a figure of the page.

    Its files are at `stem`, relative to the run's folder, without suffix. `caption` is the name of
    the file of its caption, likewise, and `wildcards` are what that fills in.
    """

    stem: str
    title: str
    caption: str
    wildcards: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its anchor in the page."""
        return self.stem.replace("/", "-")


def tables(config: grid.Config) -> list[Item]:
    """Return the tables of a run."""
    return [
        Item(
            f"tables/table{number}",
            f"Table {number}. {title}",
            "table",
            {"number": str(number)},
        )
        for number, title in TABLE_TITLES.items()
        if grid.table_jobs(config, number)
    ]


def figures(config: grid.Config) -> list[Item]:
    """Return the figures of a run, but for those of tuning and training."""
    items = []
    if "batch_size" in config["experiments"]:
        items.append(Item("figures/batch_size", "Clusters and NMI by batch size", "batch_size"))
    pairs = {(job.dataset, job.method) for job in grid.sample_jobs(config)}
    for dataset, method in sorted(pairs, key=lambda pair: (pair[1] != grid.TUNED_METHOD, pair)):
        label = METHODS["images"][method].label
        items.append(
            _of_dataset(
                dataset, f"samples_{dataset}_{method}", f"Samples from the {label}", "samples"
            )
        )
    for dataset in config["experiments"].get("cells", {}).get("datasets", []):
        items.append(_of_dataset(dataset, f"mde_{dataset}", "Embeddings", "mde"))
        if grid.control_jobs(config, dataset):
            title = "Scores between controls"
            items.append(_of_dataset(dataset, f"controls_{dataset}", title, "controls"))
    return items


def tuning_figure(dataset: str) -> Item:
    """Return the figure of a data set's tuning."""
    return _of_dataset(dataset, f"tuning_{dataset}", "Tuning", "tuning")


def curves(config: grid.Config) -> list[Item]:
    """Return the figures of training curves: one for each data set with models."""
    return [
        _of_dataset(name, f"training_{name}", "Training", "training_curves")
        for name in config["datasets"]
        if curve_jobs(config, name)
    ]


def curve_jobs(config: grid.Config, dataset: str) -> list[grid.Job]:
    """Return the models whose training curves are drawn together: those of one table.

    Of images, the ones of clustering; without that experiment, those of ELBO surgery, or those of
    the experiment on batch sizes at the data set's own (or else its first) batch size.
    """
    for experiment in ("image_clustering", "elbo_surgery", "cells"):
        jobs = grid.experiment_jobs(config, experiment)
        jobs = [j for j in jobs if j.dataset == dataset and j.record.trains and j.record.elbo]
        if jobs:
            return jobs
    jobs = [j for j in grid.experiment_jobs(config, "batch_size") if j.dataset == dataset]
    settings = [job.setting for job in jobs]
    own = Setting(config["datasets"][dataset]["batch_size"] or 0, stop="nmi")
    return [job for job in jobs if job.setting == (own if own in settings else settings[0])]


def expected_files(config: grid.Config) -> list[str]:
    """Return the files that the page of a complete run shows, relative to its folder."""
    files = [f"data/{name}.json" for name in grid.used_datasets(config)]
    files += [f"{item.stem}.html" for item in tables(config)]
    if "cells" in config["experiments"]:
        files.append("tables/recommendation.json")
    if grid.published_datasets(config):
        files.append("tables/comparison.csv")
    tuned = grid.tuned_datasets(config)
    files += [f"tuning/{name}.json" for name in tuned]
    pictures = figures(config) + [tuning_figure(name) for name in tuned] + curves(config)
    return files + [f"{item.stem}.png" for item in pictures]


def caption(item: Item, config: grid.Config) -> Markup:
    """Return an item's caption as HTML: text, in which ````name```` is code."""
    text = (CAPTIONS / f"{item.caption}.rst").read_text().strip()
    snakemake = SimpleNamespace(wildcards=SimpleNamespace(**item.wildcards), config=config)
    return code_marked(Environment().from_string(text).render(snakemake=snakemake))


def code_marked(text: Any) -> Markup:
    """Return text as HTML, with ````name```` as code."""
    return Markup(re.sub(r"``(.+?)``", r"<code>\1</code>", str(escape(text))))


def _of_dataset(dataset: str, name: str, title: str, caption_name: str) -> Item:
    return Item(
        f"figures/{name}", f"{title}: {dataset_label(dataset)}", caption_name, {"dataset": dataset}
    )
