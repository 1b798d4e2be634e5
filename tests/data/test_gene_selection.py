from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from vmm.data import select
from vmm.data.blocks import Whole
from vmm.data.select import SPANS, with_enough_counts
from vmm.errors import InputError


class Rows:
    """Counts in blocks of so many rows."""

    def __init__(self, counts: sp.csr_matrix, size: int = 10**6):
        self.counts, self.size, self.shape = counts, size, counts.shape

    def __iter__(self):
        for start in range(0, self.shape[0], self.size):
            yield start, self.counts[start : start + self.size]


def highly_variable(counts: sp.csr_matrix, *others):
    return select.highly_variable(Rows(counts), *others)


def simulated(n_cells: int = 300, n_genes: int = 200, seed: int = 0) -> sp.csr_matrix:
    """Poisson genes, of which the first twenty have two levels of expression."""
    random = np.random.default_rng(seed)
    rates = np.exp(random.normal(0.5, 1, n_genes))[None, :].repeat(n_cells, axis=0)
    rates[: n_cells // 2, :20] *= 8
    return sp.csr_matrix(random.poisson(rates).astype(np.int32))


def test_the_genes_with_two_levels_are_found() -> None:
    counts = simulated()
    chosen, notes = highly_variable(counts, np.zeros(300, dtype=int), 20, "file")
    assert chosen.sum() == 20 and chosen[:20].sum() >= 18 and notes == []


def test_ranking_is_scanpys_within_batches() -> None:
    import anndata
    import pandas as pd
    import scanpy

    counts = simulated()
    batch = np.arange(300) % 3
    obs = pd.DataFrame({"b": batch.astype(str)}, index=[f"c{i}" for i in range(300)])
    adata = anndata.AnnData(counts.astype(np.float32), obs=obs)
    scanpy.pp.highly_variable_genes(adata, n_top_genes=30, flavor="seurat_v3", batch_key="b")
    chosen, _ = highly_variable(counts, batch, 30, "file")
    assert np.array_equal(chosen, adata.var["highly_variable"].to_numpy())
    pooled, _ = highly_variable(counts, batch * 0, 30, "file")
    assert chosen.sum() == pooled.sum() == 30 and not np.array_equal(chosen, pooled)


def test_the_ranking_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: sums are of whole numbers, however large."""
    counts = simulated()
    counts[3, 7] = 2**31 - 1
    batch = np.where(np.arange(300) < 5, 3, np.arange(300) % 3)
    seen, best = [], select._best
    monkeypatch.setattr(select, "_best", lambda v, n: seen.append(v) or best(v, n))
    found = [select.highly_variable(Rows(counts, size), batch, 30, "file") for size in (300, 7, 1)]
    assert found[0][0].sum() == 30
    for variances, (chosen, notes) in zip(seen, found, strict=True):
        assert np.array_equal(variances, seen[0]) and np.isfinite(variances).all()
        assert np.array_equal(chosen, found[0][0]) and notes == found[0][1]


def test_a_gene_of_large_equal_counts_does_not_vary() -> None:
    """Differences of large floating-point numbers would say that it does."""
    counts = sp.csr_matrix(np.full((70, 5), 123_456_789, dtype=np.int32))
    counts[:, 1] = sp.csr_matrix(np.arange(70, dtype=np.int32)[:, None])
    _, mean, variance = select._moments(Rows(counts, 9), np.zeros(70, dtype=int))
    assert variance[0].tolist() == [0, np.arange(70).var(ddof=1), 0, 0, 0]
    assert mean[0, 0] == 123_456_789


def test_small_batches_take_no_part() -> None:
    counts = simulated()
    batch = np.zeros(300, dtype=int)
    batch[:5], batch[5] = 1, 2
    chosen, notes = highly_variable(counts, batch, 25, "file")
    expected, _ = highly_variable(counts[6:], batch[6:], 25, "file")
    assert np.array_equal(chosen, expected)
    assert notes == ["6 cells in batches of fewer than 20 cells took no part in ranking genes."]
    tiny, _ = highly_variable(counts, np.arange(300), 25, "file")  # every batch is one cell
    assert tiny.sum() == 25


def test_all_genes_stay_if_there_are_not_more() -> None:
    chosen, notes = highly_variable(simulated(), np.zeros(300, dtype=int), 558, "file")
    assert chosen.all() and notes == ["All 200 genes were kept: 558 were asked for."]


def test_a_singular_regression_is_widened_or_explained() -> None:
    random = np.random.default_rng(1)
    counts = sp.csr_matrix(random.binomial(1, 0.05, size=(60, 40)).astype(np.int32))
    chosen, notes = highly_variable(counts, np.zeros(60, dtype=int), 10, "file")
    assert chosen.sum() == 10
    assert notes == [f"Variances were smoothed with span {SPANS[-1]:g}: 0.3 is singular."]
    alike = sp.csr_matrix(np.tile(np.eye(4, dtype=np.int32), (10, 3)))
    with pytest.raises(InputError, match="n_top_genes: null"):
        highly_variable(alike, np.zeros(40, dtype=int), 5, "my.h5ad")


@pytest.mark.parametrize("varying", [0, 1, 3])
def test_few_genes_that_vary_are_told(varying: int) -> None:
    """Their regression would end the process, in any batch."""
    counts = np.ones((60, 12), dtype=np.int32)
    counts[:, :varying] = np.random.default_rng(0).poisson(5, (60, varying))
    told = f"counts differ between cells in only {varying} genes"
    with pytest.raises(InputError, match=rf"in it \({told}\); set `n_top_genes: null`"):
        highly_variable(sp.csr_matrix(counts), np.zeros(60, dtype=int), 5, "my.h5ad")
    both = np.vstack([np.random.default_rng(1).poisson(5, (60, 12)), counts])
    with pytest.raises(InputError, match=rf"within its batches \({told}\)"):
        highly_variable(sp.csr_matrix(both), np.repeat([0, 1], 60), 5, "my.h5ad")


def test_cells_and_genes_with_fewer_than_three_counts_go() -> None:
    counts = np.array(
        [
            [3, 0, 0, 2],
            [0, 3, 1, 0],
            [0, 2, 0, 1],  # three counts, one of them in a gene that goes
            [2, 0, 0, 0],  # two counts
            [5, 5, 1, 0],
        ]
    )
    cells, genes = with_enough_counts(Whole(sp.csr_matrix(counts)))
    # gene 2 has 2 counts; gene 3 has 3, but cell 2 and its count stay; cell 3 has 2
    assert genes.tolist() == [True, True, False, True]
    assert cells.tolist() == [True, True, True, False, True]


def test_the_rule_holds_in_the_result() -> None:
    random = np.random.default_rng(2)
    counts = sp.csr_matrix(random.poisson(0.04, size=(200, 60)))
    cells, genes = with_enough_counts(Whole(counts))
    left = counts[cells][:, genes]
    assert 0 < left.shape[0] < 200 and 0 < left.shape[1] < 60
    assert left.sum(axis=0).min() >= 3 and left.sum(axis=1).min() >= 3
