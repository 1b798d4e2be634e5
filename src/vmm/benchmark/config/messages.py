"""What a violation of the schema is called: one sentence that says what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

import yaml
from jsonschema import ValidationError

from vmm.benchmark.config.schema import places, resolve, schema

TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}


def sentences(error: ValidationError) -> Iterator[str]:
    """Say what is wrong, without the file's name."""
    where = dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        for key in error.instance:
            if key not in known:
                inside = f" in {where}" if where else ""
                advice = _elsewhere(key, where) or hint(key, known, "known keys are")
                yield f"unknown key {str(key)!r}{inside}; {advice}"
    elif error.validator == "required":
        inside = f"{where} lacks" if where else "lacks"
        for key in error.validator_value:
            if key not in error.instance:
                about = resolve(error.schema["properties"][key])["description"]
                yield f"{inside} the key {key!r}: {about}"
    elif "propertyNames" in error.absolute_schema_path:
        yield f"{shown(error.instance)} in {where} {_must(error)}"
    else:
        yield f"{where} is {shown(error.instance)}, but {_must(error)}"


def _elsewhere(key: Any, where: str) -> str:
    """Say where else a key would be right, as one that stands a level too high or too deep."""
    found = [place for place, node in places() if key in node["properties"]]
    if any(where.startswith(place.split("<")[0]) for place in found):
        return ""  # a key of data sets of the other kind
    if where and key in schema()["properties"]:
        return "it belongs at the top"
    return f"it belongs in {' or '.join(dict.fromkeys(found))}" if found else ""


def _must(error: ValidationError) -> str:
    """Say what would be right."""
    rule, value = error.validator, error.validator_value
    if rule == "type":
        types = [value] if isinstance(value, str) else value
        number = isinstance(error.instance, (int, float)) and "string" in types
        quoted = " (in quotes, as it is written: 007 is 7 in YAML)" if number else ""
        return "must be " + " or ".join(TYPES[name] for name in types) + quoted
    if rule == "enum":
        meant = error.schema.get("x-meant", {}).get(str(error.instance).lower())
        question = f"; did you mean {meant!r}?" if meant else ""
        known = ", ".join("null" if v is None else str(v) for v in value)
        return f"must be one of {known}{question}"
    sentences = {
        "minimum": f"must be at least {value}",
        "maximum": f"must be at most {value}",
        "exclusiveMinimum": f"must be greater than {value}",
        "exclusiveMaximum": f"must be less than {value}",
        "minLength": "must not be empty",
        "maxLength": f"must have at most {value} characters",
        "minItems": "must not be empty",
        "minProperties": "must not be empty",
        "uniqueItems": "must not name anything twice",
        "pattern": f"must consist of {error.schema.get('x-consists-of')}",
    }
    return sentences[rule]


def shown(value: Any) -> str:
    """Show a value as YAML would, shortened."""
    if isinstance(value, str):
        text = repr(value)
    else:
        text = yaml.safe_dump(value, default_flow_style=True, width=1000)
        text = text.removesuffix("...\n").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."


def hint(key: Any, known: list[str], otherwise: str) -> str:
    """Return 'did you mean …?' or the list of what there is."""
    close = difflib.get_close_matches(str(key), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"{otherwise} {', '.join(known)}"


def dotted(path: Any) -> str:
    """Return a path in the configuration as ``a.b[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
