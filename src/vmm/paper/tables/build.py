"""A table from tidy rows: cells, paired tests, what is bold, footnotes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd

from vmm.benchmark.metrics.records import Metric
from vmm.benchmark.metrics.rows import JOB_COLUMNS, validate_rows
from vmm.benchmark.metrics.scoring import NO_LABELS
from vmm.benchmark.metrics.significance import TEST_COLUMNS, THRESHOLD, paired_tests
from vmm.errors import InputError
from vmm.paper.labels import dataset_label, method_label, told_labels
from vmm.paper.tables.specs import RowKey, TableSpec, is_baseline, row_label, row_order, table_spec
from vmm.scvi_tools.records import benchmarked

Jobs = Iterable[Mapping[str, Any]]
ABSENT = "absent"
"""Status of a trial of the grid without a row; only in partial tables."""
ROW_COLUMNS_OF_TESTS = ["dataset", "model", "prior", "setting", "method", "metric"]
TIDY_TEST_COLUMNS = [
    *ROW_COLUMNS_OF_TESTS,
    *["n", "mean", "sd"],
    *["n_pairs" if column == "n" else column for column in TEST_COLUMNS],
]
"""Columns of ``Table.tests``: `n` counts a method's own trials, `n_pairs` those of the test."""
TOLD = "not compared: told the labels"
"""Status of a method that was trained with what it is scored against."""
NAMED_MISSING = 3
ISOLATED = "Isolated labels"


@dataclass(frozen=True)
class Cell:
    """One method's values of one metric.

    Attributes
    ----------
    values : dict
        Trial to its value, where it has one.
    text : str
        What is printed, with ``±``.
    bold : bool
    reason : str
        Why trials lack a value; empty if none does.
    mark : str
        Letter of the footnote that says so.
    """

    values: Mapping[int, float]
    text: str
    bold: bool = False
    reason: str = ""
    mark: str = ""

    @property
    def n(self) -> int:
        """Number of trials with a value."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over trials, NaN without any."""
        return float(np.mean(list(self.values.values()))) if self.values else float("nan")

    @property
    def sd(self) -> float:
        """Standard deviation over trials (ddof 1), NaN for fewer than two."""
        return float(np.std(list(self.values.values()), ddof=1)) if self.n > 1 else float("nan")


@dataclass(frozen=True)
class Row:
    """One method of a block.

    Attributes
    ----------
    key : RowKey
    label : str
    baseline : bool
        Whether it stands below the rule.
    cells : dict
        Metric to :class:`Cell`.
    n_text : str
        ``(n=8)`` where all values are of the same trials, fewer than the grid has; where they
        are not, each cell says its own.
    mark : str
        Letter of the footnote that goes with `n_text`.
    """

    key: RowKey
    label: str
    baseline: bool
    cells: dict[str, Cell]
    n_text: str = ""
    mark: str = ""

    @property
    def printed_label(self) -> str:
        """The label, with the number of trials where it is not that of the grid."""
        return f"{self.label} {self.n_text}".strip()


@dataclass(frozen=True)
class Block:
    """The rows of one data set under a heading."""

    dataset: str
    heading: str
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    """A table, ready to be written.

    Attributes
    ----------
    spec : TableSpec
    caption : str
    blocks : list of Block
    footnotes : dict
        Letter to text.
    notes : list of str
        Remarks on the whole table.
    tests : pandas.DataFrame
        One row a data set, method and metric; columns :data:`TIDY_TEST_COLUMNS`.
    """

    spec: TableSpec
    caption: str
    blocks: list[Block]
    footnotes: dict[str, str]
    notes: list[str]
    tests: pd.DataFrame


def build_table(
    number: int,
    rows: pd.DataFrame,
    jobs: Jobs,
    descriptions: Mapping[str, Mapping[str, Any]],
    partial: bool = False,
    newer: bool = False,
) -> Table:
    """Make one of the paper's tables from tidy rows.

    Parameters
    ----------
    number : int
        1, 2, 3 or 4.
    rows : pandas.DataFrame
        Tidy rows of the file of metrics that the table shows; rows beyond the grid are ignored.
    jobs : iterable of mapping
        The grid of the table: dataset, model, prior, setting and trial of every result that it
        shows. Data sets appear in their order in it.
    descriptions : mapping
        Data set to the content of ``data/<dataset>.json``.
    partial : bool
        Whether to show what there is where the grid is not complete.
    newer : bool
        Whether Tables 3 and 4 have the metrics that are newer than the paper.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        If there is no such table, the grid is empty, or results are missing and `partial` is
        False.
    """
    spec = table_spec(number, newer)
    grid, notes = _fill_grid(spec, rows, jobs, partial)
    if unlabelled := _without_labels(grid):
        shown = tuple(column for column in spec.columns if column.name not in unlabelled)
        spec, grid = replace(spec, columns=shown), grid[~grid["metric"].isin(unlabelled)]
        notes.append("No cell has a label: metrics that compare with cell types are left out.")
    blocks, tests = [], []
    for dataset, part in grid.groupby("dataset", sort=False):
        block, tested = _block(spec, str(dataset), part, descriptions.get(str(dataset), {}))
        blocks.append(block)
        tests.append(tested)
    blocks, footnotes = _number_footnotes(blocks)
    trials = grid.groupby(["dataset", *RowKey._fields])["trial"].nunique()
    has_isolated = any(column.name == ISOLATED for column in spec.columns)
    for sentence_of in [*([isolated_sentence] if has_isolated else []), sample_sentence]:
        for dataset in grid["dataset"].unique():
            if sentence := sentence_of(descriptions.get(dataset, {})):
                notes.append(f"{dataset_label(dataset)}: {sentence}")
    pairs = grid[["model", "prior"]].drop_duplicates().itertuples(index=False, name=None)
    notes += [told_sentence(method_label(*pair)) for pair in pairs if told_labels(*pair)]
    if trials.max() == 1:
        notes.append("With one trial no test is possible: bold marks the best value only.")
    return Table(
        spec, _caption(spec, trials), blocks, footnotes, notes, pd.concat(tests, ignore_index=True)
    )


def sample_sentence(description: Mapping[str, Any]) -> str:
    """Return of how many cells the scores are that compare cells with one another, if not of all.

    Those of the models' own clusters are always of all cells.
    """
    n, scored = description.get("n_cells", 0), description.get("evaluation_cells")
    if scored is None or scored >= n:
        return ""
    return (
        f"scores of embeddings, and of Leiden's clusters, are of {scored:,} of the {n:,} cells, "
        "the same for all methods; each batch and cell type has its share of them. Compare them "
        "with one another only: KBET, iLISI and Graph connectivity change with the number of cells."
    )


def told_sentence(method: str) -> str:
    """Return why a method that was told the labels is not compared."""
    return (
        f"{method} was trained with the labels that it is scored against, and is compared with no "
        "other method."
    )


def isolated_sentence(description: Mapping[str, Any]) -> str:
    """Return what there is to say of "Isolated labels" where types of one cell count for it.

    Their silhouette is 0, scaled 0.5, in every embedding.
    """
    isolated, sizes = description.get("isolated_types", []), description.get("cell_types", {})
    single = [name for name in isolated if sizes.get(name) == 1]
    if not single:
        return ""
    named = ", ".join(single[:NAMED_MISSING]) + (", …" if len(single) > NAMED_MISSING else "")
    if len(single) < len(isolated):
        return (
            f"{len(single)} of the {len(isolated)} cell types in the fewest batches ({named}) "
            f"{'has one cell and counts' if len(single) == 1 else 'have one cell and count'} "
            f"0.500 for every method in {ISOLATED}."
        )
    what = "type" if len(single) == 1 else "types"
    has = "has" if len(single) == 1 else "have"
    return (
        f"{ISOLATED} is 0.500 for every method and tells nothing: the cell {what} in the fewest "
        f"batches ({named}) {has} one cell."
    )


# The grid ------------------------------------------------------------------------------------


def _fill_grid(
    spec: TableSpec, rows: pd.DataFrame, jobs: Jobs, partial: bool
) -> tuple[pd.DataFrame, list[str]]:
    """Return a row for each job of the grid and metric, and a note if some are absent."""
    grid = pd.DataFrame([{key: job[key] for key in JOB_COLUMNS} for job in jobs])
    if grid.empty:
        raise InputError(f"Table {spec.number} has no models: its grid is empty")
    grid = grid.astype({key: int if key == "trial" else str for key in JOB_COLUMNS})
    grid = grid.drop_duplicates()
    metrics = pd.DataFrame({"metric": [column.name for column in spec.columns]})
    rows = validate_rows(rows, f"the rows of Table {spec.number}")
    full = grid.merge(metrics, how="cross").merge(rows, how="left", on=[*JOB_COLUMNS, "metric"])
    missing = full[full["status"].isna()][JOB_COLUMNS].drop_duplicates()
    full["status"] = full["status"].fillna(ABSENT)
    if missing.empty:
        return full, []
    if not partial:
        raise InputError(_missing_sentence(spec, missing, len(grid)))
    done = len(grid) - len(missing)
    return full, [f"Incomplete: {done} of {len(grid)} models of the grid have results."]


def _without_labels(grid: pd.DataFrame) -> set[str]:
    """Return the metrics that have no value anywhere since no cell has a label, if others have."""
    lacks = grid["status"].eq(NO_LABELS).groupby(grid["metric"]).all()
    return set(lacks.index[lacks]) if not lacks.all() else set()


def _missing_sentence(spec: TableSpec, missing: pd.DataFrame, total: int) -> str:
    first = [
        f"{job.dataset} / {job.model} / {job.prior} / {job.setting} / trial {job.trial}"
        for job in missing.head(NAMED_MISSING).itertuples()
    ]
    more = "; …" if len(missing) > NAMED_MISSING else ""
    return (
        f"Table {spec.number} is incomplete: {len(missing)} of the {total} cells of its grid "
        f"have no complete rows in {spec.source}.csv ({'; '.join(first)}{more}); "
        "let the run finish, or ask for the partial tables"
    )


# A block -------------------------------------------------------------------------------------


def _block(
    spec: TableSpec, dataset: str, grid: pd.DataFrame, description: Mapping[str, Any]
) -> tuple[Block, pd.DataFrame]:
    """Return the rows of one data set and the tests among them."""
    parts = {RowKey(*key): part for key, part in grid.groupby(list(RowKey._fields), sort=False)}
    rows = [
        Row(
            key,
            row_label(key),
            is_baseline(key),
            {column.name: _cell(column, parts[key]) for column in spec.columns},
        )
        for key in sorted(parts, key=row_order)
    ]
    tests = [_tests(dataset, rows, column) for column in spec.columns]
    for frame, column in zip(tests, spec.columns, strict=True):
        for row, bold in zip(rows, frame["bold"], strict=True):
            row.cells[column.name] = replace(row.cells[column.name], bold=bool(bold))
    library = [model for model in benchmarked() if (grid["model"] == model).any()]
    return Block(dataset, _heading(spec, dataset, description, library), rows), pd.concat(tests)


def _cell(column: Metric, grid: pd.DataFrame) -> Cell:
    """Return the cell of one method and metric, not yet bold."""
    grid = grid[grid["metric"] == column.name]
    ok = grid[grid["status"] == "ok"].sort_values("trial")
    cell = Cell(dict(zip(ok["trial"], ok["value"], strict=True)), "")
    statuses = list(grid.loc[grid["status"] != "ok", "status"])
    return replace(cell, text=_cell_text(column, cell, statuses), reason=_reason(grid["status"]))


def _cell_text(column: Metric, cell: Cell, statuses: list[str]) -> str:
    """Return what is printed; `statuses` are those of the trials without a value."""
    if cell.n == 0:
        kinds = set(statuses) - {ABSENT}
        if len(kinds) != 1:
            return "n/a" if kinds else ""
        status = kinds.pop()
        return "n/a" if status.startswith("n/a") else status
    text = column.mean_text(cell.mean)
    if cell.n > 1:
        text += f" ± {column.sd_text(cell.sd)}"
    return text + _n_text(cell) if statuses else text


def _n_text(cell: Cell) -> str:
    return f" (n={cell.n})"


def _lift(row: Row) -> Row:
    """Move what all values of a row say of their number of trials to its label."""
    valued = {metric: cell for metric, cell in row.cells.items() if cell.n}
    said = {(cell.n, cell.reason, cell.mark) for cell in valued.values()}
    if len(said) != 1:
        return row
    (_, reason, mark) = said.pop()
    if not reason:
        return row
    n_text = _n_text(next(iter(valued.values())))
    shorter = {
        metric: replace(cell, text=cell.text.removesuffix(n_text), mark="")
        for metric, cell in valued.items()
    }
    return replace(row, cells=row.cells | shorter, n_text=n_text.strip(), mark=mark)


def _reason(statuses: pd.Series) -> str:
    """Return why trials have no value: ``single batch``, or ``8 of 10 trials: 2 diverged``."""
    counts = Counter(status.removeprefix("n/a: ") for status in statuses if status != "ok")
    if counts[ABSENT] == len(statuses) or not counts:
        return ""
    total, without = len(statuses), sum(counts.values())
    if len(counts) == 1 and without == total and statuses.iloc[0].startswith("n/a: "):
        return next(iter(counts))
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{total - without} of {total} trials have a value: {listed}"


def _tests(dataset: str, rows: list[Row], metric: Metric) -> pd.DataFrame:
    """Return the tidy tests of one metric, a row a method."""
    cells = [row.cells[metric.name] for row in rows]
    facts = pd.DataFrame(
        [
            (dataset, *row.key, row.label, metric.name, cell.n, cell.mean, cell.sd)
            for row, cell in zip(rows, cells, strict=True)
        ],
        columns=TIDY_TEST_COLUMNS[:9],
    )
    # Methods are known by their place, so that best_method returns the first of equals.
    told = [place for place, row in enumerate(rows) if told_labels(row.key.model, row.key.prior)]
    values = pd.DataFrame({place: pd.Series(cell.values) for place, cell in enumerate(cells)})
    if metric.is_tested:
        compared = values.drop(columns=told).astype(float).sort_index()
        tests = paired_tests(compared, metric.better == "lower").reindex(facts.index)
        tests.loc[told, ["n", "bold", "status"]] = [0, False, TOLD]
        tests = tests.astype({"n": int, "bold": bool})
        labels = {place: row.label for place, row in enumerate(rows)}
        tests["compared_with"] = tests["compared_with"].map(labels).fillna("")
    else:
        tests = pd.DataFrame(index=facts.index, columns=TEST_COLUMNS)
        tests = tests.assign(compared_with="", n=0, bold=False)
        tests["status"] = "not tested: neither direction is better"
    tests = tests.rename(columns={"n": "n_pairs"})
    numeric = {column: float for column in TEST_COLUMNS[2:8]}
    return pd.concat([facts, tests.astype(numeric)], axis=1)[TIDY_TEST_COLUMNS]


def _heading(
    spec: TableSpec, dataset: str, description: Mapping[str, Any], library: list[str]
) -> str:
    """Return the name of a data set with its sizes, and the model of scvi-tools, if it has one."""
    if spec.kind == "images":
        sizes = [("n_images", "image", "images"), ("n_types", "class", "classes")]
    else:
        sizes = [
            ("n_cells", "cell", "cells"),
            ("n_batches", "batch", "batches"),
            ("n_types", "cell type", "cell types"),
            ("n_proteins", "protein", "proteins"),
            ("n_peaks", "peak", "peaks"),
        ]
    listed = [
        f"{description[key]:,} {one if description[key] == 1 else many}"
        for key, one, many in sizes
        if description.get(key) is not None and (description[key] or key != "n_types")
    ]
    labelled, n = description.get("n_labelled"), description.get("n_cells")
    if labelled is not None and n is not None and labelled < n:
        some = f"{labelled:,} cells with a label, of which the scores speak"
        listed.append(some if labelled else "no cell with a label")
    listed += library
    label = dataset_label(dataset)
    return f"{label} ({', '.join(listed)})" if listed else label


# The whole -----------------------------------------------------------------------------------


def _number_footnotes(blocks: list[Block]) -> tuple[list[Block], dict[str, str]]:
    """Give each reason a letter, in the order of print."""
    letters: dict[str, str] = {}
    for block in blocks:
        for row in block.rows:
            for metric, cell in row.cells.items():
                if cell.reason:
                    mark = letters.setdefault(cell.reason, _letter(len(letters)))
                    row.cells[metric] = replace(cell, mark=mark)
    lifted = [replace(block, rows=[_lift(row) for row in block.rows]) for block in blocks]
    return lifted, {mark: reason for reason, mark in letters.items()}


def _letter(place: int) -> str:
    """Return a, b, …, z, aa, ab, …."""
    before, last = divmod(place, len(ascii_lowercase))
    return (_letter(before - 1) if before else "") + ascii_lowercase[last]


def _caption(spec: TableSpec, trials: pd.Series) -> str:
    n = str(trials.min()) if trials.nunique() == 1 else f"{trials.min()} to {trials.max()}"
    shown = "Value of one trial." if n == "1" else f"Mean ± sd over {n} trials."
    untested = [column.name for column in spec.columns if not column.is_tested]
    tail = f" {' and '.join(untested)}: not tested." if untested else ""
    lower = [column.name for column in spec.columns if column.better == "lower"]
    tail += f" Lower is better: {', '.join(lower)}." if lower else ""
    return (
        f"{spec.caption} {shown} Bold: the best mean, and every method that does not differ from "
        f"it in a two-sided paired t-test (uncorrected p > {THRESHOLD:g}).{tail}"
    )
