"""Memory and time follow from cells × genes: as prepared, of the user's file, or a guess."""

import warnings

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.resources import (
    NEEDS,
    PACES,
    ROOM,
    SLOWER,
    UNKNOWN,
    UNPREPARED,
    Size,
    epochs,
    memory_mb,
    runtime_minutes,
    size_of,
)
from vmm.io import write_json


@pytest.fixture
def file(tmp_path):
    counts = csr_matrix(np.ones((30, 12), dtype=np.float32))
    adata = anndata.AnnData(X=np.ones((30, 12), dtype=np.float32), layers={"counts": counts})
    adata.raw = adata
    path = tmp_path / "my.h5ad"
    adata[:, :9].write_h5ad(path)
    return path


@pytest.mark.parametrize(
    ("layer", "genes"), [(None, 9), ("counts", 9), ("raw", 12)], ids=["dense X", "layer", "raw"]
)
def test_the_size_of_a_users_file_is_read_from_its_header(file, tmp_path, layer, genes):
    settings = {"path": str(file), "layer": layer}
    absent = tmp_path / "no.json"
    assert size_of("prepare", absent, settings) == (30, genes)
    assert size_of("train", absent, settings) == (30, genes)
    assert size_of("train", absent, settings | {"n_top_genes": 5}) == (30, 5)
    assert size_of("prepare", absent, settings | {"n_top_genes": 5}) == (30, genes)


def test_of_modalities_the_one_with_the_counts_is_the_size(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = {
            "rna": anndata.AnnData(np.ones((30, 12))),
            "atac": anndata.AnnData(np.ones((30, 40))),
        }
        mudata.MuData(parts).write_h5mu(tmp_path / "my.h5mu")
    settings = {"path": str(tmp_path / "my.h5mu")}
    absent = tmp_path / "no.json"
    assert size_of("prepare", absent, settings) == (30, 12)
    assert size_of("prepare", absent, settings | {"modality": "atac"}) == (30, 40)
    assert size_of("prepare", absent, settings | {"modality": "adt"}) == UNPREPARED
    both = settings | {"modality": None, "peaks": "atac"}
    assert size_of("prepare", absent, both) == (30, 52)
    assert size_of("train", absent, both | {"n_top_genes": 5}) == (30, 45)
    # No modality is called rna: it is the one that is not beside.
    assert size_of("prepare", absent, settings | {"peaks": "rna"}) == (30, 52)


@pytest.mark.parametrize("table", [False, True])
def test_what_is_in_obsm_counts_too(table, tmp_path):
    adata = anndata.AnnData(np.ones((30, 12)))
    peaks = csr_matrix(np.ones((30, 40)))
    adata.obsm["atac"] = pd.DataFrame(peaks.toarray(), adata.obs_names) if table else peaks
    if table:
        adata.obsm["atac"].columns = [f"peak {i}" for i in range(40)]
    adata.write_h5ad(tmp_path / "my.h5ad")
    settings = {"path": str(tmp_path / "my.h5ad"), "peaks": "atac"}
    assert size_of("prepare", tmp_path / "no.json", settings) == (30, 52)
    assert size_of("prepare", tmp_path / "no.json", settings | {"peaks": "no"}) == UNPREPARED
    description = tmp_path / "data.json"
    write_json(description, {"n_cells": 30, "n_genes": 10, "n_peaks": 39})
    assert size_of("train", description, settings) == (30, 49)


def test_the_size_of_a_zarr_store_is_read_too(file, tmp_path):
    anndata.read_h5ad(file).write_zarr(tmp_path / "my.zarr")
    settings = {"path": str(tmp_path / "my.zarr"), "layer": "counts"}
    assert size_of("prepare", tmp_path / "no.json", settings) == (30, 9)


def test_what_was_prepared_counts_more_than_the_file(file, tmp_path):
    description = tmp_path / "my.json"
    write_json(description, {"n_cells": 28, "n_genes": 7})
    assert size_of("train", description, {"path": str(file)}) == (28, 7)
    assert size_of("prepare", description, {"path": str(file)}) == (30, 9)


def test_of_data_that_are_not_here_a_size_is_guessed(tmp_path):
    (tmp_path / "broken.h5ad").write_bytes(b"no file of AnnData")
    (tmp_path / "empty.json").touch()
    assert size_of("train", tmp_path / "empty.json", {}) == UNKNOWN
    for settings in ({}, {"path": None}, {"path": str(tmp_path / "broken.h5ad")}):
        assert size_of("train", tmp_path / "no.json", settings) == UNKNOWN
        assert size_of("prepare", tmp_path / "no.json", settings) == UNPREPARED


def test_memory_grows_with_cells_times_genes():
    small, large = Size(1_000, 10), Size(1_000_000, 2_000)
    for work, need in NEEDS.items():
        base = 1000 * ROOM * need.gb
        assert base <= memory_mb(work, small) < 1.1 * base
        grown = need.per_count * 2_000 + need.per_cell
        assert memory_mb(work, large) == pytest.approx(base + ROOM * grown, abs=1)


def test_scanorama_asks_for_more_as_far_as_it_is_tried():
    """The others grow with the cells, it with their square."""
    most = METHODS["cells"]["scanorama"].most_cells
    for cells, more in ((1_000, False), (most, True), (most + 1, False)):
        size = Size(cells, 2_000)
        without = memory_mb("baselines", size, ["pca", "harmony"])
        assert without == memory_mb("baselines", size)
        asked = memory_mb("baselines", size, ["pca", "harmony", "scanorama"])
        assert (asked > 1.5 * without) == more
        assert memory_mb("train", size, ["scanorama"]) == memory_mb("train", size)


@pytest.mark.parametrize(("size", "seconds"), [((3005, 558), 0.173), ((11_990, 3346), 2.36)])
def test_the_time_of_an_epoch_is_what_was_measured(size, seconds):
    """As docs/benchmarks.md has it; asked for is a multiple."""
    minutes = runtime_minutes("train", Size(*size), 100_000)
    assert minutes == pytest.approx(SLOWER * 100_000 * seconds / 60, rel=0.05)


def test_time_grows_with_cells_genes_and_epochs_from_a_floor_on():
    small, large = Size(1_000, 100), Size(1_000_000, 2_000)
    for work, pace in PACES.items():
        assert runtime_minutes(work, small, 2) == pace.minutes
        once, twice = (runtime_minutes(work, large, times) for times in (500, 1000))
        assert once > 2 * pace.minutes and twice == pytest.approx(2 * once, abs=1)
    more = runtime_minutes("train", Size(2_000_000, 2_000), 500)
    assert more == pytest.approx(2 * runtime_minutes("train", large, 500), abs=1)
    assert runtime_minutes("train", Size(1_000_000, 4_000), 500) > 1.5 * more / 2


def test_what_compares_cells_takes_the_time_of_a_sample_of_them():
    for work in ("evaluate_integration", "mde"):
        of_sample, of_all = (
            runtime_minutes(work, Size(500_000, 2_000), 100, compared)
            for compared in (50_000, None)
        )
        assert of_all > 5 * of_sample
        few = Size(20_000, 2_000)
        assert runtime_minutes(work, few, 100, 50_000) == runtime_minutes(work, few, 100)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((10_000, 100, 128, 3_005), 526),  # the best after 426, and the patience
        ((10_000, 100, 512, 1_000_000), 106),
        ((150, 100, 128, 3_005), 150),
        ((150, None, 128, 1_000_000), 150),
        ((10_000, 100, None, 3_005), 526),  # the batch size is tuned
    ],
)
def test_a_training_ends_when_it_is_out_of_patience(given, expected):
    assert epochs(*given) == expected
