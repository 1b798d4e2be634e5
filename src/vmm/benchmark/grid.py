"""From a complete configuration to its jobs: one job is one model of the grid.

Everything here is a pure function of the configuration (:func:`vmm.benchmark.config.complete`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vmm.benchmark.job import Job
from vmm.benchmark.methods.records import METHODS, Method
from vmm.benchmark.setting import CHOSEN, LEIDEN, Setting, Stop
from vmm.benchmark.spec import TUNED_KEYS, PriorSpec, Spec, library_arguments, networks_of
from vmm.data.source import BESIDE
from vmm.data.sources.records import SOURCES
from vmm.scvi_tools.records import MODELS as LIBRARY

Config = Mapping[str, Any]
SLOW_RATE = 1e-3
"""Learning rate from which tuning tries ``slow_ratios`` first, as the paper does."""
TUNED_METHOD = "vmm"
"""The method that batch size and ratio are tuned by, and that Figure 1 shows."""
DATA_KEYS = (
    "kind", "source", "path", "url", "sha256", "matrix", "cells", "batch_key", "label_key",
    "categorical_covariate_keys", "continuous_covariate_keys", "size_factor_key", "layer",
    "modality", "proteins", "peaks", "n_top_genes", "n_subset",
)  # fmt: skip
"""Keys of a data set that :func:`vmm.data.prepare` reads; the others are the models'."""
EXPERIMENTS = {
    "batch_size": "images",
    "elbo_surgery": "images",
    "image_clustering": "images",
    "cells": "cells",
}
"""Experiments that train models of the grid, and on which kind of data; tuning trains others."""


@dataclass(frozen=True, order=True)
class Ladder:
    """One job of tuning: at one batch size, the VMM at ascending ratios.

    Where labels choose, it ends after the first ratio with fewer utilised clusters than cell types.
    """

    dataset: str
    trial: int
    batch_size: int
    ratios: tuple[float, ...]


# Jobs ----------------------------------------------------------------------------------------


def experiment_jobs(config: Config, experiment: str) -> list[Job]:
    """Return the jobs whose models an experiment needs, none if the run does not have it.

    Parameters
    ----------
    config : mapping
        Complete configuration.
    experiment : {"batch_size", "elbo_surgery", "image_clustering", "cells"}
        The jobs of ``cells`` include its baselines and controls.
    """
    if experiment not in config["experiments"]:
        return []
    return [
        Job(EXPERIMENTS[experiment], dataset, method, setting, trial, library_of(config, dataset))
        for dataset in config["experiments"][experiment]["datasets"]
        for method, setting in _variants(config, experiment, dataset)
        for trial in range(config["trials"])
    ]


def _variants(config: Config, experiment: str, dataset: str) -> list[tuple[str, Setting]]:
    """Return the pairs of method and setting of one data set in an experiment."""
    settings = config["experiments"][experiment]
    if experiment == "batch_size":
        return [(TUNED_METHOD, Setting(size, stop="nmi")) for size in settings["batch_sizes"]]
    if experiment == "cells":
        names = settings["methods"] + settings["baselines"] + settings["controls"]
        given = config["datasets"][dataset]
        labelled = given["source"] or given["label_key"]
        known = [n for n in names if labelled or not METHODS["cells"][n].needs_labels]
        return [(method, CHOSEN) for method in known]
    stop: Stop = "elbo" if experiment == "elbo_surgery" else "nmi"
    setting = Setting(config["datasets"][dataset]["batch_size"], stop=stop)
    return [(method, setting) for method in settings["methods"]]


def training_jobs(config: Config) -> list[Job]:
    """Return every model to train, each once, without tuning and baselines."""
    return _each_once(config, EXPERIMENTS, lambda method: method.trains)


def baseline_jobs(config: Config) -> list[Job]:
    """Return the embeddings without a model."""
    return _each_once(config, ("cells",), lambda method: not method.trains)


def clustering_jobs(config: Config) -> list[Job]:
    """Return the models whose clusters are measured (Tables 2 and 3, Figure 1), each once."""
    experiments = ("batch_size", "image_clustering", "cells")
    return _each_once(config, experiments, lambda method: method.clusters)


def _each_once(config: Config, experiments: Iterable[str], wanted) -> list[Job]:
    jobs = [
        job
        for experiment in experiments
        for job in experiment_jobs(config, experiment)
        if wanted(job.record)
    ]
    return list(dict.fromkeys(jobs))


def leiden_jobs(config: Config) -> list[Job]:
    """Return the embeddings of cells that Leiden clusters, with its setting."""
    cells = config["experiments"].get("cells", {})
    if cells.get("leiden_resolution") is None:
        return []
    compared = [job for job in experiment_jobs(config, "cells") if not job.record.control]
    return [replace(job, setting=LEIDEN) for job in compared]


def table_jobs(config: Config, number: int) -> list[Job]:
    """Return the rows and trials of one of the paper's Tables 1 to 4, none if the run lacks it."""
    if number == 3:
        own = [job for job in experiment_jobs(config, "cells") if job.record.clusters]
        return own + leiden_jobs(config)
    experiments = {1: "elbo_surgery", 2: "image_clustering", 4: "cells"}
    jobs = experiment_jobs(config, experiments[number])
    return [j for j in jobs if (number != 2 or j.record.clusters) and not j.record.control]


def control_jobs(config: Config, dataset: str) -> list[Job]:
    """Return the embeddings of a data set that are shown beside controls, and these; or none."""
    if not config["experiments"].get("cells", {}).get("controls"):
        return []
    return [job for job in experiment_jobs(config, "cells") if job.dataset == dataset]


def sample_jobs(config: Config) -> list[Job]:
    """Return the image models whose prior is sampled: those made of encoded images."""
    return [
        job
        for job in experiment_jobs(config, "image_clustering")
        if (prior := job.record.prior_record) and prior.has_pseudo_inputs
    ]


# Data sets -----------------------------------------------------------------------------------


def used_datasets(config: Config) -> list[str]:
    """Return the data sets that some experiment uses, in the configuration's order."""
    experiments = config["experiments"]
    used = {n for e in experiments.values() for n in e.get("datasets", ())}
    used |= set(tuned_datasets(config))
    return [name for name in config["datasets"] if name in used]


def library_of(config: Config, dataset: str) -> str:
    """Return the model of scvi-tools that a data set's methods are trained in, "" for ours."""
    return config["datasets"][dataset].get("model") or ""


def published_datasets(config: Config) -> list[str]:
    """Return the data sets of the run that the paper has too, under their own names."""
    used = [name for name in used_datasets(config) if not library_of(config, name)]
    named = [name for name in used if config["datasets"][name]["source"] == name]
    return [name for name in named if SOURCES[name].published]


def data_settings(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a data set's configuration its preparation depends on."""
    settings = {key: dataset[key] for key in DATA_KEYS if dataset.get(key) is not None}
    record = LIBRARY.get(dataset.get("model") or "")
    if record and record.intensities:
        settings["intensities"] = True
    if record and record.features != "genes":
        settings["features"] = record.features
    return settings


def measured(dataset: Mapping[str, Any]) -> list[str]:
    """Return what is measured in a set of cells: what its model is of, and what is beside."""
    record = LIBRARY.get(dataset.get("model") or "")
    own = record.features if record else "genes"
    return [own, *(key for key in BESIDE if dataset.get(key))]


def starts(config: Config, dataset: str) -> dict[str, int]:
    """Return how many training rows some model of a data set starts from, by the key that says so.

    Pseudo-inputs start from ``n_components`` rows, as many clusters as a method is told from
    ``vade_clusters``.
    """
    methods = [job.record for job in training_jobs(config) if job.dataset == dataset]
    if dataset in tuned_datasets(config):
        methods.append(METHODS["cells"][TUNED_METHOD])
    priors = [m.prior_record for m in methods if m.prior_record]
    keys = [p.n_components_key for p in priors if p.starts_from_data]
    keys += [m.n_clusters_key for m in methods if m.n_clusters_key]
    return {key: _n_components(config, dataset, key) for key in dict.fromkeys(keys)}


def _n_components(config: Config, dataset: str, key: str) -> int:
    """Return the number of components that a key of the run, or of the data set, gives."""
    return config[key] if key in config else config["datasets"][dataset][key]


# Tuning --------------------------------------------------------------------------------------


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


# Specifications ------------------------------------------------------------------------------


def spec(job: Job, config: Config) -> Spec:
    """Return everything that training needs to know of a job.

    For cells with the setting ``chosen``, the batch size and the ratio are None where tuning is to
    give them (:meth:`vmm.benchmark.spec.Spec.with_choice`).
    """
    dataset, method, setting = config["datasets"][job.dataset], job.record, job.setting
    length, inference = _length(job, config["experiments"]), config["inference"]
    own = {**dataset, **inference}
    taken = [] if job.library else [*method.options, *filter(None, [method.n_clusters_key])]
    return Spec(
        job=job,
        seed=config["seed"],
        networks=(library_arguments if job.library else networks_of)(job.library or job.kind, own),
        learning_rate=dataset["learning_rate"],
        batch_size=setting.batch_size or dataset["batch_size"],
        max_epochs=length["max_epochs"],
        patience=length["patience"],
        monitor="unmerged_nmi" if setting.stop == "nmi" else "elbo",
        options={key: own[key] for key in taken} or None,
        **_ours(method, job, config),
    )


def _ours(method: Method, job: Job, config: Config) -> dict[str, Any]:
    """Return what only our models have."""
    record = method.prior_record
    if record is None:
        return {}
    n_components = _n_components(config, job.dataset, record.n_components_key)
    options = {key: config["inference"][key] for key in record.options_for(job.kind)}
    balanced = config["inference"]["balanced_pseudo_inputs"] if record.has_pseudo_inputs else None
    ratio = config["datasets"][job.dataset]["prior_learning_ratio"]
    prior = PriorSpec(
        name=record.name,
        n_components=n_components if record.clusters else None,
        options=options,
    )
    taken = {"prior_learning_ratio": ratio if record.empirical_bayes else None}
    if job.library:
        return {"ours": prior, **taken}
    return {
        "precision": config["precision"],
        "ours": replace(prior, balanced_pseudo_inputs=balanced),
        **taken,
        "sleep_below": (config["sleep_below"] or None) if record.empirical_bayes else None,
    }


def _length(job: Job, experiments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the experiment that says how long a model is trained."""
    if job.kind == "cells":
        return experiments["cells" if job.setting == CHOSEN else "tuning"]
    if job.setting.stop == "elbo":
        return experiments["elbo_surgery"]
    return experiments.get("image_clustering") or experiments["batch_size"]


def ladder_spec(ladder: Ladder, config: Config) -> Spec:
    """Return the specification of a tuning job; each step has one at its ratio."""
    setting = Setting(ladder.batch_size, ladder.ratios[0])
    library = library_of(config, ladder.dataset)
    job = Job("cells", ladder.dataset, TUNED_METHOD, setting, ladder.trial, library)
    return replace(spec(job, config), prior_learning_ratio=None)
