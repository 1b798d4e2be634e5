from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from vmm.data import checks
from vmm.data.cells import build_cells
from vmm.data.raw import RawCells
from vmm.errors import InputError


def good(**changes) -> RawCells:
    """Six cells × three genes, fit for use."""
    matrix = np.array(
        [[9, 1, 0], [8, 2, 1], [7, 0, 3], [1, 9, 2], [0, 8, 4], [2, 7, 5]], dtype=np.float32
    )
    obs = pd.DataFrame(
        {"donor": ["d1", "d2"] * 3, "type": ["T", "T", "T", "B", "B", "B"]},
        index=[f"AAAC-{i}" for i in range(6)],
    )
    raw = RawCells(matrix, obs, ["ACTB", "CD3E", "MS4A1"], "X of my.h5ad", "my.h5ad", "; HINT")
    for key, value in changes.items():
        setattr(raw, key, value)
    return raw


def entry(value: float, row: int = 2, column: int = 0) -> Callable[[], RawCells]:
    def make() -> RawCells:
        raw = good()
        raw.counts = raw.counts.copy()
        raw.counts[row, column] = value
        return raw

    return make


def obs(**columns) -> Callable[[], RawCells]:
    return lambda: good(obs=good().obs.assign(**columns))


def cut(rows: slice = slice(None), columns: slice = slice(None)) -> Callable[[], RawCells]:
    def make() -> RawCells:
        raw = good()
        return good(counts=raw.counts[rows, columns], obs=raw.obs[rows], genes=raw.genes[columns])

    return make


def twice(column: str) -> Callable[[], RawCells]:
    """Return cells whose table has a column two times, as pandas allows."""
    return lambda: good(obs=pd.concat([good().obs, good().obs[[column]]], axis=1))


REFUSED: dict[str, tuple[Callable[[], RawCells], dict, str]] = {
    "fraction": (
        entry(0.73), {},
        "counts in X of my.h5ad are not integers (first: 0.73 at cell 2, 'AAAC-2', gene 'ACTB'; "
        "1 in all); HINT.",
    ),
    "NaN": (entry(np.nan, 5, 1), {}, "have missing or infinite values (first: nan at cell 5, "
            "'AAAC-5', gene 'CD3E'; 1 in all); HINT."),
    "infinite": (entry(np.inf), {}, "have missing or infinite values (first: inf at cell 2"),
    "negative": (entry(-2), {}, "have negative values (first: -2 at cell 2, 'AAAC-2', gene 'ACTB'; "
                 "1 in all); HINT."),
    "too large": (entry(3e9), {}, "have values above 2,147,483,647"),
    "not numbers": (lambda: good(counts=np.full((6, 3), "x")), {}, "not numbers; give raw counts"),
    "no cells": (cut(rows=slice(0)), {}, "X of my.h5ad is empty (0 cells × 3 genes)."),
    "no genes": (cut(columns=slice(0)), {}, "X of my.h5ad is empty (6 cells × 0 genes)."),
    "all zero": (lambda: good(counts=np.zeros((6, 3))), {}, "all counts in X of my.h5ad are zero."),
    "one axis": (lambda: good(counts=np.zeros(6)), {}, "has 1 axes; counts must be a matrix"),
    "transposed": (lambda: good(counts=good().counts.T), {}, "is 3 × 6, but there are 6 cells"),
    "one gene": (cut(columns=slice(1)), {}, "the number of genes is 1; it must be at"),
    "one cell left": (
        lambda: good(counts=np.diag([9, 1, 1, 1, 1, 1])[:, :3] + np.eye(6, 3)), {},
        "the number of cells is 1; it must be at least 2.",
    ),
    "absent batch column": (good, {"batch_key": "doner"}, "my.h5ad has no column 'doner' for "
                            "`batch_key:`; its columns are donor, type."),
    "absent label column": (good, {"label_key": "x"}, "my.h5ad has no column 'x' for `label_key:`"),
    "float batches": (obs(donor=[0.5, 1.5] * 3), {}, "my.h5ad (`batch_key:`) holds "
                      "floating-point numbers (such as 0.5)"),
    "whole float batches": (obs(donor=[1.0, 2.0] * 3), {}, "holds floating-point numbers"),
    "float categories": (obs(donor=pd.Categorical([1.0, 2.0] * 3)), {}, "floating-point numbers"),
    "NaN batch": (obs(donor=["a", None, "b"] * 2), {}, "my.h5ad (`batch_key:`) has no "
                  "value in 2 cells (first: cell 1, 'AAAC-1'); fill it in or remove these cells."),
    "NaN number": (obs(type=[1, 2, np.nan] * 2), {}, "floating-point numbers (such as 1); name"),
    "empty batch": (obs(donor=["a", "b", ""] * 2), {}, "has no value in 2 cells (first: cell 2"),
    "'nan' batch": (obs(donor=["a", "b", "nan"] * 2), {}, "has no value in 2 cells"),
    "constant label": (obs(type="T"), {}, "my.h5ad (`label_key:`) has the same value, "
                       "T, for every cell"),
    "label constant after the filters": (
        lambda: good(counts=good().counts * np.repeat([1, 0], 3)[:, None] + np.eye(6, 3)), {},
        "has the same value, T, for every cell",
    ),
    "values that read alike": (obs(donor=pd.Series([1, "1"] * 3, dtype=object).tolist()), {},
                               "different values that read alike (1)"),
    "repeated column": (twice("donor"), {}, "column 'donor' of my.h5ad (`batch_key:`) stands there "
                        "2 times; rename all but the one that is meant."),
    "repeated labels": (twice("type"), {}, "(`label_key:`) stands there 2 times"),
    "batch is label": (good, {"batch_key": "type"}, "both name the column 'type'"),
    "no top genes": (good, {"n_top_genes": 0}, "`n_top_genes: 0` must be a whole number"),
    "half a gene": (good, {"n_top_genes": 2.5}, "`n_top_genes: 2.5` must be a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_how(case: str) -> None:
    make, options, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        build_cells(make(), "my", **{"batch_key": "donor", "label_key": "type", **options})
    assert message in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        lambda m: m.astype(np.int64),
        lambda m: m.astype(np.uint8),
        lambda m: np.asfortranarray(m, dtype=np.float64),
        lambda m: np.vstack([m, m])[:6],
        pytest.param(
            np.matrix,
            marks=pytest.mark.filterwarnings("ignore:the matrix subclass"),
        ),
        lambda m: m.astype(np.float16),
        sp.csr_matrix,
        sp.csc_matrix,
        sp.coo_matrix,
        sp.csr_array,
        lambda m: sp.csr_matrix(np.hstack([m, m]))[:, :3],
        lambda m: sp.coo_matrix(
            (np.r_[m.ravel() - 1, np.ones(18)], (np.r_[np.repeat(range(6), 3)].tolist() * 2,
                                                 [0, 1, 2] * 12)), shape=(6, 3)
        ),
    ],
)  # fmt: skip
def test_every_kind_of_matrix_is_accepted_and_left_alone(convert: Callable) -> None:
    raw = good()
    given = convert(raw.counts)
    before = given.toarray() if sp.issparse(given) else np.array(given)
    data, _ = build_cells(good(counts=given), "my", "donor", "type")
    assert data.counts.toarray().tolist() == raw.counts.tolist()
    assert data.counts.dtype == np.int32 and data.counts.has_sorted_indices
    assert data.counts.nnz == np.count_nonzero(raw.counts)  # no stored zeros
    after = given.toarray() if sp.issparse(given) else np.array(given)
    assert np.array_equal(before, after)


def test_the_good_case() -> None:
    data, selection = build_cells(good(), "my", "donor", "type")
    assert data.batch_names == ["d1", "d2"] and data.batch.tolist() == [0, 1, 0, 1, 0, 1]
    assert data.label_names == ["B", "T"] and data.labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert (selection.cells_read, selection.genes_read, selection.notes) == (6, 3, [])
    one, _ = build_cells(good(), "my", None, "type")
    assert one.batch_names == ["all"] and one.n_batches == 1


def test_whole_numbers_booleans_and_categories_make_batches() -> None:
    for column, names in (
        ([10, 9] * 3, ["9", "10"]),
        ([True, False] * 3, ["False", "True"]),
        (pd.Categorical(["late", "early"] * 3, ["late", "unused", "early"]), ["late", "early"]),
        (np.array([b"x", b"y"] * 3), ["x", "y"]),
    ):
        data, _ = build_cells(obs(donor=column)(), "my", "donor", "type")
        assert data.batch_names == names
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in column]
        assert [names[code] for code in data.batch] == texts


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        ([10, 2, 1], ["1", "2", "10"]),
        (["donor10", "donor2", "donor"], ["donor", "donor2", "donor10"]),
        (["1.10", "1.9", "0.5"], ["0.5", "1.9", "1.10"]),
        (["1e5", "007", "1.0", "7"], ["1.0", "1e5", "007", "7"]),
        (["b", "A", "a"], ["A", "a", "b"]),
        (["10", "x", "2"], ["2", "10", "x"]),
        ([True, False], ["False", "True"]),
        (pd.Categorical(["1", "10", "2"]), ["1", "2", "10"]),  # by pandas, in alphabetical order
        (pd.Categorical([1, 10, 2]), ["1", "2", "10"]),
        (pd.Categorical(["1", "10", "2"], ["10", "1", "2"]), ["10", "1", "2"]),  # their own
        (pd.Categorical(["1", "10", "2"], ["1", "10", "2"], ordered=True), ["1", "10", "2"]),
    ],
)
def test_names_are_in_the_order_in_which_people_count(values, names):
    data = pd.DataFrame({"x": values})
    codes, found = checks.column(data, "x", "label_key", "my.h5ad")
    assert found == names
    assert [found[code] for code in codes] == list(map(str, values))


def test_nearly_whole_numbers_are_whole() -> None:
    data, _ = build_cells(entry(7 + 4e-7)(), "my", "donor", "type")
    assert data.counts[2, 0] == 7
    with pytest.raises(InputError, match="not integers"):
        build_cells(good(counts=good().counts.astype(float) + 1e-4), "my", "donor", "type")


def test_repeated_names_get_a_suffix() -> None:
    names, notes = checks.unique_names(["A", "B", "A", "A-1", "A"], "gene")
    assert names.tolist() == ["A", "B", "A-2", "A-1", "A-3"]
    assert notes == ["2 repeated gene names got a suffix (A)."]
    assert checks.unique_names(["A", 1], "cell")[1] == []
    raw = good(genes=["ACTB", "ACTB", "MS4A1"], obs=good().obs.set_axis(["c"] * 6))
    data, selection = build_cells(raw, "my", "donor", "type")
    assert data.genes.tolist() == ["ACTB", "ACTB-1", "MS4A1"]
    assert data.cells.tolist() == ["c", "c-1", "c-2", "c-3", "c-4", "c-5"]
    assert selection.notes[0] == "5 repeated cell names got a suffix (c)."


CONFOUNDED = (
    "Each cell type is in one batch only: what mixes the batches takes the types for one another, "
    "and scores of batch correction say nothing."
)


def test_a_batch_or_a_class_of_one_cell_is_legal_and_named() -> None:
    raw = obs(donor=["d1"] * 5 + ["d2"], type=["T"] * 5 + ["rare"])()
    data, selection = build_cells(raw, "my", "donor", "type")
    assert np.bincount(data.batch).tolist() == [5, 1]
    assert data.label_names == ["T", "rare"]
    assert selection.notes == [
        "The batch 'd2' has a single cell.",
        "The cell type 'rare' has a single cell.",
        CONFOUNDED,
    ]


def test_types_that_are_in_one_batch_each_are_told() -> None:
    """With one type in two batches, one batch, or no label elsewhere there is nothing to tell."""
    for donor, types, told in (
        ("aaabbb", "TTTBBB", True),
        ("aabbcc", "TNBBMM", True),
        ("aaabbb", "TTTBBT", False),
        ("aaaaaa", "TTTBBB", False),
    ):
        raw = obs(donor=list(donor), type=list(types))()
        _, selection = build_cells(raw, "my", "donor", "type")
        assert (CONFOUNDED in selection.notes) == told
    assert checks.confounded(np.array([0, 1]), np.array([-1, -1])) == []


def test_batches_and_types_without_cells_are_forgotten() -> None:
    raw = obs(donor=["d1", "d2", "d3"] * 2, type=["T", "T", "gone", "B", "B", "B"])()
    raw.counts = raw.counts.copy()
    raw.counts[[2, 5]] = [[1, 0, 0], [0, 0, 1]]
    data, selection = build_cells(raw, "my", "donor", "type")
    assert data.batch_names == ["d1", "d2"] and data.label_names == ["B", "T"]
    assert data.batch.tolist() == [0, 1, 0, 1] and data.labels.tolist() == [1, 1, 0, 0]
    assert selection.cells_dropped == 2 and data.cells.tolist() == [
        f"AAAC-{i}" for i in (0, 1, 3, 4)
    ]


def test_names_of_cells_are_no_batches():
    """A column of barcodes, named by mistake, would make each cell a batch of its own."""
    obs = pd.DataFrame({"barcode": [f"AAC{i}-1" for i in range(12)]}, index=list("abcdefghijkl"))
    sentence = r"'barcode' of x.h5ad \(`batch_key:`\) has another value for each of the 12 cells"
    with pytest.raises(InputError, match=sentence):
        checks.column(obs, "barcode", "batch_key", "x.h5ad")
    obs.loc["b", "barcode"] = "AAC0-1"
    codes, names = checks.column(obs, "barcode", "batch_key", "x.h5ad")
    assert len(names) == 11 and codes[0] == codes[1]
