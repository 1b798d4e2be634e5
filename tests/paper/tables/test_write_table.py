"""What is written: CSV, tests, HTML and TeX, whatever the names are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from scipy import stats

from vmm.paper.tables import build_table, table_html, write_table
from vmm.paper.tables.build import TIDY_TEST_COLUMNS
from vmm.paper.tables.specs import TABLES
from vmm.paper.tables.tex import escape, number_tex, table_tex

NMI = "NMI (unmerged)"
VALUES = {
    ("pbmc", "gmm", NMI): [0.70, 0.72, 0.69, 0.71],
    ("pbmc", "vmm", NMI): [0.70, 0.73, 0.74, "diverged"],
    ("pbmc", "pca", NMI, "leiden"): [0.6, 0.6, 0.6, 0.6],
}
DESCRIPTION = {"n_cells": 100, "n_batches": 2, "n_types": 9}
HOSTILE = '<b>my_cells & 50% µ"$x^2~#{}[*]\\ 测'


class Checker(HTMLParser):
    """Collects elements; fails where they are not nested properly."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check_html(text: str) -> Checker:
    checker = Checker()
    checker.feed(re.sub(r"<meta\b[^>]*>", "", text))  # the one element without an end
    checker.close()
    assert checker.open == []
    return checker


def check_tex(text: str) -> None:
    """Groups, environments, and the number of cells a line."""
    bare = re.sub(r"\\[\\{}$&%#_]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", text).count("tabular") == text.count(r"\end{tabular}")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}")
    for body in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, flags=re.S):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        cells = [len(re.findall(r"(?<!\\)&", line)) for line in lines if "multicolumn" not in line]
        assert len(set(cells)) == 1, body


@pytest.fixture
def table(case):
    rows, jobs = case(3, VALUES)
    return build_table(3, rows, jobs, {"pbmc": DESCRIPTION})


def test_csv_is_what_is_printed(table, tmp_path):
    paths = write_table(table, tmp_path / "sub" / "table3")
    assert [path.name for path in paths] == [
        "table3.csv",
        "table3_tests.csv",
        "table3.tex",
        "table3.html",
    ]
    frame = pd.read_csv(paths[0], dtype=str)
    assert list(frame.columns) == [
        "dataset",
        "method",
        "Utilized clusters",
        "Accuracy",
        "NMI (merged)",
        NMI,
        *(column.name for column in TABLES[3].columns[4:]),
    ]
    assert frame["method"].tolist() == ["GMM", "VMM", "Leiden on PCA"]
    assert frame[NMI].tolist() == ["0.705 ± 0.01", "0.723 ± 0.02 (n=3)", "0.600 ± 0.00"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(
        path.name for path in paths
    )


def test_number_of_trials_moves_to_the_label_where_all_values_agree(case):
    metrics = [column.name for column in TABLES[3].columns]
    rows, jobs = case(3, {("pbmc", "vmm", m): [0.5, "diverged", 0.7] for m in metrics})
    table = build_table(3, rows, jobs, {})
    (row,) = table.blocks[0].rows
    assert row.printed_label == "VMM (n=2)"
    assert row.label == "VMM"
    assert row.cells[NMI].text == "0.600 ± 0.14"
    assert table.footnotes[row.mark] == "2 of 3 trials have a value: 1 diverged"
    assert r"VMM (n=2)\textsuperscript{a}" in table_tex(table)
    assert "VMM (n=2)<sup>a</sup>" in table_html(table)
    assert table.tests["method"].unique().tolist() == ["VMM"]


def test_tests_csv_has_the_numbers_exactly(table, tmp_path):
    write_table(table, tmp_path / "t")
    tests = pd.read_csv(tmp_path / "t_tests.csv", dtype=str, keep_default_na=False)
    assert list(tests.columns) == TIDY_TEST_COLUMNS
    assert TIDY_TEST_COLUMNS[6:11] == ["n", "mean", "sd", "compared_with", "n_pairs"]
    line = tests[(tests["metric"] == NMI) & (tests["method"] == "GMM")].iloc[0]
    expected = stats.ttest_rel([0.70, 0.72, 0.69], [0.70, 0.73, 0.74])
    assert float(line["p"]) == pytest.approx(expected.pvalue, rel=1e-9)
    assert (line["compared_with"], line["n"], line["n_pairs"]) == ("VMM", "4", "3")
    mean = table.blocks[0].rows[0].cells[NMI].mean
    assert line["mean"] == repr(mean)
    best = tests[(tests["metric"] == NMI) & (tests["method"] == "VMM")].iloc[0]
    assert (best["p"], best["status"], best["bold"]) == ("", "best", "True")


def test_same_rows_same_bytes(table, case, tmp_path):
    rows, jobs = case(3, VALUES)
    again = build_table(3, rows.sample(frac=1, random_state=1), jobs[::-1], {"pbmc": DESCRIPTION})
    for stem, one in (("a", table), ("b", again)):
        write_table(one, tmp_path / stem)
    for suffix in (".csv", "_tests.csv", ".tex", ".html"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_html_is_a_whole_accessible_page(table, tmp_path):
    write_table(table, tmp_path / "t")
    page = (tmp_path / "t.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "http" not in page and "color-scheme: light dark" in page
    checker = check_html(page.removeprefix("<!DOCTYPE html>"))
    names = [tag for tag, _ in checker.tags]
    assert names.count("table") == names.count("caption") == names.count("tfoot") == 1
    scopes = [attributes["scope"] for tag, attributes in checker.tags if tag == "th"]
    assert {"col", "row", "rowgroup"} == set(scopes)
    assert scopes.count("row") == 3
    text = " ".join(checker.text)
    assert "3 of 4 trials have a value: 1 diverged" in text
    assert page.count("<strong>0.723 ± 0.02 (n=3)</strong>") == 1
    assert page.count('<tr class="rule">') == 1


def test_fragment_is_a_table(table):
    assert table_html(table).startswith('<table class="vmm-table">')
    assert table_html(table).rstrip().endswith("</table>")


def test_table_4_has_groups_in_html_and_one_float_a_group_in_tex(case):
    rows, jobs = case(
        4, {("cortex", m, "Total"): ["n/a: single batch"] * 2 for m in ("vmm", "harmony")}
    )
    table = build_table(4, rows, jobs, {})
    checker = check_html(table_html(table))
    spans = [a["colspan"] for tag, a in checker.tags if tag == "th" and a["scope"] == "colgroup"]
    assert spans == ["3", "5", "5"]
    tex = table_tex(table)
    check_tex(tex)
    assert tex.count(r"\begin{table}") == 3
    assert tex.count(r"\addtocounter{table}{-1}") == 2
    assert tex.count(r"\label{tab:vmm-4}") == 1
    assert r"n/a\textsuperscript{a}" in tex
    assert tex.count("single batch") == 1, "the footnote stands where its letter is used"


def test_hostile_names_are_escaped(case, tmp_path):
    rows, jobs = case(3, VALUES)
    rows = rows.replace({"dataset": "pbmc"}, HOSTILE).replace({"model": "PCA"}, "<i>[_&%]")
    for job in jobs:
        job["dataset"] = HOSTILE
        job["model"] = job["model"].replace("PCA", "<i>[_&%]")
    table = build_table(3, rows, jobs, {HOSTILE: {"n_cells": 5, "n_batches": 1, "n_types": 1}})
    html = table_html(table)
    checker = check_html(html)
    assert "<b>" not in html and "<i>" not in html
    assert f"{HOSTILE} (5 cells, 1 batch, 1 cell type)" in "".join(checker.text)
    assert "Leiden on <i>[_&%]" in "".join(checker.text)
    tex = table_tex(table)
    check_tex(tex)
    assert r"$<$b$>$my\_cells \& 50\% µ''\$x\textasciicircum{}2\textasciitilde{}\#\{\}" in tex
    write_table(table, tmp_path / "t")
    assert pd.read_csv(tmp_path / "t.csv")["dataset"].unique().tolist() == [HOSTILE]


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("a\\b", r"a\textbackslash{}b"),
        ("[x]*", r"{[}x]{*}"),
        ("±", r"$\pm$"),
        ("N(0, I)", r"$\mathcal{N}(0, I)$"),
        ("μ", "{[}U+03BC]"),
        ("e\u0301", "é"),
        ("a\nb", "a b"),
    ],
)
def test_escape(text, tex):
    assert escape(text) == tex


@pytest.mark.parametrize(
    ("text", "bold", "tex"),
    [
        ("0.815 ± 0.04", False, r"$0.815{\pm}0.04$"),
        ("0.815 ± 0.04 (n=8)", True, r"$\mathbf{0.815{\pm}0.04}$ (n=8)"),
        ("-73.7", False, "$-73.7$"),
        ("n/a", False, "n/a"),
        ("", False, ""),
    ],
)
def test_numbers_in_tex(text, bold, tex):
    assert number_tex(text, bold) == tex


@pytest.mark.parametrize("number", [1, 2])
def test_tex_of_image_tables(case, number):
    metric = {1: "log p(x)", 2: NMI}[number]
    rows, jobs = case(number, {("mnist", m, metric): [1.0, 2.0, 4.0] for m in ("gmm", "vmm")})
    tex = table_tex(build_table(number, rows, jobs, {}))
    check_tex(tex)
    assert r"\mathbf{2.33{\pm}1.53}" in tex or r"\mathbf{2.333{\pm}1.53}" in tex
