"""Counts dense, sparse in memory and on disk are the same counts, and trainings the same."""

from __future__ import annotations

import logging
from dataclasses import replace

import anndata
import h5py
import numpy as np
import pytest
import scipy.sparse
import torch
from room import STORES, room_for
from trainings import SETTINGS, TRAIN, VALID, make_data, make_model, snapshot, without_seconds

from vmm import memory
from vmm.errors import InputError
from vmm.models.counts import put, total
from vmm.models.tensors import CellTensors
from vmm.training.loop import Trainer, fit
from vmm.training.stacked import fit_stacked

N, G = 60, 7


@pytest.fixture(params=STORES)
def store(request, monkeypatch) -> str:
    room_for(monkeypatch, request.param)
    return request.param


@pytest.fixture(params=[9, 300, 70_000, 0.5], ids=["uint8", "int16", "float32", "fractions"])
def counts(request) -> scipy.sparse.csr_matrix:
    values = np.random.default_rng(0).poisson(0.5, (N, G)).astype(float)
    values[3, 4] = request.param
    values[7] = 0
    return scipy.sparse.csr_matrix(values)


def test_rows_are_the_same_in_every_store(counts, store, monkeypatch):
    found = put(counts, "cpu")
    assert type(found) is STORES[store]
    room_for(monkeypatch, "dense")
    dense = put(counts, "cpu")
    assert torch.equal(dense, torch.from_numpy(counts.toarray()).to(dense.dtype))
    indices = (
        torch.tensor([3, 3, 59, 0, 7]),
        torch.tensor([4, 5, 6, 7, 8, 2, 3]),
        torch.arange(N).view(5, 12),
        torch.arange(0),
        torch.tensor(3),
    )
    for index in indices:
        drawn = found[index]
        assert drawn.dtype == dense.dtype
        assert torch.equal(drawn, dense[index])
    assert (len(found), tuple(found.shape)) == (N, (N, G))
    assert total(found) == total(dense)


def test_an_index_may_be_a_stack_of_several(counts, store):
    """As in the validation of stacked trials."""
    found, index = put(counts, "cpu"), torch.arange(12).view(3, 4)
    stacked = torch.func.vmap(lambda rows: found[rows].float() + 1)(index)
    assert torch.equal(stacked, found[index].float() + 1)


def test_more_than_a_slice_of_cells(store):
    counts = scipy.sparse.random(10_000, 3, 0.1, "csr", rng=np.random.default_rng(0))
    found = put(counts, "cpu")
    assert torch.equal(found[torch.arange(10_000)], torch.from_numpy(counts.toarray()).float())


class Lazy:
    """As dask's arrays: computed when asked."""

    def __init__(self, values: np.ndarray):
        self.values, self.shape = values, values.shape

    def __getitem__(self, rows: slice) -> Lazy:
        return Lazy(self.values[rows])

    def compute(self) -> np.ndarray:
        return self.values


@pytest.mark.parametrize(
    "kind", ["dense", "csc", "twice", "lazy", "backed", "backed csc", "backed dense"]
)
def test_counts_of_any_kind(kind, store, tmp_path):
    counts = scipy.sparse.csr_matrix(np.random.default_rng(0).poisson(0.5, (N, G)))
    values = torch.from_numpy(counts.toarray())
    given = counts
    if kind == "twice":
        halves = counts.data // 2, counts.data - counts.data // 2
        indices = np.repeat(counts.indices, 2)
        given = scipy.sparse.csr_matrix((np.stack(halves, 1).ravel(), indices, 2 * counts.indptr))
        before = given.nnz
    elif kind.endswith("csc"):
        given = counts.tocsc()
    elif kind.endswith("dense"):
        given = counts.toarray()
    if kind == "lazy":
        given = Lazy(counts.toarray())
    if kind.startswith("backed"):
        anndata.AnnData(given.astype(np.float32)).write_h5ad(tmp_path / "my.h5ad")
        adata = anndata.read_h5ad(tmp_path / "my.h5ad", backed="r")
        assert isinstance(adata.X, h5py.Dataset) or not scipy.sparse.issparse(adata.X)
        given = adata.X
    assert torch.equal(put(given, "cpu")[torch.arange(N)], values)
    if kind == "twice":
        assert given.nnz == before, "the user's matrix is left alone"


def test_the_way_is_chosen_by_the_memory_and_the_log_says_so(monkeypatch, caplog):
    counts = scipy.sparse.random(1000, 200, 0.02, "csr", rng=np.random.default_rng(0))
    counts.data[:] = 1
    dense, sparse = 1000 * 200, counts.nnz * 5
    assert sparse < dense / 5
    for host, expected, said in (
        (2 * dense, "dense", ""),
        (2 * dense - 1, "sparse", "Counts stay sparse in the host's memory: as a dense"),
        (2 * sparse, "sparse", "0.0 GB of cpu are free. Results are the same"),
        (2 * sparse - 1, "disk", "Counts stay on disk, in /"),
    ):
        caplog.clear()
        monkeypatch.setattr(memory, "free_memory", lambda device="cpu", host=host: float(host))
        with caplog.at_level(logging.WARNING):
            assert type(put(counts, "cpu")) is STORES[expected]
        assert said in caplog.text and len(caplog.records) == (expected != "dense")
    assert "; sparse they take 0.0 GB, and 0.0 GB of the host's memory are. Results" in caplog.text


def test_a_disk_without_room_is_told(monkeypatch):
    room_for(monkeypatch, "disk")
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 9}))
    with pytest.raises(InputError, match=r"do not fit into memory take 0.0 GB of disk, and /"):
        put(scipy.sparse.csr_matrix(np.ones((N, G))), "cpu")


def cells(store: str, monkeypatch: pytest.MonkeyPatch) -> tuple[CellTensors, np.ndarray]:
    """Return cells whose counts are kept so, and their labels."""
    room_for(monkeypatch, "dense")
    data, labels = make_data("cells")
    matrix = scipy.sparse.csr_matrix(data.counts.numpy())
    room_for(monkeypatch, store)
    again = CellTensors(matrix, data.codes.numpy(), 2)
    assert type(again.counts) is STORES[store]
    return again, labels


@pytest.mark.parametrize("prior", ["vmm", "normal"])
def test_trainings_are_the_same_to_the_bit(prior, store, monkeypatch):
    states, histories = [], []
    for used in ("dense", store):
        data, labels = cells(used, monkeypatch)
        model = make_model("cells", prior)
        result = fit(model, data, TRAIN, VALID, SETTINGS, labels=labels)
        states.append(snapshot(model))
        histories.append(without_seconds(result))
    assert histories[0] == histories[1]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_stacked_trainings_are_the_same_to_the_bit(store, monkeypatch):
    """Each trial draws rows of its own, of a split of its own."""
    splits = [(TRAIN, VALID), (np.arange(20, 120), np.arange(20))]
    settings = [replace(SETTINGS, seed=seed) for seed in (0, 1)]
    states, histories = [], []
    for used in ("dense", store):
        data, labels = cells(used, monkeypatch)
        models = [make_model("cells", "vmm", seed) for seed in (0, 1)]
        results = fit_stacked(models, data, splits, settings, labels)
        states.append([snapshot(model) for model in models])
        histories.append([without_seconds(result) for result in results])
    assert histories[0] == histories[1] and histories[0][0] != histories[0][1]
    for first, second in zip(*states, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", ["sparse", "disk"])
def test_a_thread_gets_the_rows_of_the_next_batches(name, monkeypatch):
    data, labels = cells(name, monkeypatch)
    trainer = Trainer(make_model("cells", "normal"), data, TRAIN, VALID, SETTINGS, labels)
    read, kept = [], data.counts._dense
    monkeypatch.setattr(data.counts, "_dense", lambda rows: read.append(rows) or kept(rows))
    draws = trainer.draws()
    rows = [next(draws)[0]]
    data.batch(rows[0])
    rows += [drawn[0] for drawn in draws]
    for own in rows[1:]:
        data.batch(own)
    assert len(read) == len(rows) == 5, "each is read once"
    assert all(np.array_equal(one, own.numpy()) for one, own in zip(read, rows, strict=True))
    next(trainer.draws())  # an epoch that ends early
    trainer.train()
    trainer.validate()


def test_an_error_of_the_disk_ends_the_training(monkeypatch):
    data, labels = cells("disk", monkeypatch)
    trainer = Trainer(make_model("cells", "normal"), data, TRAIN, VALID, SETTINGS, labels)
    data.counts._file.close()
    with pytest.raises(ValueError, match="closed file"):
        trainer.train()
