"""Every published number beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from vmm.benchmark.metrics.records import Metric, metric_named
from vmm.benchmark.setting import LEIDEN
from vmm.paper.labels import dataset_label
from vmm.paper.tables.build import Cell, Jobs, build_table
from vmm.paper.tables.html import page_html, scrollable, template
from vmm.paper.tables.specs import RowKey, row_label
from vmm.paper.tables.tex import escape, float_tex, number_tex, preamble
from vmm.paper.tables.write import write_csv, write_text
from vmm.plots.intervals import interval

PUBLISHED = Path(__file__).with_name("published.csv")
"""Every number of the paper's tables, and those of its text, as printed."""
WITHIN = "within our 95 % CI"
ABOVE = "above our 95 % CI"
BELOW = "below our 95 % CI"
NOT_RUN = "not run"
COMPARISON_COLUMNS = [
    *["table", "dataset", "model", "prior", "method", "metric", "published_mean", "published_sd"],
    *["mean", "sd", "n", "ci_low", "ci_high", "difference", "verdict", "source"],
]
"""Columns of :func:`comparison`; `difference` is ours minus published."""
CAPTION = (
    "The paper's numbers beside ours. The last column says where the published mean lies; it is "
    "within our 95 % confidence interval of the mean over trials (Student's t) if any number that "
    "rounds to it is. Differences are ours minus published."
)
TEXT = "text"
"""Table of the numbers that stand in the paper's text; all are accuracies on MNIST (Table 2)."""

COMPARISON_HTML = """\
<table class="vmm-table">
<caption><strong>Comparison.</strong> {{ caption }} {{ summary }}</caption>
<thead>
<tr>{% for name in header -%}
<th scope="col"{% if name in texts %} class="text"{% endif %}>{{ name }}</th>
{%- endfor %}</tr>
</thead>
{% for heading, lines in blocks %}
<tbody>
<tr><th scope="rowgroup" colspan="{{ header | length }}">{{ heading }}</th></tr>
{% for line in lines %}
<tr><th scope="row">{{ line[0] }}</th><td class="text">{{ line[1] }}</td>
{%- for text in line[2:-1] %}<td>{{ text }}</td>{% endfor -%}
<td class="words">{{ line[-1] }}</td></tr>
{% endfor %}
</tbody>
{% endfor %}
</table>
"""
HEADER = ["Method", "Metric", "Published", "Ours", "n", "Difference", "Published is"]
TEXTS = ["Metric", "Published is"]
"""Columns of `HEADER` that hold words."""


def published() -> pd.DataFrame:
    """Return the paper's numbers, with the columns of :func:`comparison` that tell of them."""
    numbers = pd.read_csv(PUBLISHED, keep_default_na=False)
    numbers = numbers.rename(columns={"mean": "published_mean", "sd": "published_sd"})
    return numbers.assign(published_sd=pd.to_numeric(numbers["published_sd"]))


def comparison(
    rows: Mapping[int, pd.DataFrame], jobs: Mapping[int, Jobs], partial: bool = False
) -> pd.DataFrame:
    """Set every published number beside ours.

    Parameters
    ----------
    rows : mapping
        Number of a table to its tidy rows, as for :func:`vmm.paper.tables.build_table`.
    jobs : mapping
        Number of a table to its grid; a table that the run does not make may be left out.
    partial : bool
        Whether to use what there is where a grid is not complete.

    Returns
    -------
    pandas.DataFrame
        One row a published number, in the order of the paper; :data:`COMPARISON_COLUMNS`. The
        verdict says where the published mean lies: within, above or below our 95 % confidence
        interval; or ``not run``; or ``n/a: <reason>``.

    Raises
    ------
    InputError
        As :func:`vmm.paper.tables.build_table`.
    """
    cells = _our_cells(rows, jobs, partial)
    lines = []
    for number in published().to_dict("records"):
        ours = (_text_line if number["table"] == TEXT else _line)(number, cells)
        lines.append(number | {"method": _method(number)} | ours)
    frame = pd.DataFrame(lines, columns=COMPARISON_COLUMNS)
    return frame.astype({column: float for column in COMPARISON_COLUMNS[6:14] if column != "n"})


def comparison_html(frame: pd.DataFrame) -> str:
    """Return the comparison as a ``<table>`` element."""
    blocks = [
        (_heading(*key), [_printed(row) for row in part.to_dict("records")])
        for key, part in frame.groupby(["table", "dataset"], sort=False)
    ]
    return template(COMPARISON_HTML).render(
        caption=CAPTION, summary=_summary(frame), header=HEADER, texts=TEXTS, blocks=blocks
    )


def write_comparison(frame: pd.DataFrame, stem: str | PathLike) -> list[Path]:
    """Write ``<stem>.csv``, ``<stem>.tex`` and ``<stem>.html``, each whole or not at all."""
    page = page_html("Published numbers and ours", scrollable(comparison_html(frame)))
    return [
        write_csv(frame, stem, ".csv"),
        write_text(_comparison_tex(frame), stem, ".tex"),
        write_text(page, stem, ".html"),
    ]


# Numbers -------------------------------------------------------------------------------------


def _our_cells(
    rows: Mapping[int, pd.DataFrame], jobs: Mapping[int, Jobs], partial: bool
) -> dict[tuple, Cell]:
    """Return our cells by table, data set, model, prior and metric."""
    cells: dict[tuple, Cell] = {}
    for number, grid in jobs.items():
        grid = list(grid)
        if not grid:
            continue
        for block in build_table(number, rows[number], grid, {}, partial).blocks:
            for row in block.rows:
                for metric, cell in row.cells.items():
                    if row.key.setting != str(LEIDEN):
                        key = (f"table{number}", block.dataset, *row.key[:2], metric)
                        cells.setdefault(key, cell)
    return cells


def _line(number: Mapping[str, Any], cells: Mapping[tuple, Cell]) -> dict[str, Any]:
    """Return our side of one published number of a table."""
    key = tuple(number[part] for part in ("table", "dataset", "model", "prior", "metric"))
    cell = cells.get(key)
    if cell is None or cell.text == "":
        return {"n": 0, "verdict": NOT_RUN}
    if cell.n == 0:
        return {"n": 0, "verdict": f"n/a: {cell.reason}"}
    ours, column = interval(cell.values.values()), metric_named(number["metric"])
    return {
        **{"mean": cell.mean, "sd": cell.sd, "n": cell.n, "ci_low": ours.low, "ci_high": ours.high},
        "difference": cell.mean - number["published_mean"],
        "verdict": _verdict(column, number["published_mean"], ours.low, ours.high),
    }


def _verdict(column: Metric, mean: float, low: float, high: float) -> str:
    """Return where a published mean lies, which is known up to rounding."""
    if math.isnan(low):
        return "n/a: one trial, no CI"
    half = 0.5 * 10.0 ** -column.decimals_of(mean)
    if mean + half < low:
        return BELOW
    return ABOVE if mean - half > high else WITHIN


def _text_line(number: Mapping[str, Any], cells: Mapping[tuple, Cell]) -> dict[str, Any]:
    """Return our side of a number in the paper's text: VaDE's best trial, or other authors' work.

    The paper sets its VaDE's best trial beside the value that VaDE's authors report.
    """
    if number["model"] != "VaDE":
        return {"n": 0, "verdict": "n/a: other authors' number"}
    cell = cells.get(("table2", number["dataset"], "VaDE", "GaussianMixture", number["metric"]))
    if cell is None or cell.n == 0:
        return {"n": 0, "verdict": f"n/a: {cell.reason}" if cell and cell.text else NOT_RUN}
    best = max(cell.values.values())
    return {
        **{"mean": best, "n": cell.n, "difference": best - number["published_mean"]},
        "verdict": "n/a: best trial, no CI",
    }


# Print ---------------------------------------------------------------------------------------


def _method(number: Mapping[str, Any]) -> str:
    if number["table"] == TEXT:
        return f"{number['model']}, {number['prior']}"
    return row_label(RowKey(number["model"], number["prior"], ""))


def _heading(table: str, dataset: str) -> str:
    name = "Text of Section 4.3" if table == TEXT else f"Table {table.removeprefix('table')}"
    best = ", ours: the best trial" if table == TEXT else ""
    return f"{name}: {dataset_label(dataset)}{best}"


def _summary(frame: pd.DataFrame) -> str:
    """Return how many published numbers each verdict has."""
    kinds = frame["verdict"].str.replace(r"^n/a: .*", "not comparable", regex=True).value_counts()
    order = [WITHIN, ABOVE, BELOW, NOT_RUN, "not comparable"]
    listed = ", ".join(f"{kinds[kind]} {kind}" for kind in order if kind in kinds)
    return f"Of {len(frame)} numbers: {listed}."


def _printed(row: Mapping[str, Any]) -> list[str]:
    """Return one line as it is printed, in the order of `HEADER`."""
    column = metric_named(row["metric"])

    def text(mean: float, sd: float) -> str:
        if math.isnan(mean):
            return "–"
        return column.mean_text(mean) + ("" if math.isnan(sd) else f" ± {column.sd_text(sd)}")

    difference = row["difference"]
    decimals = column.decimals_of(row["published_mean"])
    return [
        row["method"],
        row["metric"],
        text(row["published_mean"], row["published_sd"]),
        text(row["mean"], row["sd"]),
        str(row["n"]) if row["n"] else "–",
        "–" if math.isnan(difference) else f"{difference:+z.{decimals}f}".replace("-", "−"),
        row["verdict"],
    ]


def _comparison_tex(frame: pd.DataFrame) -> str:
    """Return a float for each data set of each table, so that each fits its page."""
    floats = []
    for place, (key, part) in enumerate(frame.groupby(["table", "dataset"], sort=False)):
        lines = [_line_tex(row) for row in part.to_dict("records")]
        start = f"{CAPTION} {_summary(frame)}" if place == 0 else "(continued)"
        caption = rf"{escape(start)} \emph{{{escape(_heading(*key))}.}}"
        label = "" if place else "tab:vmm-comparison"
        header = [escape(name) for name in HEADER]
        columns = "p{3cm}lrrrrl" if key[0] == TEXT else "llrrrrl"
        floats.append(
            float_tex(caption, label, header, lines, columns=columns, continued=place > 0)
        )
    return preamble() + "\n".join(floats)


def _line_tex(row: Mapping[str, Any]) -> str:
    method, metric, theirs, ours, n, difference, verdict = _printed(row)
    name = (metric_named(metric).tex if row["table"] == "table1" else "") or escape(metric)
    first = (r"\raggedright " if row["table"] == TEXT else "") + escape(method)
    cells = [first, name, number_tex(theirs), number_tex(ours), escape(n)]
    return " & ".join([*cells, escape(difference), escape(verdict)]) + r" \\"
