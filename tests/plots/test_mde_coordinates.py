"""MDE: reproducible, leaves the process as it was, keeps neighbours, aligned."""

import logging
import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from vmm.errors import InputError
from vmm.plots.mde import align, compute_mde, mde_coordinates


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    centres = rng.normal(0, 8, (4, 6))
    return (centres[labels] + rng.normal(0, 1, (200, 6))).astype(np.float32), labels


def test_same_seed_gives_the_same_bits_whatever_the_global_state(blobs):
    np.random.seed(1)
    torch.manual_seed(1)
    first = compute_mde(blobs[0], seed=3)
    np.random.seed(2)
    torch.manual_seed(2)
    assert np.array_equal(first, compute_mde(blobs[0], seed=3))
    assert first.shape == (200, 2) and first.dtype == np.float32
    np.testing.assert_allclose(np.cov(first.T, bias=True), np.eye(2), atol=1e-3)


def test_global_state_is_left_alone(blobs):
    np.random.seed(7)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    expected = (np.random.RandomState(7).rand(), torch.rand(3, generator=_generator(7)))
    visible = "torchvision" in sys.modules
    compute_mde(blobs[0], seed=0)
    assert torch.get_num_threads() == threads
    assert np.random.rand() == expected[0]
    assert torch.equal(torch.rand(3), expected[1])
    assert ("torchvision" in sys.modules) == visible


def _generator(seed):
    return torch.Generator().manual_seed(seed)


def test_an_imported_torchvision_is_kept(blobs, monkeypatch):
    import types

    theirs = types.ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", theirs)
    compute_mde(blobs[0][:20], seed=0)
    assert sys.modules["torchvision"] is theirs


def test_cells_of_one_embedding_are_not_listed(blobs, caplog, monkeypatch):
    """As of cells with the same counts, of which small panels have many."""
    monkeypatch.setattr(logging.getLogger("__pymde__"), "handlers", [caplog.handler])
    assert np.isfinite(compute_mde(np.repeat(blobs[0][:10], 20, axis=0), seed=0)).all()
    assert caplog.records == []


def test_groups_stay_together(blobs):
    embedding, labels = blobs
    layout = compute_mde(embedding, seed=0)
    model = KNeighborsClassifier(6).fit(layout, labels)
    assert (model.predict(layout) == labels).mean() > 0.97


def test_align_undoes_a_rotation_and_a_reflection():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(30, 2)) * [2, 1]
    angle = 1.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = reference @ turn @ np.diag([1, -1]) + 5
    want = reference - reference.mean(axis=0)
    np.testing.assert_allclose(align(moved, reference), want, atol=1e-5)


def test_layouts_are_aligned_to_the_last(blobs):
    embedding, _ = blobs
    layouts = mde_coordinates({"a": embedding + 0.01, "b": embedding}, seed=0)
    assert list(layouts) == ["a", "b"]
    for i, turn in enumerate((np.diag([-1, 1]), np.array([[0, 1], [-1, 0]]))):
        worse = np.linalg.norm(layouts["a"] @ turn - layouts["b"])
        assert np.linalg.norm(layouts["a"] - layouts["b"]) <= worse, i


def test_small_and_one_dimensional_embeddings_work():
    rng = np.random.default_rng(0)
    assert compute_mde(rng.normal(size=(6, 3)), seed=0).shape == (6, 2)
    assert compute_mde(rng.normal(size=(30, 1)), seed=0).shape == (30, 2)


def test_bad_embeddings_are_refused():
    with pytest.raises(InputError, match="not finite"):
        compute_mde(np.array([[0.0, 1], [np.nan, 2], [3, 4], [5, 6]]), seed=0)
    with pytest.raises(InputError, match="at least 4"):
        compute_mde(np.zeros((3, 2)), seed=0)
