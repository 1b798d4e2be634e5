"""The reference of all keys, made from the schema."""

from __future__ import annotations

from typing import Any

from vmm.benchmark.config.messages import shown
from vmm.benchmark.config.schema import places, resolve, schema


def documentation() -> str:
    """Return the reference of all keys in Markdown, made from the schema."""
    top = schema()
    parts = [
        "# Configuration\n",
        "<!-- Made from the schema by `python -m vmm.benchmark.config --docs`; "
        "edit the schema. -->\n",
        f"{_paragraph(top['description'])}\n",
        "`config.yaml` is the paper, `published_code.yaml` the same with every switch of "
        "`inference` as in the code that made its numbers, `demo.yaml` a quarter of an hour of "
        "it on data that need no network. `python -m vmm.benchmark.config FILE` checks a file.\n",
        _section("Top level", top, ""),
    ]
    for place, node in places():
        of = f": {node['title'].lower()}" if "title" in node else ""
        parts.append(_section(f"`{place}`{of}", node, "inference." if place == "inference" else ""))
    return "\n".join(parts)


def _section(title: str, node: dict[str, Any], prefix: str) -> str:
    lines = [f"## {title}\n"]
    if prefix or "title" not in node:
        lines.append(f"{_paragraph(node['description'])}\n")
    lines += ["| key | what | type | default |", "|---|---|---|---|"]
    required = node.get("required", [])
    for key, child in node["properties"].items():
        child = resolve(child)
        default = f"`{shown(child['default'])}`" if "default" in child else ""
        default = "required" if key in required else default
        about = _paragraph(child["description"]).replace("|", "\\|")
        lines.append(f"| `{key}` | {about} | {_type(child)} | {default} |")
    return "\n".join(lines) + "\n"


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return ", ".join("null" if value is None else f"`{value}`" for value in node["enum"])
    types = node["type"] if isinstance(node["type"], list) else [node["type"]]
    text = " or ".join("null" if name == "null" else name for name in types)
    if "array" in types:
        items = node["items"]
        inner = ", ".join(f"`{v}`" for v in items["enum"]) if "enum" in items else items["type"]
        text = text.replace("array", f"list of {inner}")
    return text.replace("object", "mapping")


def _paragraph(text: str) -> str:
    return " ".join(text.split())
