"""The page of a run: a pure function of its folder and its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from vmm.benchmark import grid
from vmm.benchmark.methods.records import METHODS, place_of
from vmm.errors import InputError
from vmm.html import embedded, style
from vmm.io import atomic, read_table
from vmm.paper.comparison import (
    ABOVE,
    BELOW,
    COMPARISON_COLUMNS,
    NOT_RUN,
    WITHIN,
    comparison_html,
)
from vmm.paper.controls import outside_sentences
from vmm.paper.labels import dataset_label
from vmm.paper.report import contents, costs, problems, text
from vmm.paper.report.folder import RunFolder
from vmm.paper.report.versions import recorded
from vmm.paper.tables.build import ROW_COLUMNS_OF_TESTS
from vmm.paper.tables.html import TABLE_CSS

HERE = Path(__file__).parent
FILTERS = {
    "whole": text.whole,
    "duration": text.duration,
    "memory": text.memory,
    "decimal": text.decimal,
    "probability": text.probability,
    "citation": text.citation,
    "plural": text.plural,
    "dataset_label": dataset_label,
    "measured": grid.measured,
}
EXPERIMENTS = {
    "batch_size": "the VMM on images at several batch sizes",
    "elbo_surgery": "ELBO surgery on images",
    "image_clustering": "clustering of images",
    "tuning": "tuning of batch size and prior learning ratio",
    "cells": "integration and clustering of cells",
}


NAMES_OF_TESTS = [*ROW_COLUMNS_OF_TESTS, "compared_with", "status"]
NAMES_OF_COMPARISON = [*COMPARISON_COLUMNS[:6], "verdict", "source"]
"""Columns of words in the files that are read back."""


class Shown(NamedTuple):
    """A table or figure on the page.

    Its `content` is HTML or a data URI, None where it is absent; `notes` are sentences below it.
    """

    item: contents.Item
    caption: Markup
    content: str | Markup | None
    files: list[str]
    tests: list[dict[str, Any]]
    notes: list[str]


def build_report(
    run_folder: str | PathLike,
    config: grid.Config,
    environment: Mapping[str, str] | None = None,
    partial: bool = False,
) -> str:
    """Return the page of a run as HTML that needs no other file.

    The same files and configuration give the same bytes.

    Parameters
    ----------
    run_folder : path
        ``results/<run>``.
    config : mapping
        Complete configuration (:func:`vmm.benchmark.config.complete`).
    environment : mapping, optional
        Versions of the packages that the workflow runs with, to be printed beside those that each
        training recorded.
    partial : bool
        Whether files may be missing; the page then names them.

    Raises
    ------
    InputError
        If files are missing and `partial` is false.
    """
    run = RunFolder(Path(run_folder), config)
    missing = [name for name in contents.expected_files(config) if not run.has(name)]
    if missing and not partial:
        first = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise InputError(
            f"{run.path} lacks {len(missing)} of the files of a complete run ({first}); finish the "
            "run, or make the page of what there is with the target 'partial'"
        )
    page = _template().render(
        run=run,
        config=config,
        css=Markup(TABLE_CSS + style()),
        configuration=yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True, width=90),
        missing=missing,
        **_summary(run),
        **_shown(run),
        **_problems(run),
        **_costs(run),
        **_versions(run, environment or {}),
    )
    return re.sub(r"\n\s*\n+", "\n", page)


def write_report(page: str, path: str | PathLike) -> None:
    """Write the page, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.tests["link"] = text.is_link
    return environment.get_template("report.html.jinja")


def _plain(value: Any) -> Any:
    """Return mappings as dicts, for YAML."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


# Sections ------------------------------------------------------------------------------------


def _summary(run: RunFolder) -> dict[str, Any]:
    used = {(job.kind, job.method) for job in run.jobs}
    methods = [
        (kind, method)
        for kind, of in METHODS.items()
        for name, method in of.items()
        if (kind, name) in used
    ]
    experiments = [EXPERIMENTS[name] for name in run.config["experiments"]]
    controls = [(kind, method) for kind, method in methods if method.control]
    methods = [pair for pair in methods if pair not in controls]
    records = sorted(
        {(job.kind, job.record) for job in run.jobs},
        key=lambda pair: (place_of(pair[1].model, pair[1].prior), pair[1].model),
    )
    return {
        "methods": methods,
        "controls": controls,
        "models_and_priors": records,
        "experiments": experiments,
    }


def _shown(run: RunFolder) -> dict[str, Any]:
    config = run.config
    tuned = grid.tuned_datasets(config)
    has_cells = "cells" in config["experiments"]
    cells = config["experiments"]["cells"]["datasets"] if has_cells else tuned
    return {
        "recommendation": run.json("tables/recommendation.json"),
        "has_cells": has_cells,
        "tables": [_table(run, item) for item in contents.tables(config)],
        "figures": [_figure(run, item) for item in contents.figures(config)],
        "comparison": _comparison(run),
        "curves": [_figure(run, item) for item in contents.curves(config)],
        "settings": [
            (name, config["datasets"][name], run.json(f"tuning/{name}.json")) for name in cells
        ],
        "tuned": tuned,
        "tuning": {name: _figure(run, contents.tuning_figure(name)) for name in tuned},
    }


def _table(run: RunFolder, item: contents.Item) -> Shown:
    """Return a table; where it is absent, the one that the target ``partial`` made, if any."""
    stem = item.stem
    if not run.has(f"{stem}.html"):
        stem = stem.replace("tables/", "partial/", 1)
    files = _files(run, stem, ("csv", "tex", "html")) + _files(run, f"{stem}_tests", ("csv",))
    path = run.path / f"{stem}_tests.csv"
    tests = read_table(path, NAMES_OF_TESTS).to_dict("records") if path.is_file() else []
    fragment = _fragment(run, f"{stem}.html")
    return Shown(item, contents.caption(item, run.config), fragment, files, tests, [])


def _figure(run: RunFolder, item: contents.Item) -> Shown:
    path = run.path / f"{item.stem}.png"
    data = embedded(path) if path.is_file() else None
    files = _files(run, item.stem, ("pdf", "svg", "png"))
    notes = []
    table = item.stem.replace("figures/", "tables/", 1) + ".csv"
    if item.caption == "controls" and run.has(table):
        files.append(table)
        notes = outside_sentences(read_table(run.path / table, ["dataset", "method", "outside"]))
    return Shown(item, contents.caption(item, run.config), data, files, [], notes)


def _comparison(run: RunFolder) -> dict[str, Any] | None:
    """Return the published numbers for what this run did, None if there are none."""
    if not run.has("tables/comparison.csv"):
        return None
    frame = read_table(run.path / "tables/comparison.csv", NAMES_OF_COMPARISON)
    frame = frame[frame["verdict"].ne(NOT_RUN)]
    if frame.empty:
        return None
    counts = []
    for (table, dataset), of in frame.groupby(["table", "dataset"], sort=False):
        verdicts = of["verdict"].value_counts()
        known = {"within": WITHIN, "above": ABOVE, "below": BELOW}
        line = {key: int(verdicts.get(verdict, 0)) for key, verdict in known.items()}
        other = len(of) - sum(line.values())
        counts.append(line | {"table": table, "dataset": dataset, "other": other})
    return {
        "count": len(frame),
        "counts": counts,
        "table": Markup(comparison_html(frame)),
        "files": _files(run, "tables/comparison", ("csv", "tex", "html")),
    }


def _files(run: RunFolder, stem: str, suffixes: tuple[str, ...]) -> list[str]:
    return [f"{stem}.{suffix}" for suffix in suffixes if run.has(f"{stem}.{suffix}")]


def _fragment(run: RunFolder, name: str) -> Markup | None:
    """Return what a page of `vmm.paper.tables` has within ``<main>``, None where it is absent."""
    if not run.has(name):
        return None
    page = (run.path / name).read_text()
    found = re.search(r"<main>(.*)</main>", page, re.DOTALL)
    if found is None:
        raise InputError(f"{run.path / name} has no <main>; make it again with vmm.paper.tables")
    return Markup(found[1].strip()) or None


def _problems(run: RunFolder) -> dict[str, Any]:
    gaps = problems.model_gaps(run)
    return {
        "gaps": gaps,
        "absences": problems.absences(run),
        "cut": problems.cut(run),
        "n_models": len(run.jobs),
        "n_there": sum(job.folder in run.runs for job in run.jobs),
        "n_diverged": sum(gap.n for gap in gaps if gap.status in problems.SINGLE),
    }


def _costs(run: RunFolder) -> dict[str, Any]:
    models = costs.models(run)
    return {
        "kinds": costs.kinds(run.benchmarks),
        "all_jobs": costs.total(run.benchmarks),
        "benchmarks": run.benchmarks.to_dict("records"),
        "trainings": costs.trainings(models),
        "models": models.to_dict("records"),
    }


def _versions(run: RunFolder, environment: Mapping[str, str]) -> dict[str, Any]:
    used = recorded(run.runs)
    packages = sorted({*used, *environment}, key=str.lower)
    return {"packages": [(p, environment.get(p, ""), used.get(p, [])) for p in packages]}
