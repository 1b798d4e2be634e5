"""The page of ``vmm fit``, opened in Chromium: few batches and types, and very many."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from bad_input import cells
from browser import assert_readable, seen

from vmm.cli import main

SMALL = ["--max-epochs", "3", "--n-components", "20", "--n-hidden", "16", "--n-latent", "4"]
LONG = "naive thymus-derived CD4-positive, alpha-beta, effector memory"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Return the page of a file as most are."""
    folder = tmp_path_factory.mktemp("usual")
    cells(240, 30).write_h5ad(folder / "my.h5ad")
    given = ["fit", str(folder / "my.h5ad"), "--batch-key", "donor", "--label-key", "cell_type"]
    assert main([*given, "-o", str(folder / "out"), *SMALL]) == 0
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> Path:
    """Return the page of 48 types and 60 donors with long names."""
    folder = tmp_path_factory.mktemp("crowded")
    adata = cells(480, 30)
    number = np.arange(480)
    adata.obs["donor"] = [f"Hospital_of_a_long_name_donor_{n % 60:02d}_3prime_v2" for n in number]
    adata.obs["cell_type"] = [f"{LONG} {n % 48}" if n % 5 else np.nan for n in number]
    adata.write_h5ad(folder / "an_atlas_whose_name_is_as_long_as_the_names_in_it.h5ad")
    (path,) = folder.iterdir()
    given = ["fit", str(path), "--batch-key", "donor", "--label-key", "cell_type"]
    assert main([*given, "-o", str(folder / "out"), *SMALL]) == 0
    return folder / "out" / "report.html"


@pytest.mark.parametrize("width", [1300, 1200, 400])
def test_the_page_can_be_read(page, width):
    look = assert_readable(page, width)
    (left, top), (second_left, second_top), *_ = look.images
    beside = abs(top - second_top) < 5 and second_left > left + 300
    assert beside == (width > 1000)


@pytest.mark.parametrize("width", [1300, 400])
def test_a_page_with_48_types_and_60_donors_can_be_read(crowded, width):
    assert_readable(crowded, width)


def test_all_names_are_on_the_page_in_full(crowded):
    text = crowded.read_text()
    rows = re.findall(r'<th scope="row">([^<]*)</th><td class="n">', text)
    assert len(set(rows)) == len(rows) == 48 + 60
    assert "Part of each cluster&#39;s labelled cells (in %)" in text
    assert "384 of 480 cells have one" in text


def test_the_page_says_which_cells_are_counted(page):
    text = " ".join(re.sub(r"<[^>]+>", "", page.read_text()).split())
    (n,) = set(re.findall(r"fall into (\d+) clusters?: all cells are counted", text))
    assert f"all 240 cells are in {n} clusters" in text
    assert "clusters that any of the 24 validation cells is in" in text


def test_parts_of_a_cluster_add_up(crowded):
    """Of its labelled cells to all, or to nothing where none has a label."""
    tables = re.findall(r'<table class="heat".*?</table>', crowded.read_text(), re.DOTALL)
    assert len(tables) == 2
    for table in tables:
        rows = [re.findall(r"--part: ([\d.]+)", row) for row in table.split("<tr>")[2:]]
        totals = np.array(rows, dtype=float).sum(axis=0)
        assert all(total == 0 or abs(total - 1) < 0.3 for total in totals)  # rounded to 1 %


FAULTY = """<!DOCTYPE html><html><body><p>{words}</p><img src="gone.png"><a href="#gone">a</a>
<a href="gone.html">b</a><p id="wide" style="width: 900px">wide</p>
<script>lacking()</script></body></html>"""


def test_what_is_wrong_with_a_page_is_seen(tmp_path):
    (tmp_path / "page.html").write_text(FAULTY.format(words="word " * 200))
    look = seen(tmp_path / "page.html", 400)
    assert look.width > look.room == 400 and 'id="wide"' in look.wide[0]
    assert "gone.png" in look.broken[0] and look.lost == ["gone"]
    assert look.missing == ["/gone.html", "/gone.png"]
    assert any("lacking is not defined" in line for line in look.said)
