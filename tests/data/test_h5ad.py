from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from small_cells import made

from vmm.data.anndata_parts import from_anndata
from vmm.data.h5ad import read_h5ad
from vmm.errors import InputError


def dense(matrix) -> np.ndarray:
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    adata = made()
    counts = adata.X.toarray()
    adata.X = adata.X.log1p()
    adata.raw = anndata.AnnData(
        sp.csr_matrix(counts[:, ::-1] + 1), obs=adata.obs, var=pd.DataFrame(index=list("ZYXW"))
    )
    path = tmp_path / "my.h5ad"
    adata.write_h5ad(path)
    for layer, expected, genes, where in (
        (None, np.log1p(counts), "WXYZ", "X of "),
        ("counts", counts, "WXYZ", "layer 'counts' of "),
        ("raw", counts[:, ::-1] + 1, "ZYXW", "raw.X of "),
    ):
        for raw in (read_h5ad(path, layer), from_anndata(adata, layer, str(path))):
            np.testing.assert_allclose(dense(raw.counts), expected)
            assert "".join(raw.genes) == genes and raw.where == where + str(path)
            assert raw.obs["cell_type"].tolist() == ["T", "B", "B", "T", "B", "B"]
    assert (
        read_h5ad(path).hint == "; give `layer: counts` or `layer: raw`, which have whole numbers"
    )
    with pytest.raises(
        InputError, match="no layer 'cuonts' for `layer:`; its layers are counts, or"
    ):
        read_h5ad(path, "cuonts")


def test_files_by_old_writers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.h5ad"
    made().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name in ("obs", "layers", "layers/counts"):
            for key in ("encoding-type", "encoding-version"):
                file[name].attrs.pop(key, None)
        file["layers/counts"].attrs["h5sparse_format"] = "csr"
        file["layers/counts"].attrs["h5sparse_shape"] = (6, 4)
        file["layers/counts"].attrs.pop("shape")
    with pytest.warns(anndata.OldFormatWarning):
        raw = read_h5ad(path, "counts")
    np.testing.assert_array_equal(dense(raw.counts), made().X.toarray())
    assert raw.obs["batch"].tolist() == ["a", "b"] * 3


def test_a_backed_object_and_a_view_are_read(tmp_path: Path) -> None:
    path = tmp_path / "my.h5ad"
    made().write_h5ad(path)
    backed = anndata.read_h5ad(path, backed="r")
    np.testing.assert_array_equal(
        from_anndata(backed).counts.to_memory().toarray(), made().X.toarray()
    )
    view = from_anndata(made()[::2, :2])
    assert view.genes == ["W", "X"] and view.counts.shape == (3, 2)


def test_what_else_would_do_is_named(tmp_path: Path) -> None:
    """By its values, dense, sparse or backed; a layer's name alone says nothing."""
    path = tmp_path / "my.h5ad"
    counts = made().X.toarray()

    def hints(x, layer=None, raw=None, **layers) -> set[str]:
        adata = made()
        adata.X, adata.layers = x, layers
        adata.raw = None if raw is None else anndata.AnnData(raw, obs=adata.obs, var=adata.var)
        adata.write_h5ad(path)
        backed = anndata.read_h5ad(path, backed="r")
        raws = read_h5ad(path, layer), from_anndata(adata, layer), from_anndata(backed, layer)
        backed.file.close()
        return {raw.hint for raw in raws}

    logs, scaled = np.log1p(counts), counts - 1
    assert hints(logs) == {"; give raw counts (there is no other layer)"}
    assert hints(scaled, counts=logs, log=sp.csr_matrix(logs)) == {
        "; give raw counts (of what else there is, counts, log, none has whole numbers)"
    }
    one = "; give `layer: umis`, which has whole numbers"
    assert hints(scaled, log=logs, umis=sp.csc_matrix(counts), zero=counts * 0) == {one}
    assert hints(logs, umis=counts) == {one}
    assert hints(logs, raw=counts) == {"; give `layer: raw`, which has whole numbers"}
    assert hints(counts, "log", log=logs) == {"; leave `layer:` out: X has whole numbers"}


def test_parts_that_nobody_needs_may_be_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "my.h5ad"
    adata = made()
    adata.var["kind"] = "gene"
    adata.obs["odd"] = 1.0
    adata.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name in ("obs/odd", "var/kind"):
            file[name].attrs["encoding-version"] = "99.0"
    raw = read_h5ad(path, columns=["batch"])
    assert raw.genes == list("WXYZ") and "odd" not in raw.obs
    pd.testing.assert_frame_equal(raw.obs, made().obs, check_dtype=False, check_categorical=False)
    for columns in (["batch", "odd"], None):
        with pytest.raises(InputError, match="cannot be read"):
            read_h5ad(path, columns=columns)


def test_near_relatives_of_h5ad_files(tmp_path: Path) -> None:
    """They are told how to become one."""
    path = tmp_path / "my.h5"
    with h5py.File(path, "w") as file:
        file["matrix/barcodes"] = 1
    with pytest.raises(InputError, match=r"Cell Ranger; convert it: scanpy.read_10x_h5\('"):
        read_h5ad(path)


def test_files_that_are_not_anndata(tmp_path: Path) -> None:
    path = tmp_path / "my.h5ad"
    with pytest.raises(InputError, match="does not exist"):
        read_h5ad(path)
    with pytest.raises(InputError, match="is not a file"):
        read_h5ad(tmp_path)
    path.write_text("gene,count\n")
    with pytest.raises(InputError, match="not HDF5 at all"):
        read_h5ad(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="no obs, var in it"):
        read_h5ad(path)
    made(60).write_h5ad(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_h5ad(path)
    adata = made()
    adata.X = None
    adata.write_h5ad(path)
    with pytest.raises(InputError, match=r"has no X; name the layer .* \(there are counts\)"):
        read_h5ad(path)


@pytest.mark.parametrize(
    ("name", "shape", "n_batches", "n_types"),
    [
        ("pbmc_3tech_symphony", (1500, 1764), 3, 9),
        ("kang_ctrl_8donors", (12261, 1287), 8, 8),
        ("pbmc8k4k_scvi_390genes", (2545, 390), 2, 9),
        ("pbmc4k_scvi_labels", (1977, 4060), 1, 9),
        ("zeisel_3005x200", (3005, 200), 1, 7),
        ("mixology_3protocols_3lines", (1345, 889), 3, 3),
    ],
)
def test_the_real_files(
    shared_data: Path, name: str, shape: tuple, n_batches: int, n_types: int
) -> None:
    path = shared_data / "cells" / f"{name}.h5ad"
    raw = read_h5ad(path)
    assert raw.counts.shape == shape == (len(raw.obs), len(raw.genes))
    assert raw.obs["batch"].nunique() == n_batches and raw.obs["cell_type"].nunique() == n_types
    with h5py.File(path) as file:
        assert raw.counts.sum(dtype=np.int64) == file["X/data"][:].sum(dtype=np.int64) > 0
