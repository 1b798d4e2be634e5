"""Bad ``.h5ad`` files, given to the pipeline and to ``vmm fit``; and odd ones, which are legal."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from bad_input import assert_one_sentence, cells, job, listing, program, public_folder, unprivileged

from vmm.cli import main
from vmm.data import CellData, load, prepare
from vmm.data.anndata_parts import from_anndata
from vmm.data.cells import build_cells

FIT = ("--n-components", "8", "--max-epochs", "1", "--n-hidden", "8")


def as_job(path: Path, folder: Path, **settings: Any):
    """Prepare a file as the pipeline does."""
    config = {"kind": "cells", "path": str(path), "batch_key": "donor", "label_key": "cell_type"}
    results = folder / "out.npz", folder / "out.json"
    return job(prepare, "mine", config | settings, None, folder / "downloads", *results)


def as_command(path: Path, folder: Path, **settings: Any):
    """Give a file to ``vmm fit``."""
    named = {"batch_key": "donor"} | settings
    options = [f"--{key.replace('_', '-')}={value}" for key, value in named.items()]
    return program(main, "fit", path, "-o", folder / "out", *FIT, *options)


# ------------------------------------------------------------------------------------ to be refused


def matrix(change: Callable[[np.ndarray], Any]) -> Callable[[anndata.AnnData], None]:
    """Return a change of X."""

    def apply(adata: anndata.AnnData) -> None:
        adata.X = change(adata.X)

    return apply


def entry(value: float, kind: Callable[[np.ndarray], Any] = np.asarray) -> Callable:
    """Return a change of one count."""

    def apply(adata: anndata.AnnData) -> None:
        adata.X[3, 2] = value
        adata.X = kind(adata.X)

    return apply


def column(name: str, values: Any) -> Callable[[anndata.AnnData], None]:
    """Return a change of one column of the table of cells."""

    def apply(adata: anndata.AnnData) -> None:
        adata.obs[name] = values

    return apply


def words(adata: anndata.AnnData) -> None:
    adata.X = np.full(adata.shape, "many", dtype=object)


def no_x(adata: anndata.AnnData) -> None:
    adata.layers["umis"], adata.X = adata.X, None


def logarithms_beside_counts(adata: anndata.AnnData) -> None:
    adata.layers["umis"], adata.X = adata.X, np.log1p(adata.X)


def scaled_beside_counts(adata: anndata.AnnData) -> None:
    adata.layers["log"], adata.layers["umis"] = np.log1p(adata.X), adata.X
    adata.X = (adata.X - adata.X.mean(0)) / adata.X.std(0)


def every_kind(adata: anndata.AnnData) -> None:
    """Add covariates; one of them is of truth values, one of pandas' own whole numbers."""
    adata.obs["sex"] = pd.Categorical(["m", "f"] * 20, ["x", "f", "m"])
    adata.obs["age"], adata.obs["old"] = [0.5, 2.0] * 20, [False, True] * 20
    adata.obs["size"] = pd.array([1, 3] * 20, dtype="Int64")


def no_donors(adata: anndata.AnnData) -> None:
    del adata.obs["donor"]


def size(n: int, n_genes: int) -> Callable[[anndata.AnnData], anndata.AnnData]:
    """Return what makes cells of another size of any."""
    return lambda adata: cells(n, n_genes)


FIRST = "at cell 3, 'cell3', gene 'gene2'"
BAD_COUNTS = {
    "fraction": (entry(0.5), f"my.h5ad are not integers (first: 0.5 {FIRST}; 1 in all); give raw"),
    "NaN": (entry(np.nan), f"have missing or infinite values (first: nan {FIRST}; 1 in all); give"),
    "NaN, sparse": (entry(np.nan, sp.csr_matrix), f"infinite values (first: nan {FIRST}"),
    "Inf, CSC": (entry(np.inf, sp.csc_matrix), f"infinite values (first: inf {FIRST}"),
    "negative": (entry(-1), f"have negative values (first: -1 {FIRST}; 1 in all); give raw counts"),
    "negative, int64": (matrix(lambda x: x.astype(np.int64) - 99), "have negative values (first: "),
    "too large": (entry(2.0**31), f"have values above 2,147,483,647 (first: 2.14748e+09 {FIRST}"),
    "logarithms": (matrix(np.log1p), "are not integers (first: "),
    "logarithms beside counts": (
        logarithms_beside_counts, "; give @umis@, which has whole numbers."),
    "scaled beside counts": (scaled_beside_counts, "; give @umis@, which has whole numbers."),
    "fractions, no counts": (
        matrix(lambda x: x * np.float32(0.93)),
        "; give raw counts (there is no other layer); counts that a program corrected or estimated "
        "(SoupX, salmon) may be rounded to the nearest whole number @."),
    "normalised": (
        matrix(lambda x: 1e4 * x / x.sum(1, keepdims=True)),
        "; they are normalised (the values of each cell add up to 10,000); give raw counts (there"),
    "logarithms of normalised values": (
        matrix(lambda x: np.log1p(1e4 * x / x.sum(1, keepdims=True))),
        "; they are normalised (exp(x) − 1 of each cell's values adds up to 10,000); give raw"),
    "complex": (matrix(lambda x: x * 1j), "my.h5ad is of type complex"),
    "words": (words, "X of @/my.h5ad is of type object, not numbers; give raw counts."),
    "no X": (no_x, "my.h5ad has no X; name the layer with counts by @ (there are umis)."),
    "all zero": (matrix(lambda x: x * 0), "all counts in X of @/my.h5ad are zero."),
    "all zero, stored": (
        matrix(lambda x: sp.csr_matrix((x.ravel() * 0, np.tile(np.arange(12), 40),
                                        np.arange(41) * 12), shape=x.shape)),
        "all counts in X of @/my.h5ad are zero."),
    "one gene": (size(40, 1), "the number of genes is 1; it must be at least 2."),
    "no cells": (size(0, 12), "X of @/my.h5ad is empty (0 cells × 12 genes)."),
    "no genes": (size(40, 0), "X of @/my.h5ad is empty (40 cells × 0 genes)."),
    "absent batch column": (
        no_donors, "my.h5ad has no column 'donor' for @; its columns are cell_type."),
    "float batches": (
        column("donor", [0.5, 1.5] * 20),
        "column 'donor' of @/my.h5ad (@) holds floating-point numbers (such as 0.5); name"),
    "a batch is NaN": (
        column("donor", pd.Categorical(["a", None] * 20)),
        "column 'donor' of @/my.h5ad (@) has no value in 20 cells (first: cell 1, 'cell1'); fill"),
    "an Int64 batch is missing": (
        column("donor", pd.array([1, None] * 20, dtype="Int64")), "has no value in 20 cells"),
    "a batch without a name": (column("donor", ["a", ""] * 20), "has no value in 20 cells"),
}  # fmt: skip
"""What is wrong for the pipeline and for ``vmm fit``. In sentences, @ is what differs: a folder,
or the name of a key."""

BAD_FOR_JOBS = {
    "one cell": (size(1, 12), {}, "(`label_key:`) has the same value, B, for every cell; nothing"),
    "constant label": (column("cell_type", "T"), {}, "has the same value, T, for every cell"),
    "constant label where there is one": (
        column("cell_type", pd.Categorical(["T"] * 39 + [None])), {},
        "(`label_key:`) has the same value, T, for every cell that has one; nothing can be"),
    "whole labels made floats by those missing": (
        column("cell_type", [1, 2, None, 2] * 10), {}, "or convert it (.astype('Int64') keeps"),
    "float labels": (column("cell_type", [1.0, 2.0] * 20), {}, "floating-point numbers (such as"),
    "labels constant in what is left": (
        matrix(lambda x: x * (np.arange(40) < 20)[:, None]), {}, "same value, T, for every cell"),
    "a single cell has counts": (
        matrix(lambda x: x * (np.arange(40) == 3)[:, None]), {}, "the number of cells is 1; it"),
    "absent label column": (None, {"label_key": "type"}, "has no column 'type' for `label_key:`"),
    "absent layer": (None, {"layer": "umis"}, "has no layer 'umis' for `layer:`; it has none;"),
    "no raw": (None, {"layer": "raw"}, "has no layer 'raw' for `layer:`; it has none;"),
    "batch is label": (None, {"batch_key": "cell_type"}, "both name the column 'cell_type' of @"),
    "absent covariate": (
        None, {"categorical_covariate_keys": ["sex"]},
        "my.h5ad has no column 'sex' for `categorical_covariate_keys:`; its columns are donor"),
    "categories missing": (
        column("sex", ["f", None] * 20), {"categorical_covariate_keys": ["sex"]},
        "column 'sex' of @/my.h5ad (`categorical_covariate_keys:`) has no value in 20 cells"),
    "as many categories as cells": (
        column("sex", [f"s{i}" for i in range(40)]), {"categorical_covariate_keys": ["sex"]},
        "has another value for each of the 40 cells (such as 's0'): those are names of cells"),
    "categories that are numbers": (
        column("age", [0.5, 1.5] * 20), {"categorical_covariate_keys": ["age"]},
        "(`categorical_covariate_keys:`) holds floating-point numbers (such as 0.5); name"),
    "numbers that are categories": (
        column("sex", ["f", "m"] * 20), {"continuous_covariate_keys": ["sex"]},
        "(`continuous_covariate_keys:`) is of type @, not numbers (such as 'f'); convert it by"),
    "numbers missing": (
        column("age", [0.5, np.nan] * 20), {"continuous_covariate_keys": ["age"]},
        "column 'age' of @/my.h5ad (`continuous_covariate_keys:`) has no value in 20 cells"),
    "a size factor of 0": (
        column("size", [0.5, 0] * 20), {"size_factor_key": "size"},
        "(`size_factor_key:`) has values that are not above 0 in 20 cells (first: 0 in cell 1"),
    "a size factor below 0": (
        column("size", [0.5, -1] * 20), {"size_factor_key": "size"}, "(first: -1 in cell 1, 'cell"),
    "an infinite size factor": (
        column("size", [0.5, np.inf] * 20), {"size_factor_key": "size"}, "has infinite values in"),
    "a covariate is label": (
        None, {"categorical_covariate_keys": ["cell_type"]},
        "`label_key:` and `categorical_covariate_keys:` both name the column 'cell_type' of @"),
    "a covariate twice": (
        column("age", [0.5, 1.5] * 20),
        {"continuous_covariate_keys": ["age"], "size_factor_key": "age"},
        "`continuous_covariate_keys:` and `size_factor_key:` both name the column 'age' of @"),
    "checksum": (None, {"sha256": "0" * 64}, "my.h5ad has the wrong checksum (sha256 "),
    "images": (None, {"kind": "images"}, "my.h5ad cannot be read as an .npz (it is no zip archive"),
}  # fmt: skip
"""What is wrong for the pipeline, which scores clusters against labels."""


def write(change: Callable | None, path: Path) -> None:
    """Write a file of cells, changed as told."""
    adata = cells()
    other = change(adata) if change else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's, on names and types
        (adata if other is None else other).write_h5ad(path)


def pieces(sentence: str) -> list[str]:
    """Return the fixed parts of a sentence."""
    return [part for part in sentence.split("@") if part]


def assert_refused(run: Callable, sentence: str, folder: Path, **settings: Any) -> None:
    """Assert one sentence and an unchanged folder."""
    before = listing(folder)
    ended = run(folder / "my.h5ad", folder, **settings)
    for piece in pieces(sentence):
        assert_one_sentence(ended, piece)
    assert listing(folder) == before


@pytest.mark.parametrize("run", [as_job, as_command])
@pytest.mark.parametrize(("change", "sentence"), BAD_COUNTS.values(), ids=BAD_COUNTS.keys())
def test_bad_cells_are_refused(run, change, sentence, tmp_path):
    write(change, tmp_path / "my.h5ad")
    assert_refused(run, sentence, tmp_path)


@pytest.mark.parametrize(
    ("change", "settings", "sentence"), BAD_FOR_JOBS.values(), ids=BAD_FOR_JOBS.keys()
)
def test_what_cannot_be_scored_is_refused(change, settings, sentence, tmp_path):
    write(change, tmp_path / "my.h5ad")
    assert_refused(as_job, sentence, tmp_path, **settings)


# --------------------------------------------------------------------------------- damaged files


def cut(part: float) -> Callable[[Path], None]:
    """Return a damage that keeps only the first part of a file."""
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


def content(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data)


def edit(key: str, change: Callable[[np.ndarray], np.ndarray], sparse: bool = False) -> Callable:
    """Return a damage of one array in the file."""

    def damage(path: Path) -> None:
        if sparse:
            adata = cells()
            adata.X = sp.csr_matrix(adata.X)
            adata.write_h5ad(path)
        with h5py.File(path, "a") as file:
            attributes, values = dict(file[key].attrs), change(file[key][...])
            del file[key]
            file[key] = values
            file[key].attrs.update(attributes)

    return damage


def set_to(place: int, value: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values[place] = value
        return values

    return change


def without(*keys: str) -> Callable[[Path], None]:
    """Return a damage that removes parts of the file."""

    def damage(path: Path) -> None:
        with h5py.File(path, "a") as file:
            for key in keys:
                del file[key]

    return damage


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "gone.h5ad")


CONTRADICTS = "my.h5ad is damaged, its sparse matrix contradicts itself ("
DAMAGES = {
    "text": (content(b"gene,count\n"), "my.h5ad is not an .h5ad file (it is not HDF5 at all)."),
    "nothing": (content(b""), "my.h5ad is not an .h5ad file (it is not HDF5 at all)."),
    "a zip archive": (content(b"PK\3\4" + bytes(100)), "is not an .h5ad file (it is not HDF5"),
    "a tenth": (cut(0.1), "my.h5ad cannot be read, it is truncated or damaged: "),
    "nearly all": (cut(0.99), "my.h5ad cannot be read, it is truncated or damaged: "),
    "no obs and var": (without("obs", "var"), "my.h5ad is not an .h5ad file (no obs, var in it)."),
    "no X": (without("X"), "my.h5ad has no X; name the layer with counts by "),
    "too few rows": (edit("X", lambda x: x[:-1]), "is 39 × 12, but there are 40 cells and"),
    "three axes": (edit("X", lambda x: x[..., None]), "has 3 axes; counts must be a matrix"),
    "column beyond the matrix": (
        edit("X/indices", set_to(0, 99), sparse=True), CONTRADICTS + "indices must be < 12)"),
    "negative column": (
        edit("X/indices", set_to(0, -5), sparse=True), CONTRADICTS + "indices must be >= 0)"),
    "rows that end before they start": (
        edit("X/indptr", set_to(6, 3), sparse=True), CONTRADICTS + "indptr must be a non-"),
    "rows beyond the data": (edit("X/indptr", set_to(-1, 10**6), sparse=True), CONTRADICTS),
    "fewer values than places": (
        edit("X/data", lambda x: x[:-5], sparse=True), CONTRADICTS + "indices and data should"),
    "a category beyond the list": (
        edit("obs/donor/codes", set_to(3, 77)), "my.h5ad cannot be read, it is truncated or"),
    "a folder": (folder_instead, "my.h5ad is not a file; "),
    "no file": (Path.unlink, "my.h5ad does not exist; "),
    "a link to nothing": (link_to_nothing, "my.h5ad does not exist; "),
}  # fmt: skip


@pytest.mark.parametrize("run", [as_job, as_command])
@pytest.mark.parametrize(("damage", "sentence"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damaged_files_are_refused(run, damage, sentence, tmp_path):
    write(None, tmp_path / "my.h5ad")
    damage(tmp_path / "my.h5ad")
    assert_refused(run, sentence, tmp_path)


@pytest.mark.parametrize("seed", range(5))
def test_random_damage_is_either_found_or_harmless(seed, tmp_path):
    """Bytes changed at random: a sentence, or data that pass every check; never a crash."""
    path = tmp_path / "my.h5ad"
    write(None, path)
    rng, damaged = np.random.default_rng(seed), bytearray(path.read_bytes())
    for place in rng.integers(0, len(damaged), 200):
        damaged[place] = rng.integers(256)
    path.write_bytes(damaged)
    ended = as_job(path, tmp_path)
    if ended.status:
        assert_one_sentence(ended, "my.h5ad")
    else:
        assert load(tmp_path / "out.npz").n_cells > 1


@pytest.mark.parametrize("run", [as_job, as_command])
def test_files_without_permission(run):
    with public_folder() as folder:
        write(None, folder / "my.h5ad")
        (folder / "my.h5ad").chmod(0)
        with unprivileged():
            assert_refused(run, "my.h5ad cannot be read (Permission denied); ", folder)


@pytest.mark.parametrize("run", [as_job, as_command])
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/proc/self/mem", "/proc/self/mem cannot be read (Input/output error); "),
        ("x" * 300 + ".h5ad", ".h5ad cannot be read (File name too long); "),
        ("~nobody_of_this_name/my.h5ad", "my.h5ad is not a path (Could not determine home"),
        ("/dev/null", "/dev/null is not a file; "),
    ],
)
def test_paths_that_name_no_file(run, path, sentence, tmp_path):
    assert_one_sentence(run(path, tmp_path), sentence)
    assert listing(tmp_path) == {}


# ----------------------------------------------------------------------------------- odd but legal


def names(adata: anndata.AnnData) -> None:
    adata.obs_names, adata.var_names = ["c"] * 40, ["g"] * 12


def raw_beside_logarithms(adata: anndata.AnnData) -> None:
    adata.raw = adata.copy()
    adata.X = np.log1p(adata.X)


def same(data: CellData, notes: list[str]) -> bool:
    return notes == [] and data.batch_names == ["first", "second"]


ODD = {
    "int64": (matrix(lambda x: x.astype(np.int64)), {}, same),
    "uint8": (matrix(lambda x: x.astype(np.uint8)), {}, same),
    "float64": (matrix(lambda x: x.astype(np.float64)), {}, same),
    "CSC": (matrix(sp.csc_matrix), {}, same),
    "CSR array": (matrix(sp.csr_array), {}, same),
    "a category without cells": (
        column("donor", pd.Categorical(["first", "second"] * 20, ["first", "none", "second"])),
        {}, same),
    "constant batch": (column("donor", "x"), {}, lambda d, notes: d.batch_names == ["x"]),
    "no batches": (None, {"batch_key": None}, lambda d, notes: d.batch_names == ["all"]),
    "Int64 batches": (
        column("donor", pd.array([2, 10] * 20, dtype="Int64")), {},
        lambda d, notes: d.batch_names == ["2", "10"]),
    "truth values": (
        column("donor", [True, False] * 20), {},
        lambda d, notes: d.batch_names == ["False", "True"]),
    "repeated names": (names, {}, lambda d, notes: notes == [
        "39 repeated cell names got a suffix (c).", "11 repeated gene names got a suffix (g)."]),
    "a batch of one cell": (
        column("donor", ["x"] * 39 + ["lonely"]), {},
        lambda d, notes: notes == ["The batch 'lonely' has a single cell."]),
    "cells without a label": (
        column("cell_type", pd.Categorical(["T", "B", None, "T"] * 10)), {},
        lambda d, notes: d.labels.tolist() == [1, 0, -1, 1] * 10 and notes == [
            "10 of 40 cells have no label; what needs labels speaks of the 30 cells that have "
            "one."]),
    "missing labels as text": (
        column("cell_type", ["T", "B", "nan", ""] * 10), {},
        lambda d, notes: d.labels.tolist() == [1, 0, -1, -1] * 10),
    "missing whole numbers": (
        column("cell_type", pd.array([2, 10, None, 2] * 10, dtype="Int64")), {},
        lambda d, notes: d.label_names == ["2", "10"] and (d.labels < 0).sum() == 10),
    "no cell has a label": (
        column("cell_type", pd.Categorical([None] * 40, ["T"])), {},
        lambda d, notes: d.n_types == 0 and notes == [
            "No cell has a label, so nothing is compared with cell types."]),
    "covariates of every kind": (
        every_kind,
        {"categorical_covariate_keys": ["sex"], "continuous_covariate_keys": ["age", "old"],
         "size_factor_key": "size"},
        lambda d, notes: (
            d.covariates.categorical["sex"][0].tolist() == [1, 0] * 20
            and d.covariates.categorical["sex"][1] == ["f", "m"]
            and {k: v.tolist() for k, v in d.covariates.continuous.items()}
            == {"age": [0.5, 2.0] * 20, "old": [0.0, 1.0] * 20}
            and d.covariates.size_factor.tolist() == [1.0, 3.0] * 20
            and d.covariates.size_factor.dtype == np.float32)),
    "names that are numbers": (
        column("cell_type", ["1e5", "007", "1.0", "None"] * 10), {},
        lambda d, notes: set(d.label_names) == {"1e5", "007", "1.0", "None"}),
    "raw": (raw_beside_logarithms, {"layer": "raw"}, same),
    "more top genes than genes": (
        None, {"n_top_genes": 10**6},
        lambda d, notes: notes == ["All 12 genes were kept: 1,000,000 were asked for."]),
}  # fmt: skip


@pytest.mark.parametrize(("change", "settings", "holds"), ODD.values(), ids=ODD.keys())
def test_odd_cells_are_taken_as_they_are(change, settings, holds, tmp_path):
    """The counts are those of the plain file, and what is odd is noted."""
    write(change, tmp_path / "my.h5ad")
    ended = as_job(tmp_path / "my.h5ad", tmp_path, **settings)
    assert ended.status == 0, ended.said
    data = load(tmp_path / "out.npz")
    np.testing.assert_array_equal(data.counts.toarray(), cells().X)
    assert holds(data, json.loads((tmp_path / "out.json").read_text())["notes"])


def test_a_hundred_thousand_genes(tmp_path):
    adata = cells(30, 100_000)
    adata.X = sp.csr_matrix(adata.X)
    adata.write_h5ad(tmp_path / "my.h5ad")
    assert as_job(tmp_path / "my.h5ad", tmp_path).status == 0
    assert load(tmp_path / "out.npz").counts.sum() == adata.X.sum()


def test_views_and_backed_objects_equal_their_copies(tmp_path):
    whole = cells(80, 24)
    view = whole[::2, ::2]
    view.copy().write_h5ad(tmp_path / "my.h5ad")
    backed = anndata.read_h5ad(tmp_path / "my.h5ad", backed="r")
    made = [
        build_cells(from_anndata(adata), "mine", "donor", "cell_type")[0].counts.toarray()
        for adata in (view.copy(), view, backed, backed[:])
    ]
    assert view.is_view and backed.isbacked and made[0].sum() == view.X.sum()
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])
