"""Names that others chose: of files, batches, cell types and genes, from the file to the pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from bad_input import cells, job, listing
from metric_names import CLUSTERING_METRICS

from vmm.benchmark import grid
from vmm.benchmark.config import complete
from vmm.benchmark.metrics.rows import concatenate_rows, rows_from_scores
from vmm.data import CellData, load, prepare
from vmm.paper.recommendation import recommend, recommendation_html
from vmm.paper.tables import build_table, write_table
from vmm.plots.composition import composition_figure
from vmm.plots.mde_figure import mde_figure
from vmm.plots.style import save

NAMES = [
    "<script>alert(1)</script>", "a b", "it's", '"quoted"', "../../etc/passwd", "-rf", "--help",
    "T\ncell",
    "tab\there", "{dataset}", "{wildcards.dataset}", "{{ config }}", "{% raw %}", "$HOME", "$(id)",
    "`id`", "a;b|c&d", "$x^2_{\\frac{", "%s %d", "\\n", "γδ T 细胞", "\u202eright to left",
    "a,b\"c", "=1+1",
    "x" * 300, " ", "NULL", "None", "é",
]  # fmt: skip
PATHS = [
    "a b.h5ad", "it's \"my\" file.h5ad", "-o.h5ad", "{dataset}.h5ad", "$(touch sprung).h5ad",
    "`touch sprung`.h5ad", "a;touch sprung.h5ad", "<b>.h5ad", "µ细.h5ad", "a\nb.h5ad", "*.h5ad",
    "..h5ad", "%s.h5ad",
]  # fmt: skip


class Tags(HTMLParser):
    """All tags of a page and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> CellData:
    """Return prepared cells, every batch, cell type, gene and cell of which has a hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    adata = cells(4 * len(NAMES), len(NAMES))
    adata.obs["donor"] = np.array(NAMES * 4, dtype=object)
    adata.obs["cell_type"] = np.repeat(np.array(NAMES, dtype=object), 4)
    adata.obs_names, adata.var_names = [*NAMES, *map(str, range(3 * len(NAMES)))], NAMES
    adata.write_h5ad(folder / "my.h5ad")
    config = {
        "kind": "cells",
        "path": str(folder / "my.h5ad"),
        "batch_key": "donor",
        "label_key": "cell_type",
    }
    prepare("mine", config, None, folder, folder / "out.npz", folder / "out.json")
    sizes = json.loads((folder / "out.json").read_text())
    assert sizes["batches"] == dict.fromkeys(sorted(NAMES), 4) == sizes["cell_types"]
    return load(folder / "out.npz")


def test_names_survive_the_preparation(hostile):
    assert sorted(hostile.batch_names) == sorted(NAMES) == sorted(hostile.label_names)
    assert hostile.genes.tolist() == NAMES and hostile.cells[: len(NAMES)].tolist() == NAMES
    read = [hostile.label_names[code] for code in hostile.labels]
    assert read == np.repeat(NAMES, 4).tolist()


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_only_paths(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells().write_h5ad(path)
    config = {"kind": "cells", "path": path, "batch_key": "donor", "label_key": "cell_type"}
    ended = job(prepare, "mine", config, None, "cache", Path("out/m.npz"), Path("out/m.json"))
    assert ended.status == 0, ended.said
    assert listing(tmp_path).keys() == {path, "out", "out/m.npz", "out/m.json"}
    assert json.loads(Path("out/m.json").read_text())["files"][0]["name"] == path


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
def test_figures_draw_them(hostile, tmp_path):
    """Also where they look like formulae or cannot be drawn in full."""
    rng = np.random.default_rng(0)
    layouts = {row: rng.normal(size=(hostile.n_cells, 2)) for row in ("N(0, I)", "VMM")}
    names = (hostile.batch, hostile.batch_names, hostile.labels, hostile.label_names)
    note = f"No trial of {NAMES[0]} has a value: all diverged."
    figure = mde_figure(layouts, *names, {"VMM": hostile.labels % 5}, note)
    table = pd.crosstab(hostile.labels, hostile.labels % 5)
    table.index, table.columns = NAMES, [f"c {n}" for n in NAMES[:5]]
    for drawn, name in ((figure, "mde"), (composition_figure(table), "composition")):
        save(drawn, tmp_path / name)
        assert matplotlib.image.imread(tmp_path / f"{name}.png").std() > 0.01
        assert "<script" not in (tmp_path / f"{name}.svg").read_text()


def test_tables_and_recommendation_escape_them(tmp_path):
    config = complete(
        {
            "run": "x",
            "trials": 2,
            "datasets": {"mine": {"path": "my.h5ad", "label_key": "t", "batch_size": 8,
                                  "prior_learning_ratio": 1}},
            "experiments": {"cells": {"methods": ["gmm", "vmm"], "baselines": [],
                                      "leiden_resolution": None}},
        }
    )  # fmt: skip
    jobs = [one.row | {"dataset": name} for one in grid.table_jobs(config, 3) for name in NAMES]
    rows = concatenate_rows(
        rows_from_scores(one, {metric: 0.5 + 0.01 * one["trial"] for metric in CLUSTERING_METRICS})
        for one in jobs
    )
    table = build_table(3, rows, jobs, {})
    write_table(table, tmp_path / "table")
    page = Tags((tmp_path / "table.html").read_text())
    assert "script" not in page.tags and all(name in page.text for name in NAMES)
    read = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert set(read["dataset"]) == set(NAMES)
    judged = Tags(recommendation_html(recommend({3: rows}, {3: jobs}, {})))
    assert "script" not in judged.tags and "<script>alert(1)</script>" in judged.text
