"""Counts that stay in their file give what counts in memory give, to the bit."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from vmm.data import anndata_parts, blocks, prepare
from vmm.data.h5ad import read_h5ad
from vmm.errors import InputError
from vmm.io import read_json

SETTINGS = {"kind": "cells", "batch_key": "batch", "label_key": "type"}


def simulated(n_cells: int = 240, n_genes: int = 90) -> anndata.AnnData:
    random = np.random.default_rng(0)
    rates = np.exp(random.normal(-0.5, 1.2, n_genes))[None, :].repeat(n_cells, axis=0)
    rates[: n_cells // 2, :20] *= 6
    rates[:, -4:] = 0.001
    obs = {"batch": np.tile(["a", "b", "c"], n_cells // 3), "type": np.arange(n_cells) // 60 + 1}
    return anndata.AnnData(
        sp.csr_matrix(random.poisson(rates).astype(np.float32)),
        obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(n_cells)]).astype(str),
        var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]),
    )


def in_blocks(monkeypatch: pytest.MonkeyPatch, values: int = 700) -> None:
    monkeypatch.setattr(anndata_parts, "LARGE", 0)
    monkeypatch.setattr(blocks, "VALUES", values)


def prepared(path: Path, folder: Path, **settings) -> dict:
    prepare("mine", SETTINGS | {"path": str(path)} | settings, None, folder, *out(folder))
    return read_json(out(folder)[1])


def out(folder: Path) -> tuple[Path, Path]:
    return folder / "cells.npz", folder / "cells.json"


def with_zeros(adata: anndata.AnnData) -> None:
    """Some zeros are stored."""
    adata.X.data[::7] = 0


def dense(adata: anndata.AnnData) -> None:
    adata.X = adata.X.toarray()


def unsorted(adata: anndata.AnnData) -> None:
    """The genes of a cell are in another order."""
    matrix = adata.X
    for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        matrix.indices[start:stop] = matrix.indices[start:stop][::-1]
        matrix.data[start:stop] = matrix.data[start:stop][::-1]
    matrix.has_sorted_indices = False


@pytest.mark.parametrize("n_top_genes", [None, 40])
@pytest.mark.parametrize("form", [lambda adata: None, with_zeros, dense, unsorted])
def test_prepared_cells_are_the_same_from_blocks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: Callable[[anndata.AnnData], None],
    n_top_genes: int | None,
) -> None:
    adata = simulated()
    form(adata)
    path = tmp_path / "my.h5ad"
    adata.write_h5ad(path)
    whole = prepared(path, tmp_path, n_top_genes=n_top_genes)
    content = out(tmp_path)[0].read_bytes()
    assert not isinstance(read_h5ad(path).counts, blocks.Stored)
    in_blocks(monkeypatch)
    stored = read_h5ad(path).counts
    assert isinstance(stored, blocks.Stored) and len(stored.bounds) > 5
    assert prepared(path, tmp_path, n_top_genes=n_top_genes) == whole
    assert out(tmp_path)[0].read_bytes() == content
    assert whole["selection"]["genes_dropped"] == (4 if n_top_genes is None else 0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_modality_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mudata = pytest.importorskip("mudata")
    adata = simulated()
    parts = {"rna": adata, "protein": adata[5:, :6].copy()}
    mudata.MuData(parts).write_h5mu(tmp_path / "my.h5mu")
    in_blocks(monkeypatch)
    counts = read_h5ad(tmp_path / "my.h5mu", modality="rna").counts
    assert isinstance(counts, blocks.Stored)
    assert (counts.to_memory() != adata.X).nnz == 0
    both = read_h5ad(tmp_path / "my.h5mu", modality="rna", beside={"proteins": "protein"})
    assert (both.counts != adata.X[5:]).nnz == 0  # of the cells that have proteins
    assert (both.beside["proteins"].counts != adata.X[5:, :6]).nnz == 0


def test_a_layer_and_raw_are_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata, path = simulated(), tmp_path / "my.h5ad"
    counts = adata.X.toarray()
    adata.layers["counts"], adata.raw = adata.X * 2, adata.copy()
    adata.X = adata.X.log1p()
    adata.write_h5ad(path, compression="gzip")
    in_blocks(monkeypatch)
    for layer, expected in (("counts", 2 * counts), ("raw", counts)):
        stored = read_h5ad(path, layer).counts
        assert isinstance(stored, blocks.Stored)
        np.testing.assert_array_equal(stored.to_memory().toarray(), expected)
    with pytest.raises(InputError, match=r"are not integers .* in these [0-9]+ cells"):
        prepared(path, tmp_path)


def test_what_is_no_count_is_named_by_its_place_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata, path = simulated(), tmp_path / "my.h5ad"
    adata.X[200, 5] = -3
    adata.write_h5ad(path)
    in_blocks(monkeypatch)
    for n_top_genes in (None, 40):
        with pytest.raises(InputError, match=r"negative values .first: -3 at cell 200, 'c200', ge"):
            prepared(path, tmp_path, n_top_genes=n_top_genes)
    assert not out(tmp_path)[0].exists()


def test_damage_within_a_block_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my.h5ad"
    simulated().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["X/indices"][3000] = 90
    in_blocks(monkeypatch)
    with pytest.raises(InputError, match=r"X of .*my.h5ad is damaged, its sparse matrix contradi"):
        prepared(path, tmp_path)


def test_all_zero_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adata, path = simulated(), tmp_path / "my.h5ad"
    adata.X.data[:] = 0
    adata.write_h5ad(path)
    in_blocks(monkeypatch)
    with pytest.raises(InputError, match=r"all counts in X of .* are zero"):
        prepared(path, tmp_path)


def test_unwanted_genes_are_never_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak is far below one copy of the file's matrix, and below two of the result."""
    random = np.random.default_rng(0)
    adata = anndata.AnnData(
        sp.random(8000, 500, 0.4, "csr", np.float32, random, data_rvs=lambda n: np.ones(n))
    )
    path, size = tmp_path / "my.h5ad", adata.X.nnz * 8
    adata.write_h5ad(path)
    in_blocks(monkeypatch, values=20_000)
    raw = read_h5ad(path)
    wanted = np.arange(500) % 10 == 0
    counts = blocks.Counts(raw, adata.obs_names, adata.var_names)
    tracemalloc.start()
    found = counts.of(wanted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(found - adata.X[:, wanted]).sum() == 0
    assert peak < 0.35 * size and size > 12e6


def test_progress_tells_how_many_cells_were_read(capsys: pytest.CaptureFixture[str]) -> None:
    from vmm.progress import counted

    with counted("Reading X", 20, "cells", interval=0) as advance:
        advance(5)
        advance(15)
    assert capsys.readouterr().err.splitlines() == [
        "Reading X: 5 of 20 cells",
        "Reading X: 20 of 20 cells",
    ]


@pytest.mark.parametrize("form", [lambda adata: None, dense])
def test_a_zarr_store_is_read_like_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[[anndata.AnnData], None]
) -> None:
    adata, path, store = simulated(), tmp_path / "my.h5ad", tmp_path / "my.zarr"
    form(adata)
    adata.write_h5ad(path)
    adata.write_zarr(store)
    of_file = prepared(path, tmp_path, n_top_genes=40)["content_sha256"]
    whole = prepared(store, tmp_path, n_top_genes=40)
    in_blocks(monkeypatch)
    assert isinstance(read_h5ad(store).counts, blocks.Stored)
    assert prepared(store, tmp_path, n_top_genes=40) == whole
    assert whole["content_sha256"] == of_file
    assert whole["files"][0]["name"] == "my.zarr" and len(whole["files"][0]["sha256"]) == 64


def test_a_zarr_store_that_is_no_anndata_is_told(tmp_path: Path) -> None:
    import zarr

    store = tmp_path / "my.zarr"
    zarr.open_group(store, mode="w").create_group("images")
    with pytest.raises(InputError, match=r"is not a zarr store of anndata .no obs, var in"):
        read_h5ad(store)
