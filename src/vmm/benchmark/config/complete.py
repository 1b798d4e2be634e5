"""Configurations checked and completed with defaults."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmm.benchmark.config.contradictions import NETWORK_KEYS, contradictions, without_origin
from vmm.benchmark.config.messages import sentences
from vmm.benchmark.config.read import read
from vmm.benchmark.config.schema import Validator, branch, resolve, schema
from vmm.benchmark.grid import EXPERIMENTS, starts
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.resources import cells_in
from vmm.data.download import is_url
from vmm.data.messages import number_of
from vmm.data.sources.records import SOURCES
from vmm.data.splits import VALID_FRACTION, check_starts, n_validated
from vmm.data.supplied import lack
from vmm.errors import InputError
from vmm.scvi_tools.records import MODELS as LIBRARY

FLOAT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


def load(path: str | Path) -> dict[str, Any]:
    """Read a configuration file, and return it checked and complete.

    Raises
    ------
    InputError
        If the file is absent, is not YAML or violates the schema.
    """
    return complete(read(path), str(path))


def complete(config: Any, source: str = "configuration") -> dict[str, Any]:
    """Check a configuration and return a copy with every default filled in.

    Data sets know their ``kind`` and ``source`` in the copy, and experiments their ``datasets``.

    Parameters
    ----------
    config : mapping
        As written by the user.
    source : str
        Name of the file, for messages.

    Raises
    ------
    InputError
        With one sentence (one line) for each violation.
    """
    if not isinstance(config, Mapping):
        raise InputError(f"{source}: must be a mapping of keys to values, such as 'run: demo'")
    filled = copy.deepcopy(dict(config))
    _set_kinds(filled)
    _set_models(filled)
    try:
        filled = _fill(filled, schema())
    except RecursionError:
        raise InputError(f"{source}: a value contains itself by an alias (*name)") from None
    problems = list(without_origin(filled))
    # The keys of a data set depend on its kind, which depends on its origin.
    errors = [] if problems else Validator(schema()).iter_errors(filled)
    for error in sorted(errors, key=lambda error: str(error.path)):
        problems += [s for s in sentences(error) if s not in problems]
    if not problems:
        _set_experiments(filled)
        problems = list(contradictions(filled))
    if problems:
        raise InputError("\n".join(f"{source}: {problem}" for problem in problems))
    return filled


def check_files(config: Mapping[str, Any], source: str = "configuration") -> None:
    """Check that the local files and folders that a complete configuration names are there.

    The files of built-in data sets that the user supplies are left to their preparation, so that
    they stop only what depends on them.

    Raises
    ------
    InputError
        With one sentence for each that is not.
    """
    here = f"(relative paths start at {Path.cwd()})"
    problems = [
        f"datasets.{name}.path is {dataset['path']!r}, which {problem} {here}"
        for name, dataset in config["datasets"].items()
        if dataset["path"] and not dataset["source"]
        if (problem := lack(dataset["path"]))
    ]
    mirror = config["mirror"]
    if mirror is not None and not is_url(mirror) and not _is_folder(mirror):
        problems.append(f"mirror is {mirror!r}, which is no folder {here}")
    if problems:
        raise InputError("\n".join(f"{source}: {problem}" for problem in problems))


def check_sizes(config: Mapping[str, Any], source: str = "configuration") -> None:
    """Check that files of cells have enough of them for what the models start from.

    Only the number of cells is read; those that preparation leaves out are not known here, and are
    told with the split.

    Raises
    ------
    InputError
        With one sentence for each data set that has too few.
    """
    problems = []
    for name, dataset in config["datasets"].items():
        n = None if dataset["source"] else cells_in(dataset)
        if n is None:
            continue
        n_train = n - n_validated(n, VALID_FRACTION["cells"])
        for key, number in starts(config, name).items():
            try:
                told = f"{name} ({dataset['path']}, {number_of(n, 'cell')})"
                check_starts(told, n_train, key, number)
            except InputError as error:
                problems.append(f"{source}: {error}")
    if problems:
        raise InputError("\n".join(problems))


def check_installed(config: Mapping[str, Any], source: str = "configuration") -> None:
    """Check that what the lock lacks is installed for the methods that need it.

    Raises
    ------
    InputError
        With one sentence for the methods of an experiment that lack the same.
    """
    lacking: dict[tuple[str, str], list[str]] = {}
    for name, experiment in config["experiments"].items():
        for method in experiment.get("methods", ()):
            record = METHODS[EXPERIMENTS[name]][method]
            if record.environment and record.unmet:
                lacking.setdefault((name, record.unmet), []).append(method)
    if lacking:
        raise InputError(
            "\n".join(
                f"{source}: experiments.{name}.methods names {', '.join(methods)}, "
                f"{'each of ' if methods[1:] else ''}which {what}"
                for (name, what), methods in lacking.items()
            )
        )


def _is_folder(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # too long a name, the home of nobody
        return False


# Filling in ----------------------------------------------------------------------------------


def _set_kinds(config: dict[str, Any]) -> None:
    """Give each data set its source, if it is built in, and its kind."""
    if not isinstance(config.get("datasets"), dict):
        return
    config["datasets"] = {str(name): given for name, given in config["datasets"].items()}
    for name, given in config["datasets"].items():
        dataset = config["datasets"][name] = {} if given is None else given
        if not isinstance(dataset, dict):
            continue
        own = dataset.get("path") or dataset.get("url")
        if name in SOURCES and (not own or SOURCES[name].user_supplied):
            dataset.setdefault("source", name)
        source = SOURCES.get(str(dataset.get("source")))
        dataset.setdefault("kind", source.kind if source else "cells")


def _set_models(config: dict[str, Any]) -> None:
    """Leave what a data set does not say of its networks to its model of scvi-tools, if any."""
    datasets = config.get("datasets")
    for dataset in datasets.values() if isinstance(datasets, dict) else ():
        record = LIBRARY.get(str(dataset.get("model"))) if isinstance(dataset, dict) else None
        if record is not None:
            dataset.setdefault("learning_rate", record.learning_rate)
            for key in NETWORK_KEYS:
                dataset.setdefault(key, None)


def _fill(value: Any, node: dict[str, Any]) -> Any:
    """Return `value` with the defaults of the schema `node`, and 1e-4 read as a number."""
    node = resolve(node)
    if node.get("type") == "object" and value is None:
        value = {}
    if isinstance(value, dict):
        node = branch(node, value)
        known = node.get("properties", {})
        for key, child in known.items():
            if key not in value and "default" in resolve(child):
                value[key] = copy.deepcopy(resolve(child)["default"])
        other = node.get("additionalProperties")
        for key in value:
            child = known.get(key, other if isinstance(other, dict) else {})
            value[key] = _fill(value[key], child)
        return value
    if isinstance(value, list):
        return [_fill(item, node.get("items", {})) for item in value]
    types = node.get("type", [])
    if types == "boolean" and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"  # Snakemake's --config gives text within a mapping
    if "number" in types and isinstance(value, str) and FLOAT.fullmatch(value):
        return float(value)
    if "integer" in types and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _default(experiment: str, key: str) -> Any:
    """Return the default of a key of an experiment."""
    experiments = schema()["properties"]["experiments"]["properties"]
    return experiments[experiment]["properties"][key]["default"]


def _set_experiments(config: dict[str, Any]) -> None:
    """Choose experiments if none is given, and name their data sets."""
    datasets = config["datasets"]
    of_kind = {
        kind: [name for name, dataset in datasets.items() if dataset["kind"] == kind]
        for kind in ("cells", "images")
    }
    if "experiments" not in config:
        config["experiments"] = {}
        if of_kind["cells"]:
            config["experiments"] |= {"tuning": {}, "cells": {}}
        if of_kind["images"]:
            config["experiments"]["image_clustering"] = {}
        _fill(config["experiments"], schema()["properties"]["experiments"])
    experiments = config["experiments"]
    for name, kind in EXPERIMENTS.items():
        if name in experiments and experiments[name]["datasets"] is None:
            experiments[name]["datasets"] = of_kind[kind]
    for name, other in (("batch_size", "image_clustering"), ("tuning", "cells")):
        for key in ("max_epochs", "patience") if name in experiments else ():
            if experiments[name][key] is None:
                shared = experiments.get(other, {})
                experiments[name][key] = shared.get(key, _default(other, key))
