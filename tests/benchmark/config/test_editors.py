"""The schema for editors: fresh, and right about configurations as they are written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from vmm.benchmark.config.__main__ import main

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "config" / "schema.json"
SHIPPED = (
    "config/config.yaml",
    "config/demo.yaml",
    "config/published_code.yaml",
    "tests/workflow/tiny.yaml",
)
WRITTEN = [*(ROOT / name for name in SHIPPED), *sorted(ROOT.glob("docs/evidence/*.yaml"))]


def problems(text: str) -> list[str]:
    # For YAML 1.2, which editors read, 1e-3 is a number; for PyYAML it is a text.
    given = yaml.safe_load(re.sub(r"(?<![.\d])(\d+)e-", r"\1.0e-", text))
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    return [error.message for error in validator.iter_errors(given)]


def test_it_is_fresh(capsys):
    """If not: ``python -m vmm.benchmark.config --schema > config/schema.json``."""
    assert main(["--schema"]) == 0
    assert capsys.readouterr().out == SCHEMA.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_shipped_configurations_name_it_and_are_good(path):
    text = path.read_text()
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named and (path.parent / named[1]).resolve() == SCHEMA
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: a\ndatasets: {cortex: {hidden: [5]}}", "'hidden' was unexpected"),
        ("run: a\ndatasets: {mnist: {n_hidden: 5}}", "'n_hidden' was unexpected"),
        ("run: a\ndatasets: {mine: {path: a, hidden: [5]}}", "'hidden' was unexpected"),
        ("run: a\ndatasets: {mine: {source: mnist, n_hidden: 5}}", "'n_hidden' was unexpected"),
        ("run: a\ndatasets: {mine: {source: mnis}}", "is not one of"),
        ("run: a b\ndatasets: {mnist: }", "does not match"),
        ("run: a\ndatasets: {mnist: }\ntrials: x", "is not of type 'integer'"),
    ],
)
def test_mistakes_are_marked(text, message):
    assert [message in problem for problem in problems(text)] == [True]


@pytest.mark.parametrize(
    "text",
    [
        "run: a\ndatasets: {mine: {path: a.npz, kind: images, hidden: [5]}}",
        "run: a\ndatasets: {mine: {source: mnist, hidden: [5]}}",
        "run: a\ndatasets: {mine: {path: a.h5ad, label_key: b}, mnist: }\nexperiments: {tuning: }",
    ],
)
def test_what_is_good_is_not(text):
    assert problems(text) == []


def test_patterns_are_javascripts():
    patterns = re.findall(r'"pattern": "(.*)"', SCHEMA.read_text())
    assert len(patterns) >= 3
    assert all(pattern.endswith("$") and "\\Z" not in pattern for pattern in patterns)
