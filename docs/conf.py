"""Sphinx: ``make docs``. The pages need no network to be read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import vmm

Rows = Iterator[tuple[str, ...]]

# For the kernels that execute the tutorial.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["COLUMNS"] = "80"

project = "vmm"
author = "The vmm developers"
copyright = f"2026, {author}"
release = vmm.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "evidence"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Notebooks are executed whenever their page is built; a cell that fails fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
html_title = f"vmm {release}"
html_static_path = ["_static"]
html_css_files = ["vmm.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_persistent": [],  # the search field is in the sidebar
    "use_download_button": False,
    "use_fullscreen_button": False,
}
# Formulae become MathML, which browsers show by themselves; MathJax would come from the network.
html_math_renderer = "mathml"


def inline_math(translator, node) -> None:
    """Write a formula in a line of text."""
    translator.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def block_math(translator, node) -> None:
    """Write a formula that stands alone."""
    formula = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def own_pages(app, docname: str, source: list[str]) -> None:
    """Point links to files of the repository that are pages here to these pages."""
    source[0] = source[0].replace("(../config/README.md)", "(configuration.md)")


def rows_of_priors() -> Rows:
    """Return what a reader wants to know of each prior."""
    from vmm.priors.records import PRIORS

    yield "prior", "label", "data", "clusters", "what it is"
    for p in PRIORS.values():
        clusters = "yes" if p.clusters else "no"
        yield f"``{p.name}``", p.label, ", ".join(p.kinds), clusters, p.about


def rows_of_methods() -> Rows:
    """Return what a reader wants to know of each method."""
    from vmm.benchmark.methods.records import METHODS

    yield "data", "method", "label", "clusters", "needs batches", "what it is"
    for kind, methods in METHODS.items():
        for m in methods.values():
            answers = ("yes" if answer else "no" for answer in (m.clusters, m.needs_batches))
            yield kind, f"``{m.name}``", m.label, *answers, m.about


def rows_of_metrics() -> Rows:
    """Return what a reader wants to know of each metric."""
    from vmm.benchmark.metrics.records import METRICS

    yield "metric", "family", "better", "what it is"
    for m in METRICS:
        yield f"``{m.name}``", m.family, m.better, m.description


def rows_of_sources() -> Rows:
    """Return what a reader wants to know of each built-in data set."""
    from vmm.data.sources.records import SOURCES

    yield "data set", "kind", "what it is", "licence", "citation"
    for s in SOURCES.values():
        yield f"``{s.name}``", s.kind, s.title, s.licence, s.citation


RECORDS = {
    "priors": rows_of_priors,
    "methods": rows_of_methods,
    "metrics": rows_of_metrics,
    "sources": rows_of_sources,
}


def list_records(app, docname: str, source: list[str]) -> None:
    """Put a table of all records where a page says ``.. records:: metrics``."""
    for name in re.findall(r"^\.\. records:: (\w+)$", source[0], re.MULTILINE):
        header, *rows = (", ".join(map(quoted, row)) for row in RECORDS[name]())
        table = [".. csv-table::", f"   :header: {header}", "", *(f"   {row}" for row in rows)]
        source[0] = source[0].replace(f".. records:: {name}", "\n".join(table))


def quoted(cell: str) -> str:
    """Return a cell of a comma-separated table."""
    return '"' + cell.replace('"', '""') + '"'


def without_citations(app, what, name, obj, options, lines: list[str]) -> None:
    """Remove references to scvi-tools' bibliography from the methods that are inherited."""
    lines[:] = [re.sub(r" ?:cite:p:`[^`]*`", "", line) for line in lines]


def setup(app) -> None:
    """Register the renderer of formulae, the links, and the tables of records."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("source-read", own_pages)
    app.connect("source-read", list_records)
    app.connect("autodoc-process-docstring", without_citations)
