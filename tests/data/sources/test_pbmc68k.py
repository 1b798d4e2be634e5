from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from vmm.data.raw import RawCells
from vmm.data.sources import pbmc68k, pbmc68k_replicates
from vmm.data.sources.pbmc68k_replicates import CAPTURE, thin


@pytest.fixture(scope="module")
def original() -> RawCells:
    return pbmc68k.read({}, {})


@pytest.fixture(scope="module")
def replicates() -> RawCells:
    return pbmc68k_replicates.read({}, {})


def test_counts_are_reconstructed(original: RawCells) -> None:
    assert original.counts.shape == (700, 765)
    assert (original.counts.data == np.rint(original.counts.data)).all()
    assert original.counts.sum() == 486_651 and original.counts.max() == 259
    sizes = original.obs["bulk_labels"].value_counts()
    assert len(sizes) == 10 and sizes["Dendritic"] == 240
    assert sizes["CD4+/CD45RA+/CD25- Naive T"] == 8
    # normalising the counts again gives the values that the file has
    import scanpy

    adata = scanpy.datasets.pbmc68k_reduced()
    totals = adata.obs["n_counts"].to_numpy()[:, None]
    again = np.log1p(original.counts.toarray() / totals * 1e4)
    np.testing.assert_allclose(again, adata.raw.X.toarray(), atol=2e-3)


def test_every_cell_occurs_twice(original: RawCells, replicates: RawCells) -> None:
    assert replicates.counts.shape == (1400, 765)
    assert replicates.obs["replicate"].tolist() == ["replicate 1"] * 700 + ["replicate 2"] * 700
    labels = replicates.obs["bulk_labels"].tolist()
    assert labels[:700] == labels[700:] == original.obs["bulk_labels"].tolist()
    assert replicates.obs.index[0] == original.obs.index[0] + "-r1"
    assert replicates.obs.index[700] == original.obs.index[0] + "-r2"
    assert replicates.obs.index.is_unique


def test_thinning_takes_counts_away_and_adds_none(original: RawCells, replicates: RawCells) -> None:
    for rows in (slice(700), slice(700, None)):
        lost = original.counts - replicates.counts[rows]
        assert lost.min() >= 0 and lost.sum() > 0


def test_the_biology_is_the_same_and_the_chemistry_is_not(
    original: RawCells, replicates: RawCells
) -> None:
    first, second = replicates.counts[:700], replicates.counts[700:]
    total = original.counts.sum()
    # mean capture by gene: Beta(8, 2), Beta(6, 4), weighted by expression
    assert first.sum() / total == pytest.approx(0.8, abs=0.06)
    assert second.sum() / total == pytest.approx(0.6, abs=0.08)
    # a cell's profile stays its own: it correlates with its replicate more than with other cells
    a, b = (np.log1p(m.toarray() / m.sum(axis=1) * 500).A for m in (first, second))
    a, b = ((m - m.mean(0)) / (m.std(0) + 1e-9) for m in (a, b))
    match = np.corrcoef(a, b)[:700, 700:]
    own = np.diag(match)
    assert own.mean() > 0.5 and own.mean() > match.mean() + 0.4
    # the genes' ratio between replicates is theirs, the same for all cells: technical
    rates = [
        np.asarray(m.sum(0)).ravel() / np.asarray(original.counts.sum(0)).ravel()
        for m in (first, second)
    ]
    spread = np.log(rates[0] / rates[1]).std()
    assert 0.2 < spread < 0.6


def test_capture_rates_are_the_genes(original: RawCells) -> None:
    """Thinned counts of one gene are Binomial with one rate, so their variance says."""
    counts = sp.csr_matrix(np.full((4000, 30), 20))
    thinned = thin(counts)
    for name, (a, b) in CAPTURE.items():
        values = thinned[name].toarray()
        rates = values.mean(axis=0) / 20
        np.testing.assert_allclose(values.var(axis=0), 20 * rates * (1 - rates), rtol=0.15)
        sd = np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
        assert abs(rates.mean() - a / (a + b)) < 4 * sd / np.sqrt(30)
        assert rates.std() == pytest.approx(sd, rel=0.5)
    first, second = (thinned[name].toarray() for name in CAPTURE)
    within = [np.corrcoef(first[:, g], second[:, g])[0, 1] for g in range(30)]
    assert abs(np.mean(within)) < 0.02  # independent given the rates


def test_the_seed_is_fixed() -> None:
    counts = sp.csr_matrix(np.arange(12).reshape(3, 4))
    once, again, other = thin(counts), thin(counts), thin(counts, seed=1)
    for name in CAPTURE:
        assert (once[name] != again[name]).nnz == 0
    assert any((once[name] != other[name]).nnz for name in CAPTURE)
    assert counts.sum() == 66  # the input is left alone
