"""From a complete configuration to its jobs: one job is one model of the grid.

Everything here is a pure function of the configuration (:func:`vmm.config.complete`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vmm.names import BASELINES, LEIDEN, METHODS

Config = Mapping[str, Any]
SLOW_RATE = 1e-3
"""Learning rate from which tuning tries ``slow_ratios`` first (SPEC section 4, Figure 5)."""
PUBLISHED = ("mnist", "fashion_mnist", "cortex", "pbmc", "lung_atlas", "split_seq")
"""Data sets of the paper."""
TUNED_KEYS = ("batch_size", "prior_learning_ratio")
CHOSEN = "chosen"
"""Setting of cells: batch size and ratio as configured or tuned."""
TUNING = "tuning"
DATA_KEYS = (
    "kind", "source", "path", "url", "sha256", "matrix", "cells", "batch_key", "label_key",
    "layer", "n_top_genes", "n_subset",
)  # fmt: skip
"""Keys of a data set that :func:`vmm.data.prepare` reads; the others are the models'."""


@dataclass(frozen=True, order=True)
class Job:
    """One model (or embedding) of the grid.

    Attributes
    ----------
    kind : {"images", "cells"}
    dataset, method : str
        `method` is a key of ``vmm.names.METHODS[kind]``.
    setting : str
        ``b<batch>-nmi`` or ``b<batch>-elbo`` (what stops the training) for images; ``chosen`` or,
        in tuning, ``b<batch>-r<ratio>`` for cells; ``leiden`` for Leiden's clusters of them.
    trial : int
    """

    kind: str
    dataset: str
    method: str
    setting: str
    trial: int

    @property
    def folder(self) -> str:
        """The job's folder, relative to that of the run."""
        return model_folder(self.dataset, self.method, self.setting, self.trial)

    @property
    def model(self) -> str:
        """Name of the model in rows of metrics."""
        return METHODS[self.kind][self.method].model

    @property
    def prior(self) -> str:
        """Name of the prior in rows of metrics."""
        return METHODS[self.kind][self.method].prior


@dataclass(frozen=True, order=True)
class Ladder:
    """One job of tuning: at one batch size, the VMM at ascending ratios.

    It ends after the first ratio with fewer utilised clusters than cell types.
    """

    dataset: str
    trial: int
    batch_size: int
    ratios: tuple[float, ...]


def model_folder(dataset: str, method: str, setting: str, trial: int | str) -> str:
    """Return the folder of a model, relative to that of the run."""
    return f"models/{dataset}/{method}/{setting}/trial_{trial}"


def image_setting(batch_size: int, monitor: str) -> str:
    """Return the setting of an image model; `monitor` is ``nmi`` or ``elbo``."""
    return f"b{batch_size}-{monitor}"


def tuning_setting(batch_size: int, ratio: float) -> str:
    """Return the setting of a model trained in tuning, such as ``b128-r2.5``."""
    return f"b{batch_size}-r{ratio:g}"


def experiment_jobs(config: Config, experiment: str) -> list[Job]:
    """Return the jobs whose models an experiment needs, none if the run does not have it.

    Parameters
    ----------
    config : mapping
        Complete configuration.
    experiment : {"batch_size", "elbo_surgery", "image_clustering", "cells"}
        The jobs of ``cells`` include its baselines.
    """
    if experiment not in config["experiments"]:
        return []
    settings = config["experiments"][experiment]
    jobs = []
    for dataset in settings["datasets"]:
        for method, setting in _variants(config, experiment, dataset):
            kind = config["datasets"][dataset]["kind"]
            jobs += [Job(kind, dataset, method, setting, t) for t in range(config["trials"])]
    return jobs


def _variants(config: Config, experiment: str, dataset: str) -> list[tuple[str, str]]:
    """Return the pairs of method and setting of one data set in an experiment."""
    settings = config["experiments"][experiment]
    batch_size = config["datasets"][dataset]["batch_size"]
    if experiment == "batch_size":
        return [("vmm", image_setting(size, "nmi")) for size in settings["batch_sizes"]]
    if experiment == "cells":
        return [(method, CHOSEN) for method in settings["methods"] + settings["baselines"]]
    monitor = "elbo" if experiment == "elbo_surgery" else "nmi"
    return [(method, image_setting(batch_size, monitor)) for method in settings["methods"]]


def training_jobs(config: Config) -> list[Job]:
    """Return every model to train, each once, without tuning and baselines."""
    jobs = [
        job
        for experiment in ("batch_size", "elbo_surgery", "image_clustering", "cells")
        for job in experiment_jobs(config, experiment)
        if job.method not in BASELINES
    ]
    return list(dict.fromkeys(jobs))


def baseline_jobs(config: Config) -> list[Job]:
    """Return the embeddings without a model."""
    return [job for job in experiment_jobs(config, "cells") if job.method in BASELINES]


def clustering_jobs(config: Config) -> list[Job]:
    """Return the models whose clusters are measured (Tables 2 and 3, Figure 1), each once."""
    jobs = [
        job
        for experiment in ("batch_size", "image_clustering", "cells")
        for job in experiment_jobs(config, experiment)
        if job.kind == "images" or clusters(job)
    ]
    return list(dict.fromkeys(jobs))


def leiden_jobs(config: Config) -> list[Job]:
    """Return the embeddings of cells that Leiden clusters, with its setting."""
    cells = config["experiments"].get("cells", {})
    if cells.get("leiden_resolution") is None:
        return []
    return [replace(job, setting=LEIDEN) for job in experiment_jobs(config, "cells")]


def table_jobs(config: Config, number: int) -> list[Job]:
    """Return the rows and trials of one of the paper's Tables 1 to 4, none if the run lacks it."""
    if number == 3:
        own = [job for job in experiment_jobs(config, "cells") if clusters(job)]
        return own + leiden_jobs(config)
    experiments = {1: "elbo_surgery", 2: "image_clustering", 4: "cells"}
    jobs = experiment_jobs(config, experiments[number])
    return [job for job in jobs if number != 2 or clusters(job)]


def published_datasets(config: Config) -> list[str]:
    """Return the data sets of the run that the paper has too, under their own names."""
    named = [name for name in used_datasets(config) if config["datasets"][name]["source"] == name]
    return [name for name in named if name in PUBLISHED]


def row_of(job: Job) -> dict[str, Any]:
    """Return what names a job in rows of metrics."""
    return {key: getattr(job, key) for key in ("dataset", "model", "prior", "setting", "trial")}


def clusters(job: Job) -> bool:
    """Whether the job's model gives cluster probabilities."""
    return job.prior not in ("StandardNormal", "none")


def tuned_keys(dataset: Mapping[str, Any]) -> list[str]:
    """Return which of batch_size and prior_learning_ratio a cell data set leaves to tuning."""
    return [key for key in TUNED_KEYS if dataset[key] is None]


def tuned_datasets(config: Config) -> list[str]:
    """Return the cell data sets of the run that leave the batch size or the ratio to tuning."""
    if "tuning" not in config["experiments"]:
        return []
    cells = config["experiments"].get("cells")
    names = [n for n, d in config["datasets"].items() if d["kind"] == "cells"]
    return [n for n in (cells["datasets"] if cells else names) if tuned_keys(config["datasets"][n])]


def ladders(config: Config, dataset: str) -> list[Ladder]:
    """Return the tuning jobs of a data set: one for each trial and batch size."""
    tuning, given = config["experiments"]["tuning"], config["datasets"][dataset]
    sizes = tuning["batch_sizes"] if given["batch_size"] is None else [given["batch_size"]]
    ratios = list(tuning["prior_learning_ratios"])
    if given["learning_rate"] >= SLOW_RATE:
        ratios += tuning["slow_ratios"]
    if given["prior_learning_ratio"] is not None:
        ratios = [given["prior_learning_ratio"]]
    ascending = tuple(sorted(set(map(float, ratios))))
    return [
        Ladder(dataset, trial, size, ascending)
        for trial in range(tuning["trials"])
        for size in sorted(sizes)
    ]


def starts(config: Config, dataset: str) -> dict[str, int]:
    """Return how many training rows some model of a data set starts from, by the key that says so.

    Pseudo-inputs start from ``n_components`` rows, the clusters of VaDE from ``vade_clusters``.
    """
    methods = {job.method for job in training_jobs(config) if job.dataset == dataset}
    needed = {}
    if methods & {"vampprior", "vmm"} or dataset in tuned_datasets(config):
        needed["n_components"] = config["n_components"]
    if "vade" in methods:
        needed["vade_clusters"] = config["datasets"][dataset]["vade_clusters"]
    return needed


def data_settings(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a data set's configuration its preparation depends on."""
    return {key: dataset[key] for key in DATA_KEYS if dataset.get(key) is not None}


def used_datasets(config: Config) -> list[str]:
    """Return the data sets that some experiment uses, in the configuration's order."""
    experiments = config["experiments"]
    used = {n for e in experiments.values() for n in e.get("datasets", ())}
    used |= set(tuned_datasets(config))
    return [name for name in config["datasets"] if name in used]


def spec(job: Job, config: Config) -> dict[str, Any]:
    """Return everything that training needs to know of a job (``vmm.jobs.train``).

    For cells with the setting ``chosen``, ``batch_size`` and ``prior_learning_ratio`` are None
    where tuning is to give them (:func:`with_choice`).
    """
    dataset = config["datasets"][job.dataset]
    shared = {
        "dataset": job.dataset,
        "method": job.method,
        "model": job.model,
        "prior": job.prior,
        "setting": job.setting,
        "trial": job.trial,
        "seed": config["seed"],
        "n_components": config["n_components"],
        "latent_dim": dataset["n_latent"],
        "learning_rate": dataset["learning_rate"],
        "batch_size": dataset["batch_size"],
        "prior_learning_ratio": dataset["prior_learning_ratio"],
        "precision": config["precision"],
        **config["inference"],
    }
    return shared | (_image_spec if job.kind == "images" else _cell_spec)(job, config)


def _image_spec(job: Job, config: Config) -> dict[str, Any]:
    dataset = config["datasets"][job.dataset]
    size, monitor = job.setting.removeprefix("b").split("-")
    if monitor == "elbo":
        length = config["experiments"]["elbo_surgery"]
    else:
        experiments = config["experiments"]
        length = experiments.get("image_clustering") or experiments["batch_size"]
    return {
        "hidden": dataset["hidden"],
        "batch_size": int(size),
        "n_components": dataset["vade_clusters"]
        if job.method == "vade"
        else config["n_components"],
        "max_epochs": length["max_epochs"],
        "patience": length["patience"],
        "monitor": "elbo" if monitor == "elbo" else "unmerged_nmi",
    }


def _cell_spec(job: Job, config: Config) -> dict[str, Any]:
    dataset = config["datasets"][job.dataset]
    length = config["experiments"]["cells" if job.setting == CHOSEN else "tuning"]
    return {
        "n_layers": dataset["n_layers"],
        "n_hidden": dataset["n_hidden"],
        "likelihood": dataset["likelihood"],
        "max_epochs": length["max_epochs"],
        "patience": length["patience"],
        "monitor": "elbo",
    }


def ladder_spec(ladder: Ladder, config: Config) -> dict[str, Any]:
    """Return the spec of a tuning job, to which each step adds its setting and its ratio."""
    job = Job("cells", ladder.dataset, "vmm", TUNING, ladder.trial)
    common = spec(job, config) | {"batch_size": ladder.batch_size}
    return {k: v for k, v in common.items() if k not in ("setting", "prior_learning_ratio")}


def with_choice(spec: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec with the batch size and the ratio that tuning chose.

    Parameters
    ----------
    spec : mapping
        Of a job with the setting ``chosen``.
    choice : mapping
        Content of ``tuning/<dataset>.json``.
    """
    return {**spec, **{key: choice[key] for key in TUNED_KEYS if spec[key] is None}}
