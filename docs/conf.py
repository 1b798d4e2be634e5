"""Sphinx: ``make docs``. The pages need no network to be read."""

from __future__ import annotations

import os
import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import vmm

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


def list_metrics(app, docname: str, source: list[str]) -> None:
    """Put a table of all metrics where their page says ``.. metrics::``."""
    if docname == "reference/metrics":
        from vmm.benchmark.metrics.records import METRICS

        lines = [f'   "``{m.name}``", "{m.family}", "{m.description}"' for m in METRICS]
        table = [".. csv-table::", "   :header: metric, family, what it is", "", *lines]
        source[0] = source[0].replace(".. metrics::", "\n".join(table))


def without_citations(app, what, name, obj, options, lines: list[str]) -> None:
    """Remove references to scvi-tools' bibliography from the methods that are inherited."""
    lines[:] = [re.sub(r" ?:cite:p:`[^`]*`", "", line) for line in lines]


def setup(app) -> None:
    """Register the renderer of formulae, the links, and the table of metrics."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("source-read", own_pages)
    app.connect("source-read", list_metrics)
    app.connect("autodoc-process-docstring", without_citations)
