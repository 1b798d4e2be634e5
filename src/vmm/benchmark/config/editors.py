"""The schema of the configuration in the form that editors read.

They see the file as it was written, before defaults are filled in and before built-in data sets
are told their kind, and their patterns are JavaScript's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def editor_schema(schema: Mapping[str, Any], kinds: Mapping[str, str]) -> str:
    """Return the JSON that ``config/schema.json`` holds.

    `schema` is that of complete configurations; `kinds` says of built-in data sets whether each has
    "cells" or "images".
    """
    adapted = _adapted(schema)
    adapted["type"] = "object"
    definitions = adapted["$defs"]
    # Only its property `kind` is referred to from here on.
    definitions["dataset"] = {"properties": definitions["dataset"]["properties"]}
    source = definitions["images"]["properties"]["source"]
    source["enum"] = [*kinds, None]
    of_kind = {kind: {"$ref": f"#/$defs/{kind}"} for kind in ("images", "cells")}
    images = [name for name, kind in kinds.items() if kind == "images"]
    adapted["properties"]["datasets"] |= {
        "properties": {name: of_kind[kind] for name, kind in kinds.items()},
        "additionalProperties": {
            "if": {
                "anyOf": [
                    {"required": ["kind"], "properties": {"kind": {"const": "images"}}},
                    {"required": ["source"], "properties": {"source": {"enum": images}}},
                ]
            },
            "then": of_kind["images"],
            "else": of_kind["cells"],
        },
    }
    return json.dumps(adapted, indent=1, ensure_ascii=False) + "\n"


def _adapted(node: Any) -> Any:
    """Return a part of the schema with JavaScript's patterns and mappings that may be empty."""
    if isinstance(node, list):
        return [_adapted(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: _adapted(value) for key, value in node.items() if not key.startswith("x-")}
    if found.get("type") == "object":
        found["type"] = ["object", "null"]
    if isinstance(found.get("pattern"), str):
        found["pattern"] = found["pattern"].replace(r"\Z", "$")
    return found
