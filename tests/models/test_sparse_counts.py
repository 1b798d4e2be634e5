"""Counts that do not fit as a dense matrix stay sparse, and nothing else changes."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import scipy.sparse
import torch
from trainings import SETTINGS, TRAIN, VALID, make_data, make_model

from vmm.models import counts as module
from vmm.models.counts import SparseCounts, free_memory, put, total
from vmm.models.tensors import CellTensors
from vmm.training.loop import fit

N, G = 60, 7
NO_ROOM = 100.0


@pytest.fixture(params=[9, 300, 70_000, 0.5], ids=["uint8", "int16", "float32", "fractions"])
def counts(request) -> scipy.sparse.csr_matrix:
    values = np.random.default_rng(0).poisson(0.5, (N, G)).astype(float)
    values[3, 4] = request.param
    return scipy.sparse.csr_matrix(values)


def test_rows_of_sparse_counts_are_those_of_dense_ones(counts):
    dense, sparse = put(counts, "cpu"), SparseCounts(counts, "cpu")
    assert isinstance(dense, torch.Tensor)
    for index in (torch.tensor([3, 3, 59, 0]), torch.arange(N).view(5, 12), torch.arange(0)):
        drawn = sparse[index]
        assert drawn.dtype == dense.dtype
        assert torch.equal(drawn, dense[index])
    assert len(sparse) == len(dense)
    assert total(sparse) == total(dense)


def test_what_does_not_fit_stays_sparse_and_the_log_says_so(counts, monkeypatch, caplog):
    size = put(counts, "cpu").nbytes
    monkeypatch.setattr(module, "free_memory", lambda device: 2.0 * size)
    assert isinstance(put(counts, "cpu"), torch.Tensor)
    monkeypatch.setattr(module, "free_memory", lambda device: 2.0 * size - 1)
    with caplog.at_level(logging.WARNING):
        assert isinstance(put(counts, "cpu"), SparseCounts)
    assert "Counts stay sparse in the host's memory" in caplog.text


def test_a_training_from_sparse_counts_is_that_from_dense_ones_to_the_bit(monkeypatch):
    data, labels = make_data("cells")
    assert isinstance(data.counts, torch.Tensor)
    matrix = scipy.sparse.csr_matrix(data.counts.numpy())
    states = []
    for free in (float("inf"), NO_ROOM):
        monkeypatch.setattr(module, "free_memory", lambda device, free=free: free)
        again = CellTensors(matrix, data.codes.numpy(), 2)
        assert isinstance(again.counts, SparseCounts) == (free == NO_ROOM)
        model = make_model("cells", "vmm")
        fit(model, again, TRAIN, VALID, SETTINGS, labels=labels)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_limit_of_the_process_counts(tmp_path, monkeypatch):
    """Of a job of Slurm or a container, as the kernel writes it: with what it can take back."""
    inner = tmp_path / "slurm" / "job"
    inner.mkdir(parents=True)
    for folder, most, used, cached in ((tmp_path / "slurm", "9000", 6000, 0), (inner, "max", 0, 0)):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")
    monkeypatch.setattr(module, "_own_group", lambda: "slurm/job")
    assert module._left_to_group(tmp_path) == 3000
    (inner / "memory.max").write_text("2000\n")
    (inner / "memory.current").write_text("1500\n")
    (inner / "memory.stat").write_text("inactive_file 1000\n")
    assert module._left_to_group(tmp_path) == 1500
    (inner / "memory.max").write_text("nonsense\n")
    assert module._left_to_group(tmp_path) is None


def test_free_memory_is_known_or_without_limit(monkeypatch):
    assert free_memory("cpu") > 0
    for name in ("_available", "_left_to_group"):
        monkeypatch.setattr(module, name, lambda: None)
    assert free_memory("cpu") == float("inf")
