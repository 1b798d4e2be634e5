"""The configuration: read, checked against its schema, completed with defaults, documented.

Every violation becomes one sentence that names the file, the key, the value, what is wrong and what
would be right. ``python -m vmm.config --docs`` prints the reference (``config/README.md``) and
``python -m vmm.config FILE`` checks a file.
"""

from __future__ import annotations

import argparse
import copy
import difflib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from vmm.data.download import is_url
from vmm.data.registry import SOURCES
from vmm.data.supplied import lack
from vmm.editors import editor_schema
from vmm.errors import InputError
from vmm.grid import tuned_datasets, tuned_keys

SCHEMA = Path(__file__).with_name("config.schema.yaml")
KIND_OF_EXPERIMENT = {
    "batch_size": "images",
    "elbo_surgery": "images",
    "image_clustering": "images",
    "cells": "cells",
}
ORIGINS = ("source", "path", "url")
FLOAT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}


def _is_finite(checker: Any, value: Any) -> bool:
    """Whether a value is a number; infinity and NaN are none."""
    return Draft202012Validator.TYPE_CHECKER.is_type(value, "number") and math.isfinite(value)


CHECKER = Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite)
Validator = extend(Draft202012Validator, type_checker=CHECKER)


class Loader(yaml.SafeLoader):
    """Safe YAML, in which no key may stand twice: the last would win, unsaid."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, or say which key stands twice and where."""
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise InputError(
                    f"the key {key.value!r} stands twice in the same place (lines "
                    f"{lines[key.value]} and {line}); remove one"
                )
            lines[key.value] = line
        return super().construct_mapping(node, deep)


@cache
def schema() -> dict[str, Any]:
    """Return the schema of the configuration."""
    return yaml.safe_load(SCHEMA.read_text())


def load(path: str | Path) -> dict[str, Any]:
    """Read a configuration file, and return it checked and complete.

    Raises
    ------
    InputError
        If the file is absent, is not YAML or violates the schema.
    """
    return complete(read(path), str(path))


def read(path: str | Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    InputError
        If the file is absent, is not YAML, or has a key twice.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is not UTF-8"
        raise InputError(f"{path}: is not YAML: {where}; save it as text in UTF-8") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


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
    try:
        filled = _fill(filled, schema())
    except RecursionError:
        raise InputError(f"{source}: a value contains itself by an alias (*name)") from None
    problems = list(_without_origin(filled))
    # The keys of a data set depend on its kind, which depends on its origin.
    errors = [] if problems else Validator(schema()).iter_errors(filled)
    for error in sorted(errors, key=lambda error: str(error.path)):
        problems += [s for s in _sentences(error) if s not in problems]
    if not problems:
        _set_experiments(filled)
        problems = list(_contradictions(filled))
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


def _fill(value: Any, node: dict[str, Any]) -> Any:
    """Return `value` with the defaults of the schema `node`, and 1e-4 read as a number."""
    node = _resolve(node)
    if node.get("type") == "object" and value is None:
        value = {}
    if isinstance(value, dict):
        node = _branch(node, value)
        known = node.get("properties", {})
        for key, child in known.items():
            if key not in value and "default" in _resolve(child):
                value[key] = copy.deepcopy(_resolve(child)["default"])
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


def _resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Return `node` with its reference, if it has one, merged in."""
    if "$ref" not in node:
        return node
    target: Any = schema()
    for key in node["$ref"].removeprefix("#/").split("/"):
        target = target[key]
    return {**_resolve(target), **{k: v for k, v in node.items() if k != "$ref"}}


def _branch(node: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return `node`, or the alternative that `value` selects."""
    if "if" not in node:
        return node
    return _resolve(node["then" if Validator(node["if"]).is_valid(value) else "else"])


def _default(*keys: str) -> Any:
    """Return the default of a key of an experiment."""
    node = schema()["properties"]["experiments"]
    for key in keys:
        node = node["properties"][key]
    return node["default"]


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
    for name, kind in KIND_OF_EXPERIMENT.items():
        if name in experiments and experiments[name]["datasets"] is None:
            experiments[name]["datasets"] = of_kind[kind]
    for name, other in (("batch_size", "image_clustering"), ("tuning", "cells")):
        for key in ("max_epochs", "patience") if name in experiments else ():
            if experiments[name][key] is None:
                shared = experiments.get(other, {})
                experiments[name][key] = shared.get(key, _default(other, key))


# Messages ------------------------------------------------------------------------------------


def _sentences(error: ValidationError) -> Iterator[str]:
    """Say what is wrong, without the file's name."""
    where = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for key in error.instance:
            if key not in known:
                inside = f" in {where}" if where else ""
                yield f"unknown key {str(key)!r}{inside}; {_hint(key, known, 'known keys are')}"
    elif error.validator == "required":
        inside = f"{where} lacks" if where else "lacks"
        for key in error.validator_value:
            if key not in error.instance:
                about = _resolve(error.schema["properties"][key])["description"]
                yield f"{inside} the key {key!r}: {about}"
    elif "propertyNames" in error.absolute_schema_path:
        yield f"{_shown(error.instance)} in {where} {_must(error)}"
    else:
        yield f"{where} is {_shown(error.instance)}, but {_must(error)}"


def _must(error: ValidationError) -> str:
    """Say what would be right."""
    rule, value = error.validator, error.validator_value
    if rule == "type":
        types = [value] if isinstance(value, str) else value
        return "must be " + " or ".join(TYPES[name] for name in types)
    if rule == "enum":
        return f"must be one of {', '.join(map(str, value))}"
    sentences = {
        "minimum": f"must be at least {value}",
        "maximum": f"must be at most {value}",
        "exclusiveMinimum": f"must be greater than {value}",
        "minLength": "must not be empty",
        "maxLength": f"must have at most {value} characters",
        "minItems": "must not be empty",
        "minProperties": "must not be empty",
        "uniqueItems": "must not name anything twice",
        "pattern": f"must consist of {error.schema.get('x-consists-of')}",
    }
    return sentences[rule]


def _shown(value: Any) -> str:
    """Show a value as YAML would, shortened."""
    if isinstance(value, str):
        text = repr(value)
    else:
        text = yaml.safe_dump(value, default_flow_style=True, width=1000)
        text = text.removesuffix("...\n").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint(key: Any, known: list[str], otherwise: str) -> str:
    """Return 'did you mean …?' or the list of what there is."""
    close = difflib.get_close_matches(str(key), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"{otherwise} {', '.join(known)}"


def _dotted(path: Any) -> str:
    """Return a path in the configuration as ``a.b[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


# Beyond the schema ---------------------------------------------------------------------------


def _contradictions(config: dict[str, Any]) -> Iterator[str]:
    """Say what a schema cannot: keys that need or exclude each other, names of nothing."""
    for name, dataset in config["datasets"].items():
        yield from _dataset_contradictions(name, dataset)
    for name, experiment in config["experiments"].items():
        if name in KIND_OF_EXPERIMENT:
            yield from _unfit_datasets(config, name, experiment["datasets"])
    yield from _shared_models(config["experiments"])
    if list(config["experiments"]) == ["tuning"] and not tuned_datasets(config):
        yield (
            "experiments.tuning has nothing to do: no cell data set leaves batch_size or "
            "prior_learning_ratio to it; leave one of them out, or add another experiment"
        )
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


def _without_origin(config: dict[str, Any]) -> Iterator[str]:
    """Say which data sets come from nowhere."""
    datasets = config.get("datasets")
    for name, dataset in datasets.items() if isinstance(datasets, dict) else ():
        if not isinstance(dataset, dict):
            continue
        source = dataset.get("source")
        if isinstance(source, str) and source not in SOURCES:
            hint = _hint(source, list(SOURCES), "built in are")
            yield f"datasets.{name}.source is {source!r}, which is not built in; {hint}"
        elif not any(dataset.get(key) for key in ORIGINS):
            yield (
                f"datasets.{name} has neither path nor url, and {name!r} is not built in; "
                + _hint(name, list(SOURCES), "built in are")
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
            f"datasets.{name}.url is {_shown(dataset['url'])}, but must be an address that starts "
            "with http:// or https://; a file on this machine goes by path"
        )
    if dataset["url"] and not dataset["sha256"]:
        yield f"datasets.{name} has a url but lacks sha256, the checksum of the file"
    if dataset["kind"] == "cells" and not source and not dataset["label_key"]:
        yield f"datasets.{name} lacks label_key, the column of obs with the cell type"
    keys = [dataset.get(key) for key in ("batch_key", "label_key")]
    if keys[0] is not None and keys[0] == keys[1]:
        yield (
            f"datasets.{name}.batch_key and label_key both name {keys[0]!r}; batches must be "
            "something else than cell types"
        )
    for key in ("matrix", "cells"):
        if dataset.get(key) and not (built_in and built_in.user_supplied):
            yield f"datasets.{name}.{key} is for split_seq only; your own data go by path or url"


def _unfit_datasets(config: dict[str, Any], experiment: str, names: list[str]) -> Iterator[str]:
    kind, datasets = KIND_OF_EXPERIMENT[experiment], config["datasets"]
    where = f"experiments.{experiment}.datasets"
    if not names:
        yield f"experiments.{experiment} needs {kind}, but datasets has none; leave it out"
    for name in names:
        if name not in datasets:
            hint = _hint(name, list(datasets), "datasets has")
            yield f"{where} names {name!r}, which is not under datasets; {hint}"
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


# Documentation -------------------------------------------------------------------------------


def documentation() -> str:
    """Return the reference of all keys in Markdown, made from the schema."""
    top = schema()
    parts = [
        "# Configuration\n",
        "<!-- Made from the schema by `python -m vmm.config --docs`; edit the schema. -->\n",
        f"{_paragraph(top['description'])}\n",
        "`config.yaml` is the paper, `demo.yaml` a quarter of an hour of it on data that need no "
        "network. `python -m vmm.config FILE` checks a file.\n",
        _section("Top level", top, ""),
    ]
    inference = top["properties"]["inference"]
    parts.append(_section("`inference`", inference, "inference."))
    for kind in ("cells", "images"):
        node = top["$defs"][kind]
        parts.append(_section(f"`datasets.<name>`: {node['title'].lower()}", node, ""))
    for name, node in top["properties"]["experiments"]["properties"].items():
        parts.append(_section(f"`experiments.{name}`", node, ""))
    return "\n".join(parts)


def _section(title: str, node: dict[str, Any], prefix: str) -> str:
    lines = [f"## {title}\n"]
    if prefix or "title" not in node:
        lines.append(f"{_paragraph(node['description'])}\n")
    lines += ["| key | what | type | default |", "|---|---|---|---|"]
    required = node.get("required", [])
    for key, child in node["properties"].items():
        child = _resolve(child)
        default = f"`{_shown(child['default'])}`" if "default" in child else ""
        default = "required" if key in required else default
        about = _paragraph(child["description"]).replace("|", "\\|")
        lines.append(f"| `{key}` | {about} | {_type(child)} | {default} |")
    return "\n".join(lines) + "\n"


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    types = node["type"] if isinstance(node["type"], list) else [node["type"]]
    text = " or ".join("null" if name == "null" else name for name in types)
    if "array" in types:
        items = node["items"]
        inner = ", ".join(f"`{v}`" for v in items["enum"]) if "enum" in items else items["type"]
        text = text.replace("array", f"list of {inner}")
    return text.replace("object", "mapping")


def _paragraph(text: str) -> str:
    return " ".join(text.split())


def main(arguments: list[str] | None = None) -> int:
    """Check a configuration file, or print the reference or the schema for editors."""
    parser = argparse.ArgumentParser(prog="python -m vmm.config", description=main.__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--docs", action="store_true", help="print the reference of all keys")
    group.add_argument("--schema", action="store_true", help="print config/schema.json")
    group.add_argument("file", nargs="?", help="configuration file to check")
    options = parser.parse_args(arguments)
    if options.docs:
        print(documentation(), end="")
        return 0
    if options.schema:
        print(editor_schema(schema(), {n: source.kind for n, source in SOURCES.items()}), end="")
        return 0
    try:
        check_files(load(options.file), options.file)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.file}: good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
