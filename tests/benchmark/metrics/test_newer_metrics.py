"""Metrics newer than the paper: hand-made cases, and numbers of their authors' packages."""

from __future__ import annotations

import numpy as np
import pytest

from vmm.benchmark.metrics.clustering import assignment_scores
from vmm.benchmark.metrics.integration import Cells, Embedding, integration_scores
from vmm.benchmark.metrics.lisi import cilisi
from vmm.benchmark.metrics.pcr import explained_within
from vmm.benchmark.metrics.records import METRICS, metric_named, of_family, scored_by
from vmm.benchmark.metrics.scgraph import scgraph
from vmm.benchmark.metrics.scoring import Undefined
from vmm.paper.tables.specs import table_spec


def test_they_are_scored_and_shown_where_asked_for_only():
    newer = [metric.name for metric in METRICS if metric.newer]
    assert newer == [
        *("NMI (batch)", "ARI (batch)"),
        *("BRAS", "ciLISI", "PCR within types", "Leiden NMI", "Leiden ARI", "scGraph"),
    ]
    for family in ("clustering", "integration"):
        assert not any(metric.newer for metric in of_family(family))
        assert len(of_family(family, newer=True)) > len(of_family(family))
    assert scored_by("tuning", newer=True) == scored_by("tuning")
    assert not any(metric.aggregated for metric in METRICS if metric.newer)
    for number, more in ((2, 0), (3, 2), (4, 6)):
        columns = len(table_spec(number).columns)
        assert len(table_spec(number, newer=True).columns) == columns + more


def scores(assignment: list[int], batch: list[int]) -> dict:
    metrics = [metric_named("NMI (batch)"), metric_named("ARI (batch)")]
    labels = np.zeros(len(assignment), dtype=int)
    return assignment_scores(labels, np.array(assignment), metrics, np.array(batch))


def test_clusters_that_are_batches():
    assert scores([1, 1, 0, 0], [0, 0, 1, 1]) == {
        "NMI (batch)": (1, "ok"),
        "ARI (batch)": (1, "ok"),
    }
    found = scores([0, 1, 0, 1], [0, 0, 1, 1])
    # Each pair that is together in one is apart in the other: (0 - 2·2/6) / (2 - 2·2/6).
    assert found["ARI (batch)"][0] == pytest.approx(-0.5)
    assert found["NMI (batch)"][0] == pytest.approx(0, abs=1e-12)
    single = (None, "n/a: single batch")
    assert scores([0, 1], [0, 0]) == {"NMI (batch)": single, "ARI (batch)": single}


def test_pcr_within_types():
    """Batch 0 is mostly of class 0, batch 1 of class 1; counts have a batch effect as well."""
    labels = np.repeat([0, 0, 1, 1], [30, 10, 10, 30])
    batch = np.repeat([0, 1, 0, 1], [30, 10, 10, 30])
    types, batches = np.eye(2)[labels], np.eye(2)[batch]
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(80, 2))
    counts = rng.poisson(20 + 30 * np.hstack([types, batches]))
    metrics = [metric_named(name) for name in ("PCR comparison", "PCR within types")]
    embeddings = {"types": types + 0.01 * noise, "apart": types + 5 * batches}
    found = integration_scores(embeddings, counts, batch, labels, metrics=metrics)
    assert found["types"]["PCR within types"][0] > 0.9 > 0.7 > found["types"]["PCR comparison"][0]
    assert found["apart"]["PCR within types"] == (0, "ok")
    # By hand: of values 0, 2 in batch 0 and 4, 6 in batch 1 of one class, 16 of 20 are explained;
    # in the other class batches do not differ, and an additive fit gives each half of it.
    values = np.array([[0.0], [2], [4], [6], [0], [2], [0], [2]])
    codes = np.array([0, 0, 1, 1] * 2), np.repeat([0, 1], 4)
    assert explained_within(values, *codes) == pytest.approx(8 / 24)
    assert explained_within(types, batch, labels) == 0
    alone = integration_scores({"x": types + noise}, counts, labels, labels, metrics=metrics)
    assert alone["x"]["PCR within types"] == (None, "n/a: no class varies between batches")


def test_cilisi_looks_within_classes():
    """Class 0 is mixed, class 1 apart, class 2 of one batch, class 3 of too few cells."""
    sizes = [20, 40, 15, 9]
    labels = np.repeat(np.arange(4), sizes)
    batch = np.concatenate([[0, 1] * 10, [0] * 20 + [1] * 20, [0] * 15, [0, 1] * 4 + [1]])
    z = np.zeros((len(labels), 2), dtype=np.float32)
    z[labels == 1, 0] = 100 + 1000 * (batch[labels == 1])
    z[labels == 1, 1] = np.random.default_rng(0).normal(size=40)
    # Of a mixed cell's 19 others, all in its place, nine are of its batch: 1 / Σp² - 1.
    mixed = 1 / ((9 / 19) ** 2 + (10 / 19) ** 2) - 1
    found = cilisi(Embedding(z), Cells(np.ones((len(z), 2)), batch, labels))
    # Apart: 19 others of its batch, and 20 of the other that weigh nothing.
    assert found == pytest.approx(20 * mixed / 60, abs=1e-4)
    with pytest.raises(Undefined, match="no class of 10 cells in two batches"):
        cilisi(Embedding(z), Cells(np.ones((len(z), 2)), np.zeros(len(z)), labels))


def graph_cells() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return an embedding, counts, batches and labels: a small batch, a small type, gaps."""
    rng = np.random.default_rng(0)
    labels = rng.choice(5, size=400, p=[0.3, 0.3, 0.2, 0.19, 0.01])
    batch = rng.integers(3, size=400)
    batch[:330][batch[:330] == 2] = 0
    labels[batch == 1] = np.where(labels[batch == 1] == 3, 0, labels[batch == 1])
    rates = np.exp(rng.normal(size=(5, 60)) + 0.5 * rng.normal(size=(3, 1, 60)))
    counts = rng.poisson(3 * rates[batch, labels])
    z = rng.normal(size=(5, 4))[labels] * 2 + rng.normal(size=(400, 4))
    return z.astype(np.float32), counts, batch, labels


def test_scgraph_is_that_of_its_authors():
    """Corr-Weighted of scgraph-eval 0.1.2, given the logarithms of the same counts."""
    z, counts, batch, labels = graph_cells()
    assert scgraph(Embedding(z), Cells(counts, batch, labels)) == pytest.approx(-0.1787, abs=1e-4)


def test_scgraph_knows_the_order_of_types():
    """Types on a line: their places are right, reversed, or one of the ends is in the middle."""
    rng = np.random.default_rng(1)
    labels, batch = np.repeat(np.arange(4), 60), np.tile([0, 1], 120)
    path = np.cumsum(rng.normal(size=(4, 50)), axis=0)
    counts = rng.poisson(20 * np.exp(0.4 * path[labels]))
    cells = Cells(counts, batch, labels)
    noise = rng.normal(size=(240, 1)).astype(np.float32) / 10
    line = labels[:, None].astype(np.float32)
    straight = scgraph(Embedding(line + noise), cells)
    assert straight > 0.8
    assert scgraph(Embedding(-line + noise), cells) == pytest.approx(straight, abs=0.05)
    moved = np.array([1.5, 0, 3, 2], dtype=np.float32)[labels][:, None]
    assert scgraph(Embedding(moved + noise), cells) < straight - 0.2


def test_scgraph_has_its_limits():
    z, counts, batch, labels = graph_cells()
    with pytest.raises(Undefined, match="fewer than 3 classes of 10 cells"):
        scgraph(Embedding(z), Cells(counts, batch, labels % 2))
    with pytest.raises(Undefined, match="no batch of 100 cells"):
        scgraph(Embedding(z), Cells(counts, np.arange(400) % 5, labels))


def test_leiden_at_the_resolution_that_fits_the_classes():
    """Two wide and two close classes: no resolution but one that splits the close ones is best."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    centres = np.array([[0, 0], [60, 0], [0, 60], [60, 60]])
    z = (centres[labels] + rng.normal(size=(200, 2))).astype(np.float32)
    metrics = [metric_named(name) for name in ("Leiden NMI", "Leiden ARI")]
    batch, counts = np.zeros(200), np.ones((200, 2))
    found = integration_scores({"z": z}, counts, batch, labels, metrics=metrics)["z"]
    assert found == {"Leiden NMI": (1, "ok"), "Leiden ARI": (1, "ok")}
    halves = integration_scores({"z": z}, counts, batch, labels // 2, metrics=metrics)["z"]
    assert 0.5 < halves["Leiden NMI"][0] < 1


def test_scgraph_of_intensities_takes_them_as_they_are():
    """Types on a line of which one part is negative: logarithms would have none of it."""
    labels = np.arange(400) % 4
    values = np.random.default_rng(0).normal(0, 0.1, (400, 5))
    values[:, 0] += 10 * labels - 15
    chosen = [metric_named("scGraph")]
    given = ({"line": values}, values.astype(np.float32), np.zeros(400), labels)
    found = integration_scores(*given, metrics=chosen, intensities=True)["line"]["scGraph"]
    assert found == (pytest.approx(1, abs=0.01), "ok")
