"""Embeddings without training: PCA by hand, and corrections that correct."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

from vmm.benchmark.baselines.controls import JITTER, perfect, random, shuffled
from vmm.benchmark.baselines.harmony import harmony
from vmm.benchmark.baselines.pca import pca, principal_components, scaled_from_zero
from vmm.benchmark.baselines.scanorama import scanorama
from vmm.benchmark.embed import embed_cells
from vmm.benchmark.methods.records import METHODS, names
from vmm.data import CellData
from vmm.io import read_arrays, read_json
from vmm.lazy import resolve


def make_cells(n: int = 240, n_genes: int = 40, shift: float = 0.0, seed: int = 0) -> CellData:
    """Return three types in two batches, in random order; `shift` is the batch effect."""
    rng = np.random.default_rng(seed)
    labels, batch = rng.integers(0, 3, n), rng.integers(0, 2, n)
    rates = 5 * np.exp(rng.normal(size=(3, n_genes)))
    effect = np.exp(shift * rng.normal(size=(2, n_genes)))
    counts = rng.poisson(rates[labels] * effect[batch]).astype(np.int32)
    counts[:, -1] = 0
    return CellData(
        name="cells",
        counts=scipy.sparse.csr_matrix(counts),
        batch=batch.astype(np.int64),
        batch_names=["a", "b"],
        labels=labels.astype(np.int64),
        label_names=["T", "B", "NK"],
        genes=np.array([f"gene{g}" for g in range(n_genes)]),
        cells=np.array([f"cell{i}" for i in range(n)]),
    )


def components_by_hand(data: CellData) -> np.ndarray:
    """Normalise to 10 000, log1p, unit variance, clip at 10, centre; scores by SVD."""
    x = data.counts.toarray().astype(np.float64)
    x = np.log1p(x / x.sum(1, keepdims=True) * 1e4)
    deviation = x.std(0, ddof=1)
    x = (x - x.mean(0)) / np.where(deviation == 0, 1, deviation)
    x = np.minimum(x, 10)
    x = x - x.mean(0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return u * s


def same_batch_share(embedding: np.ndarray, data: CellData, n_neighbors: int = 15) -> float:
    """Return the mean share of a cell's neighbours that are of its batch (½ when mixed)."""
    distance = ((embedding[:, None] - embedding[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, 1)[:, :n_neighbors]
    return float((data.batch[nearest] == data.batch[:, None]).mean())


def same_type_share(embedding: np.ndarray, data: CellData, n_neighbors: int = 15) -> float:
    """Return the mean share of a cell's neighbours that are of its type."""
    distance = ((embedding[:, None] - embedding[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, 1)[:, :n_neighbors]
    return float((data.labels[nearest] == data.labels[:, None]).mean())


def test_principal_components_by_hand():
    data = make_cells()
    ours = principal_components(data)
    assert ours.dtype == np.float32 and ours.shape == (240, 39)
    expected = components_by_hand(data)[:, :10]
    sign = np.sign((ours[:, :10] * expected).sum(0))
    np.testing.assert_allclose(ours[:, :10] * sign, expected, rtol=1e-2, atol=1e-2)


def test_the_sparse_scaled_matrix_differs_from_the_dense_one_by_a_constant_a_gene():
    rng = np.random.default_rng(0)
    values = rng.poisson(0.3, (400, 6)).astype(np.float32)
    values[:, 1] = 0
    values[7, 1] = 3  # (x - mean) / sd is 20 here, cut at 10
    values[:, 2] = rng.normal(5, 0.1, 400)
    values[7, 2] = 0  # and -17 here, cut at -10
    values[:, 3] = 0
    scaled = (values - values.mean(0)) / np.where(values.any(0), values.std(0, ddof=1), 1)
    assert scaled.max() > 15
    assert scaled.min() < -15
    dense = np.clip(scaled, -10, 10)
    sparse = scaled_from_zero(scipy.sparse.csr_matrix(values))
    assert sparse.nnz == np.count_nonzero(values)
    difference = dense - sparse.toarray()
    np.testing.assert_allclose(difference, np.broadcast_to(difference[0], (400, 6)), atol=1e-5)


def test_at_most_fifty_components():
    assert principal_components(make_cells(n=120, n_genes=90)).shape == (120, 50)
    assert principal_components(make_cells(n=20, n_genes=90)).shape == (20, 19)


def test_principal_components_do_not_change_the_data():
    data = make_cells()
    before = data.counts.copy()
    principal_components(data)
    assert (data.counts != before).nnz == 0


@pytest.mark.parametrize("correct", [harmony, scanorama])
def test_a_batch_effect_is_corrected_and_types_are_kept(correct):
    data = make_cells(shift=0.3)
    components = principal_components(data)[:, :20]
    assert same_batch_share(components, data) > 0.7
    corrected = correct(components, data, seed=0)
    assert corrected.shape == components.shape and corrected.dtype == np.float32
    assert same_batch_share(corrected, data) < 0.6
    assert same_type_share(corrected, data) > 0.95, "rows are in the data's order"


@pytest.mark.parametrize("seed", [3, 2**32 - 1])
@pytest.mark.parametrize("method", names("cells", trains=False))
def test_same_seed_same_embedding(method, seed):
    """Also for seeds of 32 bits, which `vmm.numerics.seeds.seed_of` gives."""
    data = make_cells(shift=0.5)
    components = principal_components(data)
    before = components.copy()
    embed = resolve(METHODS["cells"][method].made_by)
    first = embed(components, data, seed=seed)
    second = embed(components, data, seed=seed)
    if scipy.sparse.issparse(first):  # a graph
        assert abs(first - second).max() == 0
    else:
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(components, before)
    assert first.dtype == np.float32


def test_pca_is_the_components():
    data = make_cells()
    components = principal_components(data)
    np.testing.assert_array_equal(pca(components, data), components)


# ---------------------------------------------------------------------------------- controls


def test_the_perfect_embedding_is_the_cell_types():
    data = make_cells()
    data.labels[:3] = -1
    found = perfect(principal_components(data), data, seed=1)
    assert found.shape == (240, 3) and found.dtype == np.float32
    expected = np.eye(3)[data.labels] * (data.labels >= 0)[:, None]
    noise = found - expected
    assert abs(noise).max() < 6 * JITTER and noise.std() == pytest.approx(JITTER, rel=0.1)
    labelled = data.labels >= 0
    assert (found[labelled].argmax(1) == data.labels[labelled]).all()
    # Batches are mixed as far as chance goes: file order would leave them apart.
    assert same_batch_share(found, data) == pytest.approx(0.5, abs=0.05)


def test_shuffled_cells_are_the_same_cells():
    data = make_cells()
    components = principal_components(data)
    found = shuffled(components, data, seed=1)
    assert (found != components).any()
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(components, axis=0))
    np.testing.assert_array_equal(shuffled(components, data, seed=1), found)
    assert same_type_share(found, data) == pytest.approx(1 / 3, abs=0.05)


def test_random_numbers_know_nothing():
    data = make_cells()
    components = principal_components(data)
    found = random(components, data, seed=1)
    assert found.shape == components.shape and found.dtype == np.float32
    assert found.mean() == pytest.approx(0, abs=0.05) and found.std() == pytest.approx(1, abs=0.05)
    assert same_type_share(found, data) == pytest.approx(1 / 3, abs=0.05)
    assert (random(components, data, seed=2) != found).all()


def test_what_would_not_end_is_left_out_in_a_sentence(monkeypatch, tmp_path, capsys):
    record = METHODS["cells"]["scanorama"]
    monkeypatch.setitem(METHODS["cells"], "scanorama", replace(record, most_cells=200))
    status = {}
    for n in (200, 240):
        path, folder = tmp_path / f"{n}.npz", tmp_path / str(n)
        data = make_cells(n, shift=0.3)
        data.save(path)
        embed_cells(path, ["pca", "scanorama"], [0], lambda method, _, to=folder: to / method)
        status[n] = read_json(folder / "scanorama" / "run.json")["status"]
    assert status == {200: "ok", 240: "n/a: more than 200 cells"}
    assert capsys.readouterr().err == (
        "Scanorama is left out of cells, which has 240 cells: it takes time with their square and "
        "is tried up to 200.\n"
    )
    kept = (read_arrays(folder / name / "latent.npz")["embedding"] for name in ("pca", "scanorama"))
    np.testing.assert_array_equal(*kept)


def test_without_labels_there_is_no_perfect_control(tmp_path):
    data = make_cells()
    replace(data, labels=np.full(len(data), -1), label_names=[]).save(tmp_path / "cells.npz")
    controls = ["perfect", "random"]
    embed_cells(tmp_path / "cells.npz", controls, [0], lambda name, _: tmp_path / name)
    said = [read_json(tmp_path / name / "run.json")["status"] for name in controls]
    assert said == ["n/a: no labels", "ok"]
