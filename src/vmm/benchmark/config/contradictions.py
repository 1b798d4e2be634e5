"""What a schema cannot say: keys that need or exclude each other, names of nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from vmm.benchmark.config.messages import hint, shown
from vmm.benchmark.grid import EXPERIMENTS, ladders, tuned_datasets, tuned_keys
from vmm.benchmark.methods.records import METHODS
from vmm.data.download import is_url
from vmm.data.source import BESIDE
from vmm.data.sources.records import SOURCES
from vmm.scvi_tools.records import MODELS as LIBRARY
from vmm.scvi_tools.records import ModelRecord

ORIGINS = ("source", "path", "url")
NETWORK_KEYS = ("likelihood", "dispersion", "n_layers", "n_hidden", "n_latent")
"""Keys of a cell set that a model of scvi-tools has its own values for."""
KNOWN_KEYS = (
    *BESIDE,
    "categorical_covariate_keys",
    "continuous_covariate_keys",
    "size_factor_key",
)
"""Keys about what is known of cells beside their counts, which not every model takes."""
OURS_ALONE = {
    "balanced_pseudo_inputs": False,
    "log_counts": True,
    "deeply_inject_covariates": True,
}
"""Switches of ``inference`` for scVI alone, with the value that changes nothing."""


def contradictions(config: dict[str, Any]) -> Iterator[str]:
    """Say what a schema cannot: keys that need or exclude each other, names of nothing."""
    yield from _alike_but_for_case(config["datasets"])
    for name, dataset in config["datasets"].items():
        yield from _dataset_contradictions(name, dataset)
        unlabelled = dataset["kind"] == "cells" and not (dataset["source"] or dataset["label_key"])
        if unlabelled and config["tuning"] == "supervised":
            yield (
                f"datasets.{name} lacks label_key, the column of obs with the cell type; without "
                "one give `tuning: unsupervised`, also where nothing is left to tune"
            )
        if dataset["kind"] == "cells":
            problems = _model_contradictions(dataset, config)
            yield from (f"datasets.{name}.{problem}" for problem in problems)
    for name, experiment in config["experiments"].items():
        if name in EXPERIMENTS:
            yield from _unfit_datasets(config, name, experiment["datasets"])
    yield from _shared_models(config["experiments"])
    if list(config["experiments"]) == ["tuning"] and not tuned_datasets(config):
        yield (
            "experiments.tuning has nothing to do: no cell data set leaves batch_size or "
            "prior_learning_ratio to it; leave one of them out, or add another experiment"
        )
    yield from _unfit_methods(config)
    trials = config["experiments"].get("tuning", {}).get("trials", 0)
    if config["tuning"] == "unsupervised" and tuned_datasets(config) and trials < 2:
        yield (
            f"experiments.tuning.trials is {trials}, but `tuning: unsupervised` compares the "
            "clusters of trials; give at least 2"
        )
    yield from _nothing_to_choose(config)
    cells = config["experiments"].get("cells", {"datasets": []})
    for name in cells["datasets"]:
        dataset = config["datasets"].get(name)
        if dataset is None or dataset["kind"] != "cells" or "tuning" in config["experiments"]:
            continue
        if absent := tuned_keys(dataset):
            yield (
                f"datasets.{name} lacks {' and '.join(absent)}, and experiments has no 'tuning' "
                "to find what fits; give one or the other"
            )


def _alike_but_for_case(names: Iterable[str]) -> Iterator[str]:
    """Say which names are one file name where case does not count, as on macOS."""
    seen: dict[str, str] = {}
    for name in names:
        if (first := seen.setdefault(name.lower(), name)) != name:
            yield (
                f"datasets has {first!r} and {name!r}, whose files some disks take for the same; "
                "give names that differ in more than case"
            )


def _nothing_to_choose(config: dict[str, Any]) -> Iterator[str]:
    """Say for which data sets tuning without labels has one setting only."""
    for name in tuned_datasets(config) if config["tuning"] == "unsupervised" else ():
        settings = {(of.batch_size, ratio) for of in ladders(config, name) for ratio in of.ratios}
        if len(settings) == 1:
            keys = " and ".join(tuned_keys(config["datasets"][name]))
            yield (
                f"experiments.tuning leaves datasets.{name} one setting, so there is nothing to "
                f"choose; give it {keys}, or more values to try"
            )


def without_origin(config: dict[str, Any]) -> Iterator[str]:
    """Say which data sets come from nowhere."""
    datasets = config.get("datasets")
    for name, dataset in datasets.items() if isinstance(datasets, dict) else ():
        if not isinstance(dataset, dict):
            continue
        source = dataset.get("source")
        if isinstance(source, str) and source not in SOURCES:
            advice = hint(source, list(SOURCES), "built in are")
            yield f"datasets.{name}.source is {source!r}, which is not built in; {advice}"
        elif not any(dataset.get(key) for key in ORIGINS):
            yield (
                f"datasets.{name} has neither path nor url, and {name!r} is not built in; "
                + hint(name, list(SOURCES), "built in are")
            )


def _dataset_contradictions(name: str, dataset: dict[str, Any]) -> Iterator[str]:
    source = dataset["source"]
    built_in = SOURCES.get(source)
    origins = [key for key in ORIGINS if dataset[key]]
    if len(origins) > 1 and not (built_in and built_in.user_supplied):
        yield f"datasets.{name} has {' and '.join(origins)}; give only one of them"
        return
    if built_in and dataset["kind"] != built_in.kind:
        yield (
            f"datasets.{name}.kind is {dataset['kind']!r}, but {source} is a set of "
            f"{built_in.kind}; leave the key out"
        )
    if dataset["url"] and not is_url(dataset["url"]):
        yield (
            f"datasets.{name}.url is {shown(dataset['url'])}, but must be an address that starts "
            "with http:// or https://; a file on this machine goes by path"
        )
    if dataset["url"] and not dataset["sha256"]:
        yield f"datasets.{name} has a url but lacks sha256, the checksum of the file"
    keys = [dataset.get(key) for key in ("batch_key", "label_key")]
    if keys[0] is not None and keys[0] == keys[1]:
        yield (
            f"datasets.{name}.batch_key and label_key both name {keys[0]!r}; batches must be "
            "something else than cell types"
        )
    for problem in _columns_twice(dataset):
        yield f"datasets.{name}.{problem}"
    if dataset.get("likelihood") == "poisson" and dataset["dispersion"] not in ("gene", None):
        yield (
            f"datasets.{name}.dispersion is {dataset['dispersion']!r}, but the Poisson "
            "distribution has none; leave it out"
        )
    for key in ("modality", *BESIDE):
        if source and dataset.get(key):
            yield f"datasets.{name}.{key} is for files of your own; {source} is built in"
    for key in ("matrix", "cells"):
        if dataset.get(key) and not (built_in and built_in.user_supplied):
            yield f"datasets.{name}.{key} is for split_seq only; your own data go by path or url"


def _unfit_methods(config: dict[str, Any]) -> Iterator[str]:
    """Say which methods of cells want what is not there."""
    cells = config["experiments"].get("cells", {"methods": [], "datasets": []})
    for name in cells["methods"]:
        record = METHODS["cells"][name]
        where = f"experiments.cells.methods names {name}"
        if record.unmet and not record.environment:
            yield f"{where}, which {record.unmet}"
        for dataset in cells["datasets"] if record.told_labels else ():
            known = config["datasets"].get(dataset, {})
            if known.get("kind") == "cells" and not (known["source"] or known["label_key"]):
                yield f"{where}, which learns from labels, but datasets.{dataset} has no label_key"


def _model_contradictions(dataset: dict[str, Any], config: dict[str, Any]) -> Iterator[str]:
    """Say what does not fit the model of a set of cells, each without the data set's name."""
    model = dataset["model"]
    if model is None:
        for key in BESIDE:
            takes = [name for name, record in LIBRARY.items() if key in record.data]
            if dataset[key]:
                yield (
                    f"{key} is given, but scVI takes none; give `model: {takes[0]}`, or leave it "
                    "out"
                )
        for key in NETWORK_KEYS:
            if dataset[key] is None:
                yield f"{key} is null, which is for another `model`; leave it out, or give a value"
        return
    yield from _unfit_keys(dataset, LIBRARY[model])
    if not dataset["encode_covariates"]:
        yield f"encode_covariates is for scVI alone, and model is {model}; leave it out"
    for key, value in OURS_ALONE.items():
        if config["inference"][key] != value:
            yield f"model is {model}, but inference.{key} is for scVI alone; leave one of them out"
    for method in config["experiments"].get("cells", {}).get("methods", ()):
        if not METHODS["cells"][method].fits_library:
            yield (
                f"model is {model}, which the method {method!r} of experiments.cells.methods is "
                "not made for; leave one of them out"
            )


def _unfit_keys(dataset: dict[str, Any], record: ModelRecord) -> Iterator[str]:
    """Say which keys of a data set its model of scvi-tools lacks or does not take."""
    taken = dict(record.arguments)
    for key in NETWORK_KEYS:
        if dataset[key] is not None and key not in taken:
            yield f"{key} is given, but {record.name} has only {', '.join(taken)}; leave it out"
    for key in KNOWN_KEYS:
        if dataset[key] and key not in record.data:
            yield f"{key} is given, but {record.name} takes none; leave it out"
    for key in BESIDE:
        if key in record.data and not dataset[key]:
            yield (
                f"model is {record.name}, but `{key}` is not given: the key of obsm, or the "
                "modality, with their counts"
            )
    if record.intensities and dataset["source"]:
        yield f"model is {record.name}, which takes no counts, but {dataset['source']} has counts"
    if record.intensities and dataset["n_top_genes"] is not None:
        yield f"n_top_genes ranks genes by their counts, and {record.name} takes none; leave it out"
    for key, value in record.refused:
        if dataset[key] == value:
            yield f"{key} is {value!r}, which {record.name} does not have"


def _columns_twice(dataset: dict[str, Any]) -> Iterator[str]:
    """Say which columns are a covariate and something else."""
    single = [key for key in ("batch_key", "label_key", "size_factor_key") if dataset.get(key)]
    owners = {dataset[key]: key for key in single}
    for key in ("categorical_covariate_keys", "continuous_covariate_keys"):
        for column in dataset.get(key) or ():
            if column in owners:
                yield f"{key} names {column!r}, as {owners[column]} does; a column can be one only"
            owners.setdefault(column, key)


def _unfit_datasets(config: dict[str, Any], experiment: str, names: list[str]) -> Iterator[str]:
    kind, datasets = EXPERIMENTS[experiment], config["datasets"]
    where = f"experiments.{experiment}.datasets"
    if not names:
        yield f"experiments.{experiment} needs {kind}, but datasets has none; leave it out"
    for name in names:
        if name not in datasets:
            advice = hint(name, list(datasets), "datasets has")
            yield f"{where} names {name!r}, which is not under datasets; {advice}"
        elif datasets[name]["kind"] != kind:
            yield f"{where} names {name!r}, a set of {datasets[name]['kind']}; it needs {kind}"


def _shared_models(experiments: dict[str, Any]) -> Iterator[str]:
    if {"batch_size", "image_clustering"} <= experiments.keys():
        for key in ("max_epochs", "patience"):
            one, other = (experiments[name][key] for name in ("batch_size", "image_clustering"))
            if one != other:
                yield (
                    f"experiments.batch_size.{key} is {one}, but image_clustering has {other} and "
                    "shares models with it; give it in image_clustering only"
                )
