"""Whether records say what is there: told before anything runs, and without importing it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from vmm.benchmark.config.schema import schema
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.metrics.records import METRICS
from vmm.data.sources.records import SOURCES
from vmm.errors import InputError
from vmm.models.records import MODELS
from vmm.priors.records import PRIORS
from vmm.scvi_tools.records import MODELS as LIBRARY

SRC = Path(__file__).resolve().parents[2]


def check_records() -> None:
    """Refuse records that name what is not there, or that cannot be told apart.

    Raises
    ------
    InputError
        With one sentence for each.
    """
    problems = [*_names(), *_options(), *_looks()]
    if problems:
        raise InputError("\n".join(problems))


def _names() -> Iterator[str]:
    """Say which classes and functions are not there."""
    named = [(f"the prior {name!r}", record.cls) for name, record in PRIORS.items()]
    named += [(f"the model of {kind}", record.cls) for kind, record in MODELS.items()]
    for kind, methods in METHODS.items():
        named += [(f"the method {n!r} of {kind}", record.made_by) for n, record in methods.items()]
    named += [(f"the metric {metric.name!r}", metric.function) for metric in METRICS]
    for name, source in SOURCES.items():
        named += [(f"the data set {name!r}", step) for step in source.steps]
    for name, model in LIBRARY.items():
        named += [(f"{name} of scvi-tools", text) for text in (model.others, model.draw)]
    for what, text in named:
        module, _, name = text.partition(":")
        defined = _defined(module)
        if defined is None:
            yield f"the record of {what} names {text!r}, but there is no module {module}"
        elif name not in defined:
            yield f"the record of {what} names {text!r}, but {module} defines no {name}"


def _options() -> Iterator[str]:
    """Say which keys of the configuration records name that there are not."""
    top = schema()
    inference = top["properties"]["inference"]["properties"]
    taken = [(f"the prior {n!r}", record.options_for("cells")) for n, record in PRIORS.items()]
    for kind, methods in METHODS.items():
        taken += [(f"the method {n!r} of {kind}", record.options) for n, record in methods.items()]
    for what, options in taken:
        for option in options:
            if option not in inference:
                yield (
                    f"the record of {what} has the option {option!r}, which is no key of "
                    f"`inference` in the schema; there are {', '.join(inference)}"
                )
    for kind, methods in METHODS.items():
        for name, method in methods.items():
            if (key := method.n_clusters_key) and key not in top["$defs"][kind]["properties"]:
                yield f"the method {name!r} has {key!r}, which is no key of a set of {kind}"
    cells = top["$defs"]["cells"]["properties"]
    for name, model in LIBRARY.items():
        for key in (*dict(model.arguments), *model.data):
            if key not in cells:
                yield f"the record of {name} has {key!r}, which is no key of a set of cells"
    for name, record in PRIORS.items():
        of_kinds = [top["$defs"][kind]["properties"] for kind in record.kinds if kind in MODELS]
        if unknown := set(record.kinds) - set(MODELS):
            yield (
                f"the record of the prior {name!r} is for {', '.join(sorted(unknown))}; kinds are "
                f"{', '.join(MODELS)}"
            )
        key = record.n_components_key
        if key not in top["properties"] and not all(key in keys for keys in of_kinds):
            yield (
                f"the record of the prior {name!r} has the n_components_key {key!r}, which is no "
                "key of the configuration"
            )


def _looks() -> Iterator[str]:
    """Say which methods people could not tell apart."""
    for kind, methods in METHODS.items():
        for what in ("label", "colour"):
            counts = Counter(getattr(record, what) for record in methods.values())
            for value, n in counts.items():
                if n > 1:
                    same = [name for name, m in methods.items() if getattr(m, what) == value]
                    yield f"the methods {', '.join(same)} of {kind} have the same {what} {value!r}"


@cache
def _defined(module: str) -> frozenset[str] | None:
    """Return what a module of the package defines at its top level, None if there is no module."""
    stem = SRC.joinpath(*module.split("."))
    path = next((p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()), None)
    if path is None:
        return None
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return frozenset(found)
