"""Cells, bold print, footnotes and tests of a table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from metric_names import NEED_BATCHES
from scipy import stats

from vmm.errors import InputError
from vmm.paper.tables import build_table
from vmm.paper.tables.specs import TABLES

NMI = "NMI (unmerged)"
VMM = [0.90, 0.92, 0.91, 0.89, 0.93]
GMM = [0.85, 0.86, 0.88, 0.84, 0.86]
CLOSE = [0.91, 0.90, 0.92, 0.88, 0.92]


def cells_of(table, metric, block=0):
    return {row.label: row.cells[metric] for row in table.blocks[block].rows}


def statistics_of(table, metric):
    return table.tests[table.tests["metric"] == metric].set_index("method")


def test_best_and_not_significantly_worse_are_bold(case):
    rows, jobs = case(
        2,
        {
            ("mnist", "vampprior", NMI): CLOSE,
            ("mnist", "gmm", NMI): GMM,
            ("mnist", "vmm", NMI): VMM,
        },
    )
    table = build_table(2, rows, jobs, {"mnist": {"n_images": 70000, "n_types": 10}})
    cells = cells_of(table, NMI)
    assert list(cells) == ["VampPrior", "GMM", "VMM"]
    assert {label for label, cell in cells.items() if cell.bold} == {"VampPrior", "VMM"}
    assert cells["VMM"].text == "0.910 ± 0.02"
    assert table.blocks[0].heading == "MNIST (70,000 images, 10 classes)"
    tests = statistics_of(table, NMI)
    for label, values in (("VampPrior", CLOSE), ("GMM", GMM)):
        expected = stats.ttest_rel(values, VMM)
        assert tests.loc[label, "p"] == pytest.approx(expected.pvalue, rel=1e-9)
        assert tests.loc[label, "t"] == pytest.approx(expected.statistic, rel=1e-9)
        low, high = expected.confidence_interval()
        assert tests.loc[label, "ci_low"] == pytest.approx(low, rel=1e-9)
        assert tests.loc[label, "ci_high"] == pytest.approx(high, rel=1e-9)
        assert tests.loc[label, "compared_with"] == "VMM"
        assert tests.loc[label, "n_pairs"] == 5
        assert tests.loc[label, "sd"] == pytest.approx(np.std(values, ddof=1))
    # Holm by hand: the smaller of two p doubled, the other at least as large.
    small = tests.loc["GMM", "p"]
    assert small < tests.loc["VampPrior", "p"]
    assert tests.loc["GMM", "p_holm"] == pytest.approx(2 * small)
    assert tests.loc["VampPrior", "p_holm"] == pytest.approx(
        max(2 * small, tests.loc["VampPrior", "p"])
    )


def test_the_p_of_one_half_is_computed_by_hand(case):
    # Differences 1, -1, 2 over 100: mean 2/3, sd sqrt(7/3), t = (2/3)/(sqrt(7/3)/sqrt(3)).
    a, b = [0.51, 0.49, 0.52], [0.50, 0.50, 0.50]
    rows, jobs = case(2, {("mnist", "gmm", NMI): b, ("mnist", "vmm", NMI): a})
    tests = statistics_of(build_table(2, rows, jobs, {}), NMI)
    t = -(2 / 3) / math.sqrt(7 / 9)
    assert tests.loc["GMM", "t"] == pytest.approx(t)
    # Student's t with two degrees of freedom has the closed form 1/2 + t / (2 sqrt(2 + t²)).
    assert tests.loc["GMM", "p"] == pytest.approx(1 - abs(t) / math.sqrt(2 + t * t))


def test_lower_divergence_is_better_and_information_is_never_bold(case):
    kl = "KL(q(z)||p(z))"
    rows, jobs = case(
        1,
        {
            ("mnist", "normal", kl): [18.8, 18.9, 18.7],
            ("mnist", "vampprior", kl): [41.3, 41.5, 41.4],
            ("mnist", "normal", "I[z;n]"): [9.2, 9.2, 9.2],
            ("mnist", "vampprior", "I[z;n]"): [1.0, 1.0, 1.0],
        },
    )
    table = build_table(1, rows, jobs, {})
    assert cells_of(table, kl)["N(0, I)"].bold
    assert not cells_of(table, kl)["VampPrior"].bold
    assert not any(cell.bold for cell in cells_of(table, "I[z;n]").values())
    tests = statistics_of(table, "I[z;n]")
    assert set(tests["status"]) == {"not tested: neither direction is better"}
    assert tests["p"].isna().all()
    assert "I[z;n]: not tested." in table.caption
    assert f"Lower is better: KL(q(z|x)||p(z)), {kl}." in table.caption
    assert cells_of(table, kl)["N(0, I)"].text == "18.8 ± 0.10"


def test_leiden_rows_take_part_in_bold_below_the_rule(case):
    rows, jobs = case(
        3,
        {
            ("pbmc", "vmm", NMI): [0.7, 0.71, 0.72],
            ("pbmc", "pca", NMI, "leiden"): [0.8, 0.8, 0.8],
            ("pbmc", "normal", NMI, "leiden"): [0.75, 0.74, 0.75],
        },
    )
    description = {"n_cells": 11990, "n_batches": 2, "n_types": 9}
    table = build_table(3, rows, jobs, {"pbmc": description})
    assert [(row.label, row.baseline) for row in table.blocks[0].rows] == [
        ("VMM", False),
        ("Leiden on N(0, I)", True),
        ("Leiden on PCA", True),
    ]
    assert [cell.bold for cell in cells_of(table, NMI).values()] == [False, False, True]
    assert table.blocks[0].heading == "PBMC (11,990 cells, 2 batches, 9 cell types)"


def test_single_batch_is_not_zero(case):
    statuses = dict.fromkeys(NEED_BATCHES, "n/a: single batch")
    rows, jobs = case(
        4,
        {
            ("cortex", "scvi_tools", "Bio conservation"): [0.66, 0.67],
            ("cortex", "vmm", "Bio conservation"): [0.73, 0.74],
            ("cortex", "pca", "Bio conservation"): [0.70, 0.70],
        },
        statuses=statuses,
    )
    table = build_table(4, rows, jobs, {"cortex": {"n_cells": 3005, "n_batches": 1, "n_types": 7}})
    total = cells_of(table, "Total")
    assert {cell.text for cell in total.values()} == {"n/a"}
    assert not any(cell.bold for cell in total.values())
    assert table.footnotes == {"a": "single batch"}
    assert {cell.mark for cell in total.values()} == {"a"}
    bio = cells_of(table, "Bio conservation")
    assert bio["VMM"].text == "0.7350 ± 0.0071"
    assert bio["VMM"].mark == ""
    assert table.blocks[0].heading == "cortex (3,005 cells, 1 batch, 7 cell types)"
    assert [row.label for row in table.blocks[0].rows] == ["scvi-tools N(0, I)", "VMM", "PCA"]


def test_diverged_trials_are_counted_and_explained(case):
    rows, jobs = case(
        2,
        {
            ("mnist", "gmm", NMI): ["diverged"] * 4,
            ("mnist", "vmm", NMI): [0.9, "diverged", 0.92, "failed"],
            ("mnist", "vade", NMI): [0.8, 0.81, 0.79, 0.8],
        },
    )
    table = build_table(2, rows, jobs, {})
    cells = cells_of(table, NMI)
    assert cells["GMM"].text == "diverged"
    assert cells["VMM"].text == "0.910 ± 0.01 (n=2)"
    assert table.footnotes[cells["VMM"].mark] == (
        "2 of 4 trials have a value: 1 diverged, 1 failed"
    )
    assert table.footnotes[cells["GMM"].mark] == "0 of 4 trials have a value: 4 diverged"
    tests = statistics_of(table, NMI)
    assert tests.loc["VaDE", ["n", "n_pairs"]].tolist() == [4, 2]
    expected = stats.ttest_rel([0.8, 0.79], [0.9, 0.92]).pvalue
    assert tests.loc["VaDE", "p"] == pytest.approx(expected)
    assert tests.loc["GMM", "status"] == "not tested: no trial has a value"


def test_one_trial_prints_the_value_alone(case):
    rows, jobs = case(2, {("mnist", "gmm", NMI): [0.8], ("mnist", "vmm", NMI): [0.9]})
    table = build_table(2, rows, jobs, {})
    cells = cells_of(table, NMI)
    assert [(cell.text, cell.bold) for cell in cells.values()] == [
        ("0.800", False),
        ("0.900", True),
    ]
    assert "no test is possible" in table.notes[0]
    assert "one trial" in table.caption


def test_equal_methods_are_all_bold(case):
    rows, jobs = case(2, {("mnist", "gmm", NMI): [0.8, 0.9], ("mnist", "vmm", NMI): [0.8, 0.9]})
    assert all(cell.bold for cell in cells_of(build_table(2, rows, jobs, {}), NMI).values())


def test_incomplete_grid(case, job):
    rows, jobs = case(2, {("mnist", "gmm", NMI): [0.8, 0.9], ("mnist", "vmm", NMI): [0.8, 0.9]})
    jobs += [job("mnist", "vmm", 2), job("mnist", "vampprior", 0), job("mnist", "vade", 0)]
    jobs += [job("fashion_mnist", "vmm", 0)]
    with pytest.raises(InputError) as raised:
        build_table(2, rows, jobs, {})
    message = str(raised.value)
    assert "4 of the 8 cells of its grid" in message
    assert "mnist / VAE / VampPriorMixture / b256-nmi / trial 2" in message
    assert "fashion_mnist" not in message and "…" in message
    table = build_table(2, rows, jobs, {}, partial=True)
    cells = cells_of(table, NMI)
    assert cells["VampPrior"].text == ""
    assert cells["VampPrior"].mark == ""
    vmm = next(row for row in table.blocks[0].rows if row.label == "VMM")
    assert (vmm.printed_label, cells["VMM"].text) == ("VMM (n=2)", "0.850 ± 0.07")
    assert table.footnotes[vmm.mark] == "2 of 3 trials have a value: 1 absent"
    assert table.notes == ["Incomplete: 4 of 8 models of the grid have results."]
    assert len(table.blocks) == 2


def test_a_missing_metric_is_a_missing_cell(case):
    rows, jobs = case(2, {("mnist", "vmm", NMI): [0.8, 0.9]})
    with pytest.raises(InputError, match="1 of the 2 cells"):
        build_table(2, rows[~((rows["trial"] == 1) & (rows["metric"] == NMI))], jobs, {})


def test_rows_beyond_the_grid_are_ignored(case):
    rows, jobs = case(
        2, {("mnist", "vmm", NMI): [0.8, 0.9], ("mnist", "vmm", NMI, "b512-nmi"): [0.1, 0.2]}
    )
    table = build_table(2, rows, [job for job in jobs if job["setting"] == "b256-nmi"], {})
    assert len(table.blocks[0].rows) == 1
    assert cells_of(table, NMI)["VMM"].mean == pytest.approx(0.85)


def test_no_jobs(case):
    rows, _ = case(2, {("mnist", "vmm", NMI): [0.8]})
    with pytest.raises(InputError, match="grid is empty"):
        build_table(2, rows, [], {})


# What a table speaks of ---------------------------------------------------------------------------


def test_a_heading_says_of_how_many_labelled_cells_the_scores_speak(case):
    rows, jobs = case(4, {("my_cells", "vmm", "Total"): [0.5]})
    description = {"n_cells": 5000, "n_batches": 2, "n_types": 7, "n_labelled": 1200}
    table = build_table(4, rows, jobs, {"my_cells": description})
    assert table.blocks[0].heading == (
        "my_cells (5,000 cells, 2 batches, 7 cell types, 1,200 cells with a label, of which the "
        "scores speak)"
    )
    whole = build_table(4, rows, jobs, {"my_cells": description | {"n_labelled": 5000}})
    assert whole.blocks[0].heading == "my_cells (5,000 cells, 2 batches, 7 cell types)"


def test_without_labels_only_what_needs_none_is_shown(case):
    status = "n/a: no labelled cells"
    compare = {m.name: status for m in TABLES[4].columns if m.name not in ("iLISI", "KBET")}
    rows, jobs = case(4, {("my_cells", "vmm", "iLISI"): [0.5, 0.6]}, statuses=compare)
    description = {"n_cells": 5000, "n_batches": 2, "n_types": 0, "n_labelled": 0}
    table = build_table(4, rows, jobs, {"my_cells": description})
    assert table.blocks[0].heading == "my_cells (5,000 cells, 2 batches, no cell with a label)"
    assert [column.name for column in table.spec.columns] == ["KBET", "iLISI"]
    assert set(table.tests["metric"]) == {"KBET", "iLISI"} and table.footnotes == {}
    assert table.notes == [
        "No cell has a label: metrics that compare with cell types are left out."
    ]
    other = {("your_cells", "vmm", "iLISI"): [0.5, 0.6]}
    more, further = case(4, other)
    both = build_table(4, pd.concat([rows, more]), [*jobs, *further], {"my_cells": description})
    assert both.spec.columns == TABLES[4].columns, "another data set has values"


def test_a_note_says_what_isolated_labels_tell_where_a_type_has_one_cell(case):
    rows, jobs = case(4, {("my_cells", "vmm", "Total"): [0.5, 0.6]})
    sizes = {"T": 80, "B": 40, "rare": 1, "last": 1}
    told = {
        ("rare", "last"): "my_cells: Isolated labels is 0.500 for every method and tells nothing: "
        "the cell types in the fewest batches (rare, last) have one cell.",
        ("B", "rare"): "my_cells: 1 of the 2 cell types in the fewest batches (rare) has one cell "
        "and counts 0.500 for every method in Isolated labels.",
        ("T", "B"): None,
    }
    for isolated, sentence in told.items():
        description = {"cell_types": sizes, "isolated_types": list(isolated)}
        table = build_table(4, rows, jobs, {"my_cells": description})
        assert table.notes == ([sentence] if sentence else [])
    clustering, jobs = case(3, {("my_cells", "vmm", "NMI (unmerged)"): [0.5, 0.6]})
    assert build_table(3, clustering, jobs, {"my_cells": description}).notes == []


@pytest.mark.parametrize("number", [3, 4])
def test_a_note_says_of_how_many_cells_the_scores_are(case, number):
    metric = {3: "NMI (unmerged)", 4: "Total"}[number]
    rows, jobs = case(number, {("my_cells", "vmm", metric): [0.5, 0.6]})
    for scored, note in ((None, False), (5000, False), (4999, True)):
        about = {"n_cells": 5000, "evaluation_cells": scored}
        notes = build_table(number, rows, jobs, {"my_cells": about}).notes
        assert len(notes) == note
    assert notes[0].startswith("my_cells: scores of embeddings, and of Leiden's clusters, are of ")
    assert "4,999 of the 5,000 cells" in notes[0]
    assert (
        "Compare them with one another only: KBET, iLISI and Graph connectivity change" in notes[0]
    )


def test_what_was_told_the_labels_is_shown_and_not_compared(case):
    """It is never bold, and bold of the others is as without it; a note says why."""
    values = {("my_cells", method, "Total"): v for method, v in (("vmm", VMM), ("gmm", GMM))}
    told = {("my_cells", "scanvi", "Total"): [0.99, 0.98, 0.99, 0.98, 0.99]}
    table, without = (build_table(4, *case(4, of), {}) for of in (values | told, values))
    label = "scANVI (told the labels)"
    cells = cells_of(table, "Total")
    assert {name for name, cell in cells.items() if cell.bold} == {"VMM"}
    assert cells[label].text == "0.9860 ± 0.0055"
    tests, expected = statistics_of(table, "Total"), statistics_of(without, "Total")
    assert tests.loc[label, "status"] == "not compared: told the labels"
    assert tests.loc[label, "n"] == 5 and math.isnan(tests.loc[label, "p"])
    assert tests.loc["GMM", "p"] == expected.loc["GMM", "p"]
    assert tests.loc["GMM", "p_holm"] == expected.loc["GMM", "p_holm"]
    assert table.notes.count(
        f"{label} was trained with the labels that it is scored against, and is compared with no "
        "other method."
    ) == 1  # fmt: skip
    assert not any(label in note for note in without.notes)
