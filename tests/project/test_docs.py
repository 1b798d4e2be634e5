"""What README and docs name is there: links, files, targets, options, keys, names of the API.

That the pages build, without a warning and with the tutorial executed, is for ``make docs``.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import inspect
import re
import runpy
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

import vmm
from benchmarks.gpu.__main__ import parser as acceptance_parser
from vmm.benchmark.config import complete, schema
from vmm.cli import parser

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING"))]
PAGES += sorted(DOCS.glob("**/*.md"))
PAGES = [page for page in PAGES if not {"_build", "evidence"} & set(page.parts)]
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text()) if language in languages]


def code(page: Path) -> list[str]:
    """Return all that stands in backticks: lines of blocks, and words in the text."""
    text = page.read_text()
    lines = [line for _, block in FENCE.findall(text) for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def commands(page: Path, program: str) -> list[list[str]]:
    """Return the arguments of all calls of a program."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    inline = [text for text in code(page) if text.startswith(f"{program} ")]
    calls = [shlex.split(line, comments=True) for line in [*lines, *inline]]
    return [words[1:] for words in calls if words and words[0] == program]


def introduced(page: Path) -> dict[str, str]:
    """Return configurations that a page shows: "`config/my.yaml`:" and a block."""
    return dict(
        re.findall(r"`(config/\S+\.yaml)`:\n+```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    )


def new_files(page: Path) -> set[str]:
    """Return the files that a page tells to write: "`my_prior.py`, a new file:"."""
    return set(re.findall(r"`(\S+)`, a new file:", page.read_text()))


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


@each_page
def test_local_links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), target


@each_page
def test_named_files(page):
    """Files of the project; those of users are shown in the text, or are data."""
    shown = introduced(page).keys() | new_files(page)
    named = [re.match(r"[\w./-]+\.(?:py|md|toml|lock|cff|smk|yaml)\b", text) for text in code(page)]
    for name in {match[0] for match in named if match} - shown:
        places = [ROOT / name, ROOT / "src" / name, ROOT / "config" / name, page.parent / name]
        places += [ROOT / "src" / "vmm" / name, DOCS / "evidence" / name]
        assert any(place.is_file() for place in places), name
    for line in code(page):
        for name in re.findall(r"\bconfig/[\w-]+\.yaml", line):
            assert name in shown or (ROOT / name).is_file() or introduced_elsewhere(name), name


def introduced_elsewhere(name: str) -> bool:
    return any(name in introduced(page) for page in PAGES)


@each_page
def test_shown_configurations_are_good(page):
    for name, text in introduced(page).items():
        complete(yaml.safe_load(text), name)


@each_page
def test_keys_of_the_configuration(page):
    for text in code(page):
        for key in re.findall(r"^((?:inference|experiments)(?:\.\w+)+)", text):
            node = schema()
            for part in key.split("."):
                assert part in node["properties"], key
                node = node["properties"][part]


@each_page
def test_make_targets(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for text in code(page):
        for target in re.findall(r"^make ([a-z-]+)", text):
            assert target in targets


@each_page
def test_commands_of_vmm(page):
    for words in commands(page, "vmm"):
        if words == ["fit"]:  # its name in the text
            continue
        try:
            parser().parse_args([word for word in words if word != "--help"])
        except SystemExit:
            pytest.fail(f"vmm {shlex.join(words)}")


@each_page
def test_options_of_snakemake(page):
    from snakemake.cli import get_argument_parser

    known = get_argument_parser()._option_string_actions
    for words in commands(page, "snakemake"):
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in known, shlex.join(words)


def test_options_named_in_the_text():
    """Options in backticks are those of vmm fit, the acceptance run, Snakemake or pip."""
    from snakemake.cli import get_argument_parser

    known = set(get_argument_parser()._option_string_actions)
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            known |= set(action.choices["fit"]._option_string_actions)
    known |= set(acceptance_parser()._option_string_actions)
    known |= {"--index-url", "--no-deps", "--version"}
    for page in PAGES:
        for text in code(page):
            for option in re.findall(r"^--[a-z][a-z-]+", text):
                assert option in known, f"{page.name}: {option}"


@each_page
def test_python_parses(page):
    for block in blocks(page, "python", "{code-cell}"):
        lines = [line for line in block.splitlines() if not re.match(r"[%:]", line)]
        ast.parse("\n".join(lines))


def test_methods_in_examples_exist():
    for page in PAGES:
        for block in blocks(page, "python", "{code-cell}"):
            for name in re.findall(r"\b(?:model|finer|vmm\.SCVI)\.(\w+)\(", block):
                assert callable(getattr(vmm.SCVI, name)), f"{page.name}: {name}"


def test_names_of_the_api_in_the_text():
    page = DOCS / "api.md"
    names = [re.match(r"(\w+)(?:\(.*\))?$", text) for text in code(page)]
    named = {m[1] for m in names if m and re.match(r"get_|plot_|sample_|load_|prepare_", m[1])}
    assert {"get_cluster_summary", "load_query_data", "plot_cells"} <= named
    assert not [name for name in named if not hasattr(vmm.SCVI, name)]


# ------------------------------------------------------------------------- the API reference


def reference() -> dict[str, str]:
    """Return the options of autodoc for each module and class that has a page."""
    pages = (DOCS / "reference").glob("*.rst")
    found = re.compile(r"^\.\. auto(?:module|class):: (\S+)\n((?:   :.*\n)*)", re.MULTILINE)
    return {name: options for page in pages for name, options in found.findall(page.read_text())}


def test_the_reference_has_every_public_name():
    """Autodoc lists what is in __all__, or public, and has a docstring."""
    import vmm.priors
    import vmm.scvi

    assert all(":members:" in options for options in reference().values())
    assert vmm.scvi.__all__ == ["SCVI"] and ":inherited-members:" in reference()["vmm.SCVI"]
    lacks = [n for n, m in inspect.getmembers(vmm.SCVI) if n[0] != "_" and not inspect.getdoc(m)]
    assert not lacks
    own = [n for n, m in vars(vmm.priors).items() if inspect.isroutine(m) or inspect.isclass(m)]
    own = [n for n in own if getattr(vmm.priors, n).__module__ == "vmm.priors" and n[0] != "_"]
    assert "vmm.priors" in reference()
    assert set(own) <= set(vmm.priors.__all__)
    assert all(inspect.getdoc(getattr(vmm.priors, name)) for name in vmm.priors.__all__)


def test_every_page_of_the_reference_is_in_its_table():
    index = (DOCS / "reference" / "index.md").read_text()
    for page in (DOCS / "reference").glob("*.rst"):
        assert f"({page.name})" in index and f"\n{page.stem}\n" in index


def test_the_picture_of_the_floors_is_that_of_the_import_linter():
    """If not: ``python docs/pictures/floors.py``."""
    drawn = runpy.run_path(str(DOCS / "pictures" / "floors.py"))["picture"]()
    assert (DOCS / "pictures" / "floors.svg").read_text() == drawn


def test_fractions_have_braces():
    r"""Docutils reads \frac12 as 12 over whatever follows, without a word."""
    for page in PAGES:
        assert not re.search(r"frac\s*\d", page.read_text()), page.name


# ------------------------------------------------------------------------------- the package


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert vmm.__version__ == project["version"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["license"] == project["license"] == "BSD-3-Clause"
    assert "version" not in citation


def test_files_beside_the_code_are_in_the_wheel():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = tool["package-data"]
    source = ROOT / "src"
    for file in (source / "vmm").rglob("*"):
        if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts:
            folder = file.parent
            while not (folder / "__init__.py").exists():
                folder = folder.parent
            package = ".".join(folder.relative_to(source).parts)
            name = str(file.relative_to(folder))
            assert any(fnmatch.fnmatch(name, p) for p in patterns.get(package, [])), file
