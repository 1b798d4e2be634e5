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

from vmm import memory
from vmm.data import anndata_parts, blocks, prepare
from vmm.data.columns import ByColumns
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


def in_blocks(monkeypatch: pytest.MonkeyPatch, values: int = 700, room: bool = True) -> None:
    """Read in blocks of so many values, where memory has room for the counts, or has none."""
    monkeypatch.setattr(anndata_parts, "LARGE", 0)
    monkeypatch.setattr(blocks, "VALUES", values)
    monkeypatch.setattr(memory, "fits", lambda n_bytes, device="cpu": room)


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


def by_columns(adata: anndata.AnnData) -> None:
    adata.X = adata.X.tocsc()


def plain(adata: anndata.AnnData) -> None:
    pass


@pytest.mark.parametrize("n_top_genes", [None, 40])
@pytest.mark.parametrize(
    ("form", "room"),
    [(form, True) for form in (plain, with_zeros, dense, unsorted)]
    + [(form, False) for form in (plain, dense, by_columns)],
)
def test_prepared_cells_are_the_same_from_blocks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: Callable[[anndata.AnnData], None],
    room: bool,
    n_top_genes: int | None,
) -> None:
    adata = simulated()
    form(adata)
    path = tmp_path / "my.h5ad"
    adata.write_h5ad(path)
    whole = prepared(path, tmp_path, n_top_genes=n_top_genes)
    content = out(tmp_path)[0].read_bytes()
    assert not isinstance(read_h5ad(path).counts, blocks.Stored)
    in_blocks(monkeypatch, room=room)
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


def test_columns_are_read_at_once_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata, path = simulated(), tmp_path / "my.h5ad"
    by_columns(adata)
    adata.write_h5ad(path)
    adata.write_zarr(tmp_path / "my.zarr")
    in_blocks(monkeypatch)
    assert sp.issparse(read_h5ad(path).counts)
    in_blocks(monkeypatch, room=False)
    for place in (path, tmp_path / "my.zarr"):
        stored = read_h5ad(place).counts
        assert isinstance(stored, ByColumns)
        for _ in range(2):  # of which the second has them sorted already
            parts = dict(stored.blocks())
            assert list(parts) == stored.bounds[:-1].tolist() and len(parts) > 5
            assert (sp.vstack(list(parts.values())) != adata.X).nnz == 0
        assert (stored.to_memory() != adata.X).nnz == 0


def test_cells_beyond_the_memory_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, with all genes but one that is dropped, far below one copy of the counts.

    NumPy writes 16 MiB of an array at once.
    """
    random = np.random.default_rng(0)
    counts = sp.random(8000, 2500, 0.4, "csr", np.float32, random, data_rvs=lambda n: np.ones(n))
    counts.data[counts.indices == 3] = 0
    obs = pd.DataFrame({"batch": "a", "type": "b"}, [f"c{i}" for i in range(8000)])
    obs.iloc[::2] = "c"
    path, size = tmp_path / "my.h5ad", counts.nnz * 8
    anndata.AnnData(counts, obs).write_h5ad(path)
    whole = prepared(path, tmp_path)
    content = out(tmp_path)[0].read_bytes()
    in_blocks(monkeypatch, values=50_000, room=False)
    tracemalloc.start()
    assert prepared(path, tmp_path) == whole
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert out(tmp_path)[0].read_bytes() == content
    assert whole["selection"]["genes_dropped"] == 1
    assert peak < 0.4 * size and size > 60e6


def test_damage_within_columns_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my.h5ad"
    adata = simulated()
    by_columns(adata)
    for part, value in (("indices", 240), ("indptr", -5)):
        adata.write_h5ad(path)
        with h5py.File(path, "r+") as file:
            file["X"][part][50] = value
        in_blocks(monkeypatch, room=False)
        with pytest.raises(InputError, match=r"X of .*my.h5ad is damaged, its sparse matrix con"):
            prepared(path, tmp_path)


@pytest.mark.parametrize("room", [True, False])
def test_rounding_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool) -> None:
    adata, path = simulated(), tmp_path / "my.h5ad"
    adata.X = adata.X * np.float32(0.93)
    adata.write_h5ad(path)
    found = {}
    for where in ("at once", "in blocks"):
        counts = blocks.Counts(read_h5ad(path), adata.obs_names, adata.var_names, rounded=True)
        codes = np.arange(adata.n_obs) % 2
        found[where] = blocks.chosen_counts(counts, codes, 40)
        in_blocks(monkeypatch, room=room)
    (whole, genes, notes), (parts, same, told) = found.values()
    assert (whole != parts).nnz == 0 and (genes == same).all()
    assert notes == told and len(notes) == 1 and "were rounded to the nearest" in notes[0]
    assert (whole != np.rint(adata.X)[:, genes]).nnz == 0
    adata.X = sp.csr_matrix(adata.X / adata.X.sum(1))
    adata.write_h5ad(path)
    counts = blocks.Counts(read_h5ad(path), adata.obs_names, adata.var_names, rounded=True)
    with pytest.raises(InputError, match=r"X of .* cannot be rounded to counts: they are normal"):
        blocks.chosen_counts(counts, np.zeros(240, int), None)


def large(path: Path) -> tuple[anndata.AnnData, int]:
    """Write many cells; return them, and the bytes that their matrix takes."""
    random = np.random.default_rng(0)
    counts = sp.random(8000, 500, 0.4, "csr", np.float32, random, data_rvs=lambda n: np.ones(n))
    adata = anndata.AnnData(counts)
    adata.write_h5ad(path)
    return adata, counts.nnz * 8


def test_counts_beyond_the_memory_stay_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "my.h5ad"
    adata, size = large(path)
    in_blocks(monkeypatch, values=20_000, room=False)
    counts = blocks.Counts(read_h5ad(path), adata.obs_names, adata.var_names)
    tracemalloc.start()
    found = counts.of(np.ones(500, dtype=bool))
    blocks.as_floats(found)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.dtype == np.float32 and abs(found - adata.X).sum() == 0
    assert peak < 0.15 * size and size > 12e6


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
    path = tmp_path / "my.h5ad"
    adata, size = large(path)
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
