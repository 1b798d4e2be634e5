"""The schema of the configuration: its keys, their types, defaults and descriptions."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from vmm.benchmark.methods.records import names
from vmm.scvi_tools.records import benchmarked

SCHEMA = Path(__file__).with_name("schema.yaml")


def _is_finite(checker: Any, value: Any) -> bool:
    """Whether a value is a number; infinity and NaN are none."""
    return Draft202012Validator.TYPE_CHECKER.is_type(value, "number") and math.isfinite(value)


CHECKER = Draft202012Validator.TYPE_CHECKER.redefine("number", _is_finite)
Validator = extend(Draft202012Validator, type_checker=CHECKER)


@cache
def schema() -> dict[str, Any]:
    """Return the schema of the configuration, names of methods and models from their records."""
    found = yaml.safe_load(SCHEMA.read_text())
    _name_methods(found)
    return found


def _name_methods(node: Any) -> None:
    """Put names of methods for ``x-methods``, and of scvi-tools' models for ``x-library``."""
    if isinstance(node, list):
        for item in node:
            _name_methods(item)
    elif isinstance(node, dict):
        if "x-methods" in node:
            node["enum"] = names(**node.pop("x-methods"))
        if node.pop("x-library", False):
            node["enum"] = [*benchmarked(), None]
        for item in node.values():
            _name_methods(item)


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Return `node` with its reference, if it has one, merged in."""
    if "$ref" not in node:
        return node
    target: Any = schema()
    for key in node["$ref"].removeprefix("#/").split("/"):
        target = target[key]
    return {**resolve(target), **{k: v for k, v in node.items() if k != "$ref"}}


def branch(node: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return `node`, or the alternative that `value` selects."""
    if "if" not in node:
        return node
    return resolve(node["then" if Validator(node["if"]).is_valid(value) else "else"])
