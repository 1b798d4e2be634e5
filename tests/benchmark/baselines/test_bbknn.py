"""BBKNN: its graph, and what is scored of a graph."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from vmm.benchmark.baselines.bbknn import bbknn, strongest
from vmm.benchmark.embed import embed_cells
from vmm.benchmark.evaluation.integration import evaluate_integration
from vmm.benchmark.evaluation.leiden import evaluate_leiden
from vmm.benchmark.graphs import read_embedding
from vmm.benchmark.metrics.leiden import leiden_clusters, leiden_of_graph
from vmm.testing.examples import make_cells


def batches(*sizes):
    """Return components (N, 3) and cells of so many batches."""
    batch = np.repeat(np.arange(len(sizes)), sizes)
    components = np.random.default_rng(1).normal(size=(sum(sizes), 3)).astype(np.float32)
    return components, SimpleNamespace(batch=batch, n_batches=len(sizes))


def test_each_cell_has_its_nearest_in_every_batch():
    components, data = batches(30, 20, 25)
    graph = bbknn(components, data).toarray()
    between = np.linalg.norm(components[:, None] - components, axis=-1)
    for batch in range(3):
        members = np.flatnonzero(data.batch == batch)
        nearest = members[between[:, members].argsort(1)[:, :3]]
        for cell, wanted in enumerate(nearest):
            assert (graph[cell, wanted[wanted != cell]] > 0).all(), (cell, batch)
    np.testing.assert_allclose(graph, graph.T)


def test_of_one_batch_it_is_the_usual_graph():
    """That of scanpy, of three neighbours."""
    import scanpy as sc
    from anndata import AnnData

    components, data = batches(60)
    cells = AnnData(components)
    sc.pp.neighbors(cells, n_neighbors=3, use_rep="X", transformer="sklearn")
    usual = cells.obsp["connectivities"].toarray()
    np.testing.assert_allclose(bbknn(components, data).toarray(), usual, atol=1e-5)


def test_a_batch_smaller_than_the_number_of_neighbours():
    components, data = batches(30, 2)
    assert bbknn(components, data).shape == (32, 32)


def test_edges_must_be_strong_for_both_ends():
    """Two for each: of cell 0 the third is cut, with it of cell 3; as strong as the last counts."""
    edges = {(0, 1): 0.9, (0, 2): 0.8, (0, 3): 0.1, (1, 2): 0.5, (3, 4): 0.3, (2, 3): 0.5}
    dense = np.zeros((5, 5))
    for (i, j), weight in edges.items():
        dense[i, j] = dense[j, i] = weight
    kept = strongest(sp.csr_matrix(dense), 2).toarray()
    dense[0, 3] = dense[3, 0] = 0
    np.testing.assert_array_equal(kept, dense)


@pytest.fixture
def made(tmp_path):
    """Tiny cells, and the folder of BBKNN's graph of them."""
    cells = make_cells()
    cells.save(tmp_path / "cells.npz")
    folder = tmp_path / "bbknn"
    embed_cells(tmp_path / "cells.npz", ["bbknn"], [0], lambda method, trial: folder)
    return cells, tmp_path / "cells.npz", folder


def test_only_what_is_of_graphs_is_scored(made):
    cells, path, folder = made
    rows = evaluate_integration([folder], path).set_index("metric")
    graph = read_embedding(folder)
    within = []
    for label in range(3):
        of_type = np.flatnonzero(cells.labels == label)
        _, parts = sp.csgraph.connected_components(graph[of_type][:, of_type])
        within.append(np.bincount(parts).max() / len(of_type))
    assert rows.loc["Graph connectivity", "value"] == pytest.approx(np.mean(within))
    others = set(rows.drop("Graph connectivity")["status"])
    assert "n/a: a graph, no embedding" in others
    assert all(status.startswith("n/a: ") for status in others)
    assert json.loads((folder / "run.json").read_text())["status"] == "ok"


def test_leiden_clusters_the_graph_itself(made):
    _, path, folder = made
    rows = evaluate_leiden([folder], path)
    found = leiden_of_graph(read_embedding(folder))
    values = rows.set_index("metric")["value"]
    assert values["Utilized clusters"] == found.max() + 1 > 1


def test_a_sample_of_a_graph_is_none(made):
    """Its cells would have lost their neighbours; Leiden clusters all cells."""
    _, path, folder = made
    rows = evaluate_integration([folder], path, cells=40)
    assert set(rows["status"]) == {"n/a: a graph of more cells than are scored"}
    assert (evaluate_leiden([folder], path, cells=40)["status"] == "ok").any()


def test_clusters_of_an_embedding_are_those_of_its_graph():
    import scanpy as sc
    from anndata import AnnData

    components, _ = batches(80)
    cells = AnnData(components)
    sc.pp.neighbors(cells, use_rep="X", transformer="sklearn")
    expected = leiden_of_graph(cells.obsp["connectivities"])
    np.testing.assert_array_equal(leiden_clusters(components), expected)
