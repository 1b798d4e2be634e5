"""The recipes of docs/extending.md, read from the page, and what files become by them."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from working_copy import ROOT

PAGE = ROOT / "docs" / "extending.md"
STEP = re.compile(
    r"`(?P<file>[\w./]+)`(?:, (?:a new file|at the end of `(?P<records>\w+)`))?:\n\n"
    r"```\w+\n(?P<text>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


class Step(NamedTuple):
    """A block of the page: a new file, or a record for the end of a tuple."""

    file: str
    text: str
    records: str = ""

    def applied(self, folder: Path) -> str:
        """Return what the file in a copy of the project becomes."""
        path = folder / self.file
        if not self.records:
            assert not path.exists(), f"{self.file} is no new file"
            return self.text
        lines = path.read_text().splitlines(keepends=True)
        last = _last_line(ast.parse("".join(lines)), self.records)
        record = textwrap.indent(self.text.rstrip(), "    ") + ",\n"
        return "".join([*lines[: last - 1], record, *lines[last - 1 :]])


def _last_line(tree: ast.Module, name: str) -> int:
    """Return the line of the bracket that ends the tuple of this name."""
    for node in tree.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(node.value, ast.Tuple)
            return node.value.end_lineno
    raise LookupError(f"there are no records {name}")


def recipes() -> dict[str, list[Step]]:
    """Return the steps below each heading of the page that has any."""
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    found = {
        section.partition("\n")[0]: [
            Step(match["file"], match["text"], match["records"] or "")
            for match in STEP.finditer(section)
        ]
        for section in sections
    }
    return {heading: steps for heading, steps in found.items() if steps}


def commands() -> list[list[str]]:
    """Return the arguments of Python, and the file printed to, of each command of the page."""
    return [
        line.split()[1:] for line in PAGE.read_text().splitlines() if line.startswith("python ")
    ]


def files_of(steps: Iterable[Step], folder: Path) -> dict[str, str]:
    """Return the files that steps touch, by what they become in a copy of the project."""
    return {step.file: step.applied(folder) for step in steps}
