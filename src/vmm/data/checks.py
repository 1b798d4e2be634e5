"""All checks on what users supply: counts, batches, labels, covariates, names.

Legal, and what follows from it:

- *One batch.* Batch correction is not scored (``n/a``), biological conservation is.
- *A batch of one cell.* Its cell is either trained on or validated on, never both; the batch takes
  no part in ranking genes, and metrics that look for neighbours within a batch cannot use it.
- *A cell without a label.* It is trained on as all others; what needs labels is computed of the
  cells that have one.
- *A class of one cell.* It counts as a cell type; metrics that need pairs of one type (isolated
  labels, silhouettes) give such a cell the value 0 or leave it out.

The description beside the prepared data names such batches and classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from vmm.data.messages import as_text, listing, number_of
from vmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

NO_VALUE = ("", "nan", "NaN", "<NA>")
"""What pandas makes of missing values where it turns them into text."""

NAMES_OF_CELLS = 10
"""From so many cells on, as many values as cells are no accident."""

Names = Sequence[str] | np.ndarray

RAW = "; give raw counts"
NOT_COUNTS: tuple[tuple[Callable[[np.ndarray], np.ndarray], str, str], ...] = (
    (lambda x: ~np.isfinite(x), "have missing or infinite values", RAW),
    (lambda x: x < 0, "have negative values", f"{RAW}, not scaled ones"),
    (lambda x: np.abs(x - np.rint(x)) > TOLERANCE, "are not integers", ""),
    # In float32, 2³¹ − 1 is 2³¹.
    (lambda x: x >= 2.0**31, "have values above 2,147,483,647", RAW),
)
"""What disqualifies values, in the order of the checks, what to say, and what to advise where
nothing better is known (nothing: it depends on the values)."""

ROUNDING = (
    "; counts that a program corrected or estimated (SoupX, salmon) may be rounded to the nearest "
    "whole number {how}"
)
"""What may be done about fractions that are no normalised values."""

EQUAL = 1e-3
"""How far the totals of normalised cells may differ, as a part of them."""

TOLERANCE = 1e-6
"""How far a count may be from a whole number (float32 files are exact up to 2²⁴)."""
SAMPLE = 100_000
"""Values of a layer that are looked at to see whether it would do as counts."""


def as_csr(matrix: Any, where: str, copy: bool = True) -> sp.csr_matrix:
    """Convert a matrix of any usual kind (dense, CSC, on disk, a view) to CSR, sorted.

    Entries given twice are added, as everywhere in sparse formats. The input is left alone, unless
    it needs no copy.

    Parameters
    ----------
    matrix
        N × G.
    where
        What it is, for messages ("X of my.h5ad").
    copy
        Whether somebody else has the matrix too.

    Raises
    ------
    InputError
        If it is no matrix of numbers, or a sparse one whose parts contradict each other.
    """
    if hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
        if matrix.ndim != 2:
            raise InputError(
                f"{where} has {matrix.ndim} axes; counts must be a matrix of cells × genes."
            )
    elif hasattr(matrix, "check_format"):
        # Files may say anything, and scipy's compiled code would read and write beyond the arrays.
        try:
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise InputError(
                f"{where} is damaged, its sparse matrix contradicts itself ({error}); "
                "write the file anew."
            ) from error
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"{where} is of type {matrix.dtype}, not numbers; give raw counts.")
    if matrix.dtype == np.float16:  # not a type of sparse matrices
        matrix = matrix.astype(np.float32)
    csr = sp.csr_matrix(matrix, copy=copy)
    csr.sum_duplicates()
    return csr


def counts(
    matrix: Any,
    where: str,
    cells: Names,
    genes: Names,
    hint: str = "",
    rounding: str = "(numpy.rint)",
    copy: bool = True,
    what: str = "gene",
) -> sp.csr_matrix:
    """Check that a matrix holds counts, and return it as int32 CSR without stored zeros.

    Parameters
    ----------
    matrix
        N × G.
    where
        What it is, for messages ("X of my.h5ad").
    cells, genes
        Names, for messages.
    hint
        What the user could do about values that are not counts.
    rounding
        How to round, for whom there are no raw counts.
    copy
        As for :func:`as_csr`.
    what
        What a column is, for messages.

    Raises
    ------
    InputError
        If it is empty, or if any value is NaN, infinite, negative, not a whole number, or larger
        than 2³¹ − 1.
    """
    csr = as_csr(matrix, where, copy)
    refuse_shape(csr.shape, where, cells, genes, what)
    whole = whole_numbers(csr, where, cells, genes, hint, rounding, what=what)
    if whole.nnz == 0:
        raise InputError(f"all counts in {where} are zero.")
    return whole


def refuse_shape(
    shape: tuple[int, int], where: str, cells: Names, genes: Names, what: str = "gene"
) -> None:
    """Refuse a matrix without cells or genes, or with others than their names."""
    if 0 in shape:
        raise InputError(f"{where} is empty ({shape[0]} cells × {shape[1]} {what}s).")
    if shape != (len(cells), len(genes)):
        raise InputError(
            f"{where} is {shape[0]} × {shape[1]}, but there are {len(cells)} cells and "
            f"{len(genes)} {what}s; it must be cells × {what}s."
        )


def whole_numbers(
    csr: sp.csr_matrix,
    where: str,
    cells: Names,
    genes: Names,
    hint: str = "",
    rounding: str = "(numpy.rint)",
    first: int = 0,
    what: str = "gene",
) -> sp.csr_matrix:
    """Return values as int32 without stored zeros, or refuse them; all else as :func:`counts`.

    Parameters
    ----------
    csr
        Rows of the N × G matrix; its indices are taken over.
    where, cells, genes, hint, rounding, what
        As for :func:`counts`.
    first
        The first of the rows.
    """
    data, hint = csr.data, hint or RAW
    for is_bad, problem, advice in NOT_COUNTS:
        bad = is_bad(data)
        if bad.any():
            place = int(np.flatnonzero(bad)[0])
            row = first + int(np.searchsorted(csr.indptr, place, side="right")) - 1
            gene = genes[csr.indices[place]]
            if not hint.startswith(RAW):  # there are some
                advice = hint
            elif not advice:
                said = normalised(cell_totals(csr))
                advice = f"; {said}{hint}" if said else hint + ROUNDING.format(how=rounding)
            part = "all" if csr.shape[0] == len(cells) else f"these {csr.shape[0]:,} cells"
            raise InputError(
                f"counts in {where} {problem} (first: {data[place]:.6g} at cell {row}, "
                f"{str(cells[row])!r}, {what} {str(gene)!r}; {int(bad.sum()):,} in {part}){advice}."
            )
    whole = sp.csr_matrix(
        (np.rint(data).astype(np.int32), csr.indices, csr.indptr), shape=csr.shape
    )
    whole.eliminate_zeros()
    return whole


def seem_counts(matrix: Any) -> bool:
    """Return whether the first values of a matrix, in a file or in memory, may be counts."""
    try:
        matrix = getattr(matrix, "group", matrix)  # of a backed sparse matrix
        if hasattr(matrix, "to_numpy"):  # a table
            matrix = matrix.to_numpy()
        if hasattr(matrix, "keys"):
            matrix = matrix["data"]
        elif hasattr(matrix, "indptr"):
            matrix = matrix.data
        rows = SAMPLE if len(matrix.shape) == 1 else 1 + SAMPLE // max(1, matrix.shape[1])
        values = np.asarray(matrix[:rows])
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            return False
        return bool((values >= 0).all() and values.any() and (values == np.rint(values)).all())
    except Exception:  # a hint is no reason to fail
        return False


def cell_totals(csr: sp.csr_matrix) -> np.ndarray:
    """Return the sum of each cell's values, and of exp(x) − 1 of them, (2, n)."""
    totals = []
    for of_value in (lambda x: x, np.expm1):
        with np.errstate(all="ignore"):
            parts = csr.copy()
            parts.data = of_value(parts.data.astype(np.float64))
            totals.append(np.asarray(parts.sum(axis=1)).ravel())
    return np.stack(totals)


def normalised(totals: np.ndarray) -> str:
    """Say how values are seen to be normalised: by the totals of cells, which are then all equal.

    Empty if they are not seen to be, as where only some of the genes are there.

    Parameters
    ----------
    totals
        (2, N), of :func:`cell_totals`.
    """
    for own, what in zip(
        totals,
        (
            "the values of each cell add up to {:,.0f}",
            "exp(x) − 1 of each cell's values adds up to {:,.0f}",
        ),
        strict=True,
    ):
        own = own[own != 0]
        with np.errstate(all="ignore"):
            equal = len(own) > 1 and np.ptp(own) <= EQUAL * abs(own.mean()) < np.inf
        if equal:
            return f"they are normalised ({what.format(own.mean())})"
    return ""


def column(
    obs: pd.DataFrame, key: str, option: str, where: str, may_lack: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Check a column of batches or cell types, and return its codes and names.

    Categories in an order of their own keep it; else names are sorted as people count: 1, 2, 10.
    Names that do not occur are dropped.

    Parameters
    ----------
    obs
        Table of the cells.
    key
        Name of the column.
    option
        Key of the configuration that named it, for messages.
    where
        File, for messages.
    may_lack
        Whether cells may have no value; their code is -1.

    Returns
    -------
    codes : numpy.ndarray
        (N,) int64.
    names : list of str
        What the codes stand for.

    Raises
    ------
    InputError
        If the column is missing, has missing values though it must not, or holds floating-point
        numbers.
    """
    values, subject = _named(obs, key, option, where)
    if not may_lack:
        refuse_missing(values, subject)
    missing = is_missing(values)
    categories = ordered_categories(values[~missing])
    if any(isinstance(value, (float, np.floating)) for value in categories):
        example = next(value for value in categories if isinstance(value, (float, np.floating)))
        # pandas makes floating-point numbers of whole ones where some are missing.
        how = " (.astype('Int64') keeps whole numbers and those missing)" if missing.any() else ""
        raise InputError(
            f"{subject} holds floating-point numbers (such as {example:g}); name a column of names "
            f"or whole numbers, or convert it{how}."
        )
    names = [as_text(value) for value in categories]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(
            f"{subject} has different values that read alike ({listing(twice)}); make them all "
            "text or all numbers."
        )
    refuse_names_of_cells(names, len(values), subject)
    code_of = {value: code for code, value in enumerate(categories)}
    codes = np.full(len(values), -1, dtype=np.int64)
    codes[~missing] = [code_of[value] for value in values[~missing]]
    return codes, names


def number_column(
    obs: pd.DataFrame, key: str, option: str, where: str, positive: bool = False
) -> np.ndarray:
    """Check a column of numbers, and return it, (N,) float32; all else as :func:`column`."""
    return numbers(*_named(obs, key, option, where), positive)


def numbers(values: pd.Series, subject: str, positive: bool = False) -> np.ndarray:
    """Return numbers (N,) float32 that cells must have, above 0 if they must be `positive`.

    Parameters
    ----------
    values
        A column of the table of cells.
    subject
        What to call it in messages.

    Raises
    ------
    InputError
        If a value is missing, infinite, no number, or not above 0.
    """
    from pandas.api.types import is_numeric_dtype

    refuse_missing(values, subject)
    if not is_numeric_dtype(values) or values.dtype.kind == "c":
        raise InputError(
            f"{subject} is of type {values.dtype}, not numbers (such as {values.iloc[0]!r}); "
            "convert it by pandas.to_numeric, or name it as a categorical covariate."
            if not positive
            else f"{subject} is of type {values.dtype}, not numbers (such as {values.iloc[0]!r})."
        )
    found = values.to_numpy(dtype=np.float32)
    bad, problem = ~np.isfinite(found), "infinite values"
    if positive and not bad.any():
        bad, problem = found <= 0, "values that are not above 0"
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{subject} has {problem} in {number_of(int(bad.sum()), 'cell')} (first: "
            f"{found[row]:g} in cell {row}, {str(values.index[row])!r}); correct them or remove "
            "these cells."
        )
    return found


def recoded(codes: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Drop the names that no longer occur; -1 stays."""
    present = np.unique(codes[codes >= 0])
    new = np.searchsorted(present, codes)
    return np.where(codes < 0, -1, new).astype(np.int64), [names[code] for code in present]


def _named(obs: pd.DataFrame, key: str, option: str, where: str) -> tuple[pd.Series, str]:
    """Return the column that `option` names, and what to call it."""
    if key not in obs.columns:
        raise InputError(
            f"{where} has no column {key!r} for `{option}:`; "
            f"its columns are {listing(obs.columns)}."
        )
    subject = f"column {key!r} of {where} (`{option}:`)"
    return one_column(obs, key, subject), subject


def refuse_names_of_cells(names: Sequence[Any], n_cells: int, subject: str) -> None:
    """Refuse a column of batches or types whose `names` are as many as there are cells."""
    if len(names) == n_cells >= NAMES_OF_CELLS:
        raise InputError(
            f"{subject} has another value for each of the {n_cells:,} cells (such as "
            f"{names[0]!r}): those are names of cells; name a column whose values cells share."
        )


def ordered_categories(values: pd.Series) -> list[Any]:
    """Return the distinct values of a column without missing ones, in the order of legends.

    That is the order that categories were given; where that is none but the alphabet, in which
    pandas and anndata put text, and for all else, as people count: 1, 2, 10.
    """
    if values.dtype.name == "category":
        given = values.cat.remove_unused_categories().cat.categories.tolist()
        if values.cat.ordered or not _is_sorted(given):
            return given
        return sorted(given, key=counted)
    return sorted(dict.fromkeys(values.tolist()), key=counted)


def counted(value: Any) -> tuple:
    """Return a key that sorts as people count: numbers by size, also within names."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        text = as_text(value)
        # Texts and numbers take turns, a text first.
        parts = re.split(r"([0-9]+)", text)
        key = [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]
        return (*key, (0, text))
    return (0, ""), (value, ""), (0, str(value))


def _is_sorted(values: list[Any]) -> bool:
    texts = list(map(as_text, values))
    try:
        return values == sorted(values) or texts == sorted(texts)
    except TypeError:
        return texts == sorted(texts)


def one_column(obs: pd.DataFrame, key: str, subject: str) -> pd.Series:
    """Return a column of a table that must have one of that name, and not two.

    Parameters
    ----------
    obs, key
        The table and the name.
    subject
        What to call the column in the message.
    """
    values = obs[key]
    if values.ndim == 2:
        raise InputError(
            f"{subject} stands there {values.shape[1]} times; rename all but the one that is meant."
        )
    return values


def is_missing(values: pd.Series) -> np.ndarray:
    """Return which cells have no value, shape (N,): also what missing ones become as text."""
    return values.isna().to_numpy() | values.astype(object).isin(NO_VALUE).to_numpy()


def refuse_missing(values: pd.Series, subject: str) -> None:
    """Refuse a column with missing values, which `subject` names."""
    missing = is_missing(values)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise InputError(
            f"{subject} has no value in {number_of(int(missing.sum()), 'cell')} "
            f"(first: cell {row}, {str(values.index[row])!r}); fill it in or remove these cells."
        )


def unique_names(names: Sequence[Any], what: str) -> tuple[np.ndarray, list[str]]:
    """Make names unique as AnnData does: the second ``A`` becomes ``A-1``.

    Parameters
    ----------
    names
        Names of cells or genes.
    what
        "cell", "gene" or "protein", for the note.

    Returns
    -------
    names : numpy.ndarray
        Strings, without repetition.
    notes : list of str
        One sentence, if any name was changed.
    """
    array = np.asarray([str(name) for name in names], dtype=str)
    taken = set(array.tolist())
    if len(taken) == len(array):
        return array, []
    result, seen, counters = [], set(), dict.fromkeys(taken, 0)
    for name in array.tolist():
        unique = name
        while unique in seen or (unique != name and unique in taken):
            counters[name] += 1
            unique = f"{name}-{counters[name]}"
        seen.add(unique)
        result.append(unique)
    changed = [old for old, new in zip(array.tolist(), result, strict=True) if old != new]
    some = listing(dict.fromkeys(changed), 5)
    note = f"{len(changed):,} repeated {what} names got a suffix ({some})."
    return np.asarray(result, dtype=str), [note]


def enough(shape: tuple[int, int], where: str) -> None:
    """Refuse what the filters left of a matrix if it has fewer than two cells or genes."""
    for size, what in zip(shape, ("cells", "genes"), strict=True):
        if size < 2:
            raise InputError(
                f"{where}: once those with fewer than 3 counts are dropped, the number of {what} "
                f"is {size}; it must be at least 2."
            )


def several_types(labels: np.ndarray, names: Sequence[str], key: str | None, where: str) -> None:
    """Refuse labels that are all the same; there may be none at all."""
    if len(names) == 1:
        that = "" if (labels >= 0).all() else " that has one"
        raise InputError(
            f"column {key!r} of {where} (`label_key:`) has the same value, {listing(names)}, for "
            f"every cell{that}; nothing can be scored without at least 2 cell types."
        )


def sizes(codes: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """Count the rows of each batch, cell type or class; rows without one (-1) are in none."""
    found = np.bincount(codes[codes >= 0], minlength=len(names))
    return {name: int(size) for name, size in zip(names, found, strict=True)}


def singletons(codes: np.ndarray, names: Sequence[str], what: str) -> list[str]:
    """Describe batches or cell types of a single cell, which are legal but say little."""
    found = sizes(codes, names)
    return [f"The {what} {name!r} has a single cell." for name in names if found[name] == 1]


def unlabelled(labels: np.ndarray) -> list[str]:
    """Describe cells without a label, which are legal."""
    n = int((labels < 0).sum())
    if not n:
        return []
    if n == len(labels):
        return ["No cell has a label, so nothing is compared with cell types."]
    rest = f"the {len(labels) - n:,} cells that have one"
    return [f"{n:,} of {len(labels):,} cells have no label; what needs labels speaks of {rest}."]
