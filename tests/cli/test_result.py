"""The file with the results: what a user's file may be, and what is kept of it."""

from __future__ import annotations

import os
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from bad_input import cells

from vmm.cli import parts
from vmm.cli.result import ResultFile, Source
from vmm.errors import InputError

N = 40
CLUSTERS = pd.Categorical.from_codes(np.arange(N) % 3, ["0", "1", "2"])
OBSM = {"X_vmm": np.arange(4.0 * N).reshape(N, 4), "X_vmm_mde": np.ones((N, 2))}
FUTURE = "99.0"


def rich() -> anndata.AnnData:
    """Return cells with something of every kind."""
    adata = cells(N)
    adata.raw = adata.copy()
    adata.layers["counts"] = sp.csr_matrix(adata.X)
    adata.X = np.log1p(adata.X)
    adata.obs["age"] = np.arange(float(N))
    adata.var["kind"] = "gene"
    adata.obsm["X_pca"], adata.varm["loadings"] = np.ones((N, 3)), np.ones((12, 3))
    adata.obsm["table"] = pd.DataFrame({"a": np.arange(N)}, index=adata.obs_names)
    adata.obsp["distances"] = sp.csr_matrix(np.eye(N))
    adata.uns["neighbors"] = {"params": {"n": 15, "metric": "cosine"}, "names": ["a", "b"]}
    return adata


def written(path: Path, edit: Callable[[h5py.File], object] | None = None, **options) -> Path:
    """Write cells, and edit the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rich().write_h5ad(path, **options)
    if edit:
        with h5py.File(path, "r+") as file:
            edit(file)
    return path


def fitted(path: Path, folder: Path, names=None) -> tuple[anndata.AnnData, list[str]]:
    """Put made-up results beside the cells of a file; return them, read anew, and what was told."""
    names = pd.Index([f"cell{i}" for i in range(N)] if names is None else names)
    obs = pd.DataFrame({"vmm_cluster": CLUSTERS, "vmm_probability": np.linspace(0, 1, N)}, names)
    with Source(path) as source, ResultFile(folder / "my_vmm.h5ad") as result:
        said = result.begin(source, obs.assign(vmm_probability=0.0), 4)
        said += result.finish(obs, OBSM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = anndata.read_h5ad(folder / "my_vmm.h5ad")
    assert [file.name for file in folder.iterdir() if file.name[0] == "."] == []
    assert adata.obs["vmm_cluster"].tolist() == CLUSTERS.tolist()
    np.testing.assert_allclose(adata.obs["vmm_probability"], np.linspace(0, 1, N))
    for name, values in OBSM.items():
        np.testing.assert_array_equal(adata.obsm[name], values)
    return adata, said


def readable(path: Path) -> bool:
    """Return whether anndata reads a file."""
    try:
        anndata.read_h5ad(path)
    except Exception:
        return False
    return True


def same(part: object, before: object) -> bool:
    """Return whether two parts of AnnData objects are equal."""
    if isinstance(before, pd.DataFrame):
        return before.equals(part)
    if sp.issparse(before):
        return (part != before).nnz == 0
    return bool(np.array_equal(part, before))


def assert_kept(adata: anndata.AnnData, before: anndata.AnnData) -> None:
    """Assert that all of a file is there, and nothing more than the results."""
    new = ["vmm_cluster", "vmm_probability"]
    assert same(adata.X, before.X)
    pd.testing.assert_frame_equal(
        adata.obs.drop(columns=new), before.obs.drop(columns=new, errors="ignore")
    )
    pd.testing.assert_frame_equal(adata.var, before.var)
    for name in ("layers", "obsm", "varm", "obsp", "varp"):
        old = getattr(before, name)
        assert {*getattr(adata, name)} - {*OBSM} == {*old} - {*OBSM}
        assert all(same(getattr(adata, name)[key], old[key]) for key in {*old} - {*OBSM})
    assert str(dict(adata.uns)) == str(dict(before.uns))
    assert (adata.raw is None) == (before.raw is None)
    if before.raw is not None:
        assert same(adata.raw.X, before.raw.X) and same(adata.raw.var, before.raw.var)


# ------------------------------------------------------------------------------- what is kept whole


def rewrite(name: str, values: object, **options) -> Callable[[h5py.File], None]:
    """Return an edit that writes other values, with the attributes of those before."""

    def edit(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=values, **options)
        file[name].attrs.update(attributes)

    return edit


def strings(element: h5py.Dataset | h5py.Group) -> h5py.Dataset:
    """Return text, which anndata writes as an array, and from 0.13 on with a mask beside it."""
    return element["values"] if isinstance(element, h5py.Group) else element


def seurat_disk(file: h5py.File) -> None:
    """Make `raw` as SeuratDisk writes it: anndata reads the column `_index`, and writes none."""
    var = file["raw/var"]
    names = strings(var[var.attrs["_index"]])[...]
    for key in list(var):
        del var[key]
    for key in ("features", "_index"):
        var.create_dataset(key, data=names, dtype=h5py.string_dtype())
        var[key].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
    var.attrs["_index"] = "features"
    var.attrs["column-order"] = np.array(["_index"], dtype=object)


def old_categories(file: h5py.File) -> None:
    """Make `obs` as anndata 0.7 wrote it: categories stand in a group of their own."""
    obs = file["obs"]
    values = obs["donor/categories"][...], obs["donor/codes"][...]
    del obs["donor"]
    obs["__categories/donor"], obs["donor"] = values
    obs["donor"].attrs["categories"] = obs["__categories/donor"].ref
    obs.attrs["encoding-version"] = "0.1.0"


def earlier_results(file: h5py.File) -> None:
    """Put results of an earlier call into the file, with other categories and another shape."""
    obs = pd.DataFrame({"vmm_cluster": pd.Categorical(["x"] * N)}, [f"cell{i}" for i in range(N)])
    parts.put(file, obs, {"X_vmm": np.zeros((N, 9))})


def column_with_a_slash(file: h5py.File) -> None:
    file["obs/a/b"] = np.ones(N)
    file["obs"].attrs["column-order"] = np.array(["donor", "a/b"], dtype=object)


def no_columns(file: h5py.File) -> None:
    """Take all columns of `obs`; the list of them is then one of numbers, as anndata writes it."""
    file["obs"].attrs["column-order"] = np.array([])


KEPT = {
    "as it is": lambda file: None,
    "raw of SeuratDisk": seurat_disk,
    "categories of anndata 0.7": old_categories,
    "results of an earlier call": earlier_results,
    "no obsm": lambda file: file.__delitem__("obsm"),
    "no uns, no raw": lambda file: [file.__delitem__(name) for name in ("uns", "raw")],
    "no X": lambda file: file.__delitem__("X"),
    "no columns": no_columns,
    "a vector in obsm": rewrite("obsm/X_pca", np.ones(N)),
    "a slash in a name": column_with_a_slash,
    "bytes in place of text": rewrite("obs/cell_type/categories", np.array([b"B", b"T"])),
    "a link within": lambda file: file.__setitem__("uns/link", h5py.SoftLink("/obsm/X_pca")),
    "no encoding of the whole": lambda file: file.attrs.clear(),
}


@pytest.mark.parametrize("edit", KEPT.values(), ids=KEPT.keys())
def test_all_that_anndata_reads_is_kept(edit, tmp_path):
    path = written(tmp_path / "my.h5ad", edit)
    adata, said = fitted(path, tmp_path / "out")
    assert said == []
    assert_kept(adata, anndata.read_h5ad(path))


@pytest.mark.parametrize(
    "kind", ["category", "string[python]", "string[pyarrow]", "Int64", "boolean"]
)
def test_columns_and_names_of_modern_types(kind, tmp_path):
    """anndata writes some of them only if it is told to, and reads them all."""
    if kind == "string[pyarrow]":
        pytest.importorskip("pyarrow")
    adata = cells(N)
    values = {"Int64": [1, None], "boolean": [True, None]}.get(kind, ["a", None])
    adata.obs["odd"] = pd.array(values * (N // 2), dtype=kind)
    adata.obs["odd"] = adata.obs["odd"].astype(kind)
    if kind.startswith("string"):
        adata.obs.index = adata.obs.index.astype(kind)
    with anndata.settings.override(allow_write_nullable_strings=True):
        adata.write_h5ad(tmp_path / "my.h5ad", convert_strings_to_categoricals=False)
    result, said = fitted(tmp_path / "my.h5ad", tmp_path / "out")
    assert said == []
    assert_kept(result, anndata.read_h5ad(tmp_path / "my.h5ad"))


def test_repeated_names_of_cells_stay_as_they_are(tmp_path):
    adata = cells(N)
    adata.obs_names = ["a"] * N
    adata.write_h5ad(tmp_path / "my.h5ad")
    result, said = fitted(tmp_path / "my.h5ad", tmp_path / "out", ["a"] * N)
    assert said == [] and result.obs_names.tolist() == ["a"] * N


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_compression_and_size_are_kept(compression, tmp_path):
    path = written(tmp_path / "my.h5ad", compression=compression)
    fitted(path, tmp_path / "out")
    grown = (tmp_path / "out" / "my_vmm.h5ad").stat().st_size - path.stat().st_size
    assert grown < 100_000  # an array costs a few kB in HDF5, however small
    with h5py.File(path) as before, h5py.File(tmp_path / "out" / "my_vmm.h5ad") as after:
        for name in ("X", "layers/counts/data", "raw/X"):
            assert after[name].compression == before[name].compression == compression
            assert after[name].chunks == before[name].chunks


def test_large_parts_are_read_in_pieces(tmp_path, monkeypatch):
    """What a layer takes of memory is a part of its size, beside what the rest takes."""
    path, size = tmp_path / "my.h5ad", 20_000
    large = {"compression": "gzip", "chunks": (1, size)}
    adata = cells(N, size)
    adata.write_h5ad(path)
    monkeypatch.setattr(parts, "BLOCK", 1 << 16)
    monkeypatch.setattr("vmm.cli.result.PIECE", 1 << 16)
    names = pd.Index([f"cell{i}" for i in range(N)])
    obs = pd.DataFrame({"vmm_cluster": CLUSTERS}, names)

    def peak(name: str) -> int:
        with Source(path) as source, ResultFile(tmp_path / name) as result:
            tracemalloc.start()
            assert result.begin(source, obs, 4) == []
            result.finish(obs, OBSM)
            taken = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return taken

    peak("first.h5ad")  # with what is imported for it
    without = peak("without.h5ad")
    with h5py.File(path, "r+") as file:
        layer = file.create_dataset("layers/zero", shape=(N, size), dtype="f8", **large)
        layer.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        layer[...] = 0
    assert peak("with.h5ad") - without < layer_bytes(path) / 4


def layer_bytes(path: Path) -> int:
    with h5py.File(path) as file:
        return file["layers/zero"].nbytes


# ------------------------------------------------------------------------------ what is left out


def future(*names: str) -> Callable[[h5py.File], None]:
    """Return an edit after which parts say that a later anndata wrote them."""

    def edit(file: h5py.File) -> None:
        for name in names:
            file[name].attrs["encoding-version"] = FUTURE

    return edit


def damaged_chunk(file: h5py.File) -> None:
    """Compress a layer, and put other bytes in the place of what was written."""
    del file["layers/counts"]
    layer = file.create_dataset(
        "layers/counts", data=np.ones((N, 12)), chunks=(8, 12), compression="gzip"
    )
    layer.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    layer.id.write_direct_chunk((32, 0), b"no gzip")


def rows_missing(file: h5py.File) -> None:
    file["layers/counts"].attrs["shape"] = (N - 1, 12)


def other_names(file: h5py.File) -> None:
    strings(file["obsm/table/_index"])[0] = "somebody"


def lacking_column(file: h5py.File) -> None:
    file["obs"].attrs["column-order"] = np.array(["donor", "gone"], dtype=object)


LEFT_OUT = {
    "obsm of another length": (rewrite("obsm/X_pca", np.ones((N - 1, 3))), "obsm.X_pca", "shape"),
    "obsm with other cells": (other_names, "obsm.table", "its rows have other names"),
    "varm of another length": (rewrite("varm/loadings", np.ones((5, 3))), "varm.loadings", "5 × 3"),
    "obsp not square": (
        lambda f: f["obsp/distances"].attrs.__setitem__("shape", (N, N - 1)), "obsp.distances",
        "its shape is 40 × 39, not 40 × 40"),
    "a layer with too few rows": (rows_missing, "layers.counts", "contradicts itself"),
    "a layer of three axes": (
        rewrite("layers/counts", np.ones((N, 12, 2))), "layers.counts", ""),
    "a damaged layer": (damaged_chunk, "layers.counts", ""),
    "uns of the future": (future("uns/neighbors/params/n"), "uns.neighbors.params.n", FUTURE),
    "uns all of the future": (future("uns"), "uns", FUTURE),
    "obsm all of the future": (future("obsm"), "obsm", FUTURE),
    "a layer of the future": (future("layers/counts"), "layers.counts", FUTURE),
    "X of the future": (future("X"), "X", FUTURE),
    "obs of the future": (future("obs/age"), "obs.age", FUTURE),
    "var of the future": (future("var/kind"), "var.kind", FUTURE),
    "raw of the future": (future("raw/var"), "raw", FUTURE),
    "raw with a column of the future": (future("raw/X"), "raw", FUTURE),
    "raw with too few rows": (rewrite("raw/X", np.ones((9, 12))), "raw", "9 × 12"),
    "a column too short": (rewrite("obs/age", np.ones(N - 1)), "obs.age", "its shape is 39"),
    "a column that is not there": (lacking_column, "obs.gone", "gone"),
    "a part of nobody": (lambda f: f.create_group("mine"), "mine", "no part of an AnnData object"),
    "a link to nothing": (
        lambda f: f.__setitem__("uns/link", h5py.SoftLink("/gone")), "uns.link", ""),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "name", "why"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_what_anndata_does_not_read_is_left_out_and_named(edit, name, why, tmp_path):
    """The rest is there, and the result opens though the file does not."""
    path = written(tmp_path / "my.h5ad", edit)
    assert not readable(path)
    adata, (said,) = fitted(path, tmp_path / "out")
    assert said.startswith(f"{name} of {path} is left out of my_vmm.h5ad: ") and why in said
    expected = rich()
    expected.write_h5ad(tmp_path / "whole.h5ad")
    expected = anndata.read_h5ad(tmp_path / "whole.h5ad")
    remove(expected, *name.split("."))
    if edit is lacking_column:
        expected.obs = expected.obs[["donor"]]
    assert_kept(adata, expected)


def remove(adata: anndata.AnnData, part: str, key: str = "", *inner: str) -> None:
    """Remove a part of an AnnData object."""
    if part in ("X", "raw"):
        setattr(adata, part, None)
    elif inner:
        del adata.uns[key][inner[0]][inner[1]]
    elif key and key in getattr(adata, part):
        del getattr(adata, part)[key]
    elif not key and hasattr(adata, part):
        getattr(adata, part).clear()


def test_every_part_that_is_left_out_is_named(tmp_path):
    path = written(tmp_path / "my.h5ad", future("uns/neighbors/names", "obsm/X_pca", "obs/age"))
    _, said = fitted(path, tmp_path / "out")
    assert {line.split(" ")[0] for line in said} == {"uns.neighbors.names", "obsm.X_pca", "obs.age"}


# ------------------------------------------------------------------- where results stand alone


def part_in_another_file(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as second:
        second["data"] = np.ones((N, 3))
    file["obsm/outside"] = h5py.ExternalLink("other.h5", "data")


def virtual(file: h5py.File) -> None:
    part_in_another_file(file)
    del file["obsm/outside"]
    layout = h5py.VirtualLayout(shape=(N, 3), dtype="f8")
    layout[...] = h5py.VirtualSource("other.h5", "data", shape=(N, 3))
    file.create_virtual_dataset("obsm/outside", layout)


def index_named_as_a_result(file: h5py.File) -> None:
    file.move("obs/_index", "obs/vmm_cluster")
    file["obs"].attrs["_index"] = "vmm_cluster"


ALONE = {
    "a link to another file": (part_in_another_file, "some of it lies in other files"),
    "values in another file": (virtual, "some of it lies in other files"),
    "all of the future": (lambda f: f.attrs.__setitem__("encoding-version", FUTURE), FUTURE),
    "a table of the future": (future("obs"), FUTURE),
    "an index with a result's name": (index_named_as_a_result, "are called vmm_cluster"),
    "no list of columns": (lambda f: f["obs"].attrs.__delitem__("column-order"), "column-order"),
}


@pytest.mark.parametrize(("edit", "why"), ALONE.values(), ids=ALONE.keys())
def test_results_that_cannot_be_put_into_a_copy_stand_alone(edit, why, tmp_path):
    path = written(tmp_path / "my.h5ad", edit)
    adata, (said,) = fitted(path, tmp_path / "out")
    assert why in said and "my_vmm.h5ad will have the results alone: obs and obsm." in said
    assert adata.obs_names.tolist() == [f"cell{i}" for i in range(N)]
    assert adata.X is None and {*adata.obsm} == {*OBSM}


def test_results_stand_alone_if_writing_fails_only_in_the_end(tmp_path, monkeypatch):
    path = written(tmp_path / "my.h5ad")
    obs = pd.DataFrame({"vmm_cluster": CLUSTERS}, [f"cell{i}" for i in range(N)])
    with Source(path) as source, ResultFile(tmp_path / "my_vmm.h5ad") as result:
        assert result.begin(source, obs, 4) == []
        monkeypatch.setattr("vmm.cli.result.put", lambda *_: 1 / 0)
        assert result.finish(obs, OBSM) == [
            "my_vmm.h5ad has the results alone, obs and obsm (division by zero)."
        ]
    assert anndata.read_h5ad(tmp_path / "my_vmm.h5ad").obs["vmm_cluster"].tolist() == [*CLUSTERS]


def test_files_of_anndata_before_0_7_become_modern(tmp_path):
    """Their tables are arrays of records, to which no column can be added."""
    path = tmp_path / "old.h5ad"
    names = np.array([f"cell{i}" for i in range(N)], dtype="S8")
    obs = np.zeros(N, dtype=[("index", "S8"), ("donor", "i1"), ("age", "f4")])
    obs["index"], obs["donor"], obs["age"] = names, np.arange(N) % 2, np.arange(N)
    var = np.zeros(12, dtype=[("index", "S8")])
    var["index"] = [f"gene{g}" for g in range(12)]
    with h5py.File(path, "w") as file:
        file.create_dataset("X", data=cells(N).X, compression="gzip")
        file["obs"], file["var"] = obs, var
        file["uns/donor_categories"] = np.array([b"first", b"second"])
        file["obsm"] = np.zeros(N, dtype=[("X_pca", "f4", 3)])
    adata, said = fitted(path, tmp_path / "out")
    assert said == [] and adata.obs["donor"].tolist() == ["first", "second"] * (N // 2)
    assert same(np.asarray(adata.X), cells(N).X) and adata.obsm["X_pca"].shape == (N, 3)
    with h5py.File(tmp_path / "out" / "my_vmm.h5ad") as file:
        assert file["X"].compression == "gzip"


# ------------------------------------------------------------------------- a file that changes


def test_a_file_saved_anew_meanwhile(tmp_path):
    """Results stand beside the cells that were read, in their order."""
    path = written(tmp_path / "my.h5ad")
    other = rich()[::-1].copy()
    other.write_h5ad(tmp_path / "other.h5ad")
    obs = pd.DataFrame({"vmm_cluster": CLUSTERS}, [f"cell{i}" for i in range(N)])
    with Source(path) as source, ResultFile(tmp_path / "my_vmm.h5ad") as result:
        assert not source.changed()
        os.replace(tmp_path / "other.h5ad", path)
        assert source.changed()
        assert result.begin(source, obs, 4) == result.finish(obs, OBSM) == []
    adata = anndata.read_h5ad(tmp_path / "my_vmm.h5ad")
    assert adata.obs_names.tolist() == [f"cell{i}" for i in range(N)]
    assert same(adata.X, rich().X)


def test_a_file_written_to_meanwhile(tmp_path):
    path = written(tmp_path / "my.h5ad")
    with Source(path) as source:
        with h5py.File(path, "r+") as file:
            file["uns/more"] = np.zeros(10_000)
        with pytest.raises(InputError, match=r"my\.h5ad changed while it was read; start again"):
            source.refuse_changed()
        with pytest.raises(InputError, match="changed while it was copied; start again"):
            source.copy(tmp_path / "copy.h5ad")
        path.unlink()
        assert source.changed()


def test_cells_of_other_names_get_no_clusters(tmp_path):
    """Whatever led to it: results are never put in by position."""
    path = written(tmp_path / "my.h5ad")
    adata, (said,) = fitted(path, tmp_path / "out", [f"cell{i}" for i in reversed(range(N))])
    assert "its cells are others" in said
    assert adata.obs_names[0] == "cell39" and adata.obs["vmm_cluster"].iloc[0] == "0"


def test_no_space_is_told_before_the_training(tmp_path, monkeypatch):
    path = written(tmp_path / "my.h5ad")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    obs = pd.DataFrame({"vmm_cluster": CLUSTERS}, [f"cell{i}" for i in range(N)])
    with (
        pytest.raises(InputError, match=r"my_vmm\.h5ad cannot be written: No space left"),
        Source(path) as source,
        ResultFile(tmp_path / "out" / "my_vmm.h5ad") as result,
    ):
        result.begin(source, obs, 4)
    assert list((tmp_path / "out").iterdir()) == []
