"""scIB metrics: equal to scib-metrics' Benchmarker, and n/a with a reason where not defined.

Compilation dominates: all tests share one process and few shapes.
"""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from metric_names import AGGREGATE_METRICS, BIO_METRICS, INTEGRATION_METRICS, NEED_BATCHES
from scipy.sparse import csr_matrix

from vmm.benchmark.metrics import kbet, neighbours, silhouettes
from vmm.benchmark.metrics.integration import (
    NOT_FINITE,
    SINGLE_BATCH,
    UNDEFINED,
    Cells,
    Embedding,
    integration_scores,
)
from vmm.benchmark.metrics.neighbours import exact_neighbours
from vmm.benchmark.metrics.pcr import count_components
from vmm.benchmark.metrics.records import parts_of
from vmm.errors import InputError

N_CELLS, N_GENES = 240, 60


class Data:
    """Counts of three types in two batches, and embeddings of them of different quality."""

    def __init__(self):
        generator = np.random.default_rng(0)
        self.types = np.repeat(["B", "NK", "T"], N_CELLS // 3)
        self.batch = np.tile(["one", "two"], N_CELLS // 2)
        place = np.searchsorted(["B", "NK", "T"], self.types)
        rates = generator.gamma(2, 1, size=(3, N_GENES))[place]
        capture = np.where(self.batch == "one", 1.0, 2.0)[:, None]
        self.counts = csr_matrix(generator.poisson(rates * capture).astype(np.int32))
        centres = 4 * np.eye(3, 4)[place]
        shift = np.where(self.batch == "one", 0.0, 1.5)[:, None]
        noise = generator.normal(size=(N_CELLS, 4))
        self.embeddings = {
            "mixed": (centres + noise).astype(np.float32),
            "batchy": (centres + noise + shift).astype(np.float32),
        }


@pytest.fixture(scope="module")
def cells() -> Data:
    return Data()


@pytest.fixture(scope="module")
def scores(cells):
    broken = cells.embeddings["mixed"].copy()
    broken[3, 1] = np.nan
    collapsed = np.zeros((N_CELLS, 4), dtype=np.float32)
    embeddings = {**cells.embeddings, "broken": broken, "collapsed": collapsed}
    return integration_scores(embeddings, cells.counts, cells.batch, cells.types)


@contextmanager
def exact_library():
    """Have scib-metrics find kBET's neighbours and axes as we do, by what it keeps private."""
    from scib_metrics import nearest_neighbors
    from scib_metrics.utils import _diffusion_nn

    def eigen(matrix, n_comps):
        return kbet.leading_eigenvectors(matrix, n_comps)

    with (
        mock.patch.object(nearest_neighbors, "pynndescent", exact_neighbours),
        mock.patch.object(_diffusion_nn, "_compute_eigen", eigen),
    ):
        yield


@pytest.fixture(scope="module")
def reference(cells):
    """The Benchmarker's own numbers, from exact neighbours."""
    from anndata import AnnData
    from scib_metrics.benchmark import BatchCorrection, Benchmarker

    classic = {"metric": "euclidean", "between_cluster_distances": "nearest"}
    # copies, because the library's k-means centres and uncentres the embedding in place
    copies = {name: z.copy() for name, z in cells.embeddings.items()}
    adata = AnnData(cells.counts.astype(np.float32), obsm=copies)
    adata.obs["batch"], adata.obs["type"] = cells.batch, cells.types
    benchmarker = Benchmarker(
        adata,
        "batch",
        "type",
        list(cells.embeddings),
        batch_correction_metrics=BatchCorrection(bras=classic),
        progress_bar=False,
    )
    with exact_library():
        benchmarker.prepare(neighbor_computer=exact_neighbours)
        benchmarker.benchmark()
    table = benchmarker.get_results(min_max_scale=False)
    return table.rename(columns={"BRAS": "Silhouette batch"})


def test_values_are_the_benchmarkers_own(cells, scores, reference):
    for name in cells.embeddings:
        assert list(scores[name]) == INTEGRATION_METRICS
        for metric in INTEGRATION_METRICS:
            value, status = scores[name][metric]
            assert status == "ok"
            assert isinstance(value, float)
            assert value == pytest.approx(float(reference.loc[name, metric]), abs=1e-6), metric


def test_bras_on_request(cells, scores):
    from scib_metrics import bras

    embeddings = {"batchy": cells.embeddings["batchy"]}
    arguments = cells.counts, cells.batch, cells.types
    result = integration_scores(embeddings, *arguments, bras=True)["batchy"]
    expected = bras(cells.embeddings["batchy"], cells.types, cells.batch)
    assert result["Silhouette batch"][0] == pytest.approx(expected, abs=1e-6)
    assert abs(expected - scores["batchy"]["Silhouette batch"][0]) > 0.01
    assert result["KBET"] == scores["batchy"]["KBET"]


def test_aggregates_by_hand(scores):
    mixed = {metric: value for metric, (value, _) in scores["mixed"].items()}
    batch = sum(mixed[metric] for metric in parts_of("Batch correction")) / 5
    bio = sum(mixed[metric] for metric in parts_of("Bio conservation")) / 5
    assert mixed["Batch correction"] == pytest.approx(batch)
    assert mixed["Bio conservation"] == pytest.approx(bio)
    assert mixed["Total"] == pytest.approx(0.4 * batch + 0.6 * bio)


def test_the_worse_embedding_scores_worse(scores):
    for metric in ("Batch correction", "KBET", "PCR comparison", "Silhouette batch", "iLISI"):
        assert scores["batchy"][metric][0] < scores["mixed"][metric][0]


def test_scores_repeat_exactly_and_leave_the_embedding_alone(cells, scores):
    z = cells.embeddings["mixed"].copy()
    arguments = cells.counts, cells.batch, cells.types
    assert integration_scores({"again": z}, *arguments)["again"] == scores["mixed"]
    np.testing.assert_array_equal(z, cells.embeddings["mixed"])


def test_a_collapsed_embedding_scores_the_same_again(cells, scores):
    """Its graph falls apart, and the search of eigenvectors restarts at random vectors."""
    collapsed = Embedding(np.zeros((N_CELLS, 4), dtype=np.float32))
    data = Cells(cells.counts, cells.batch, cells.types)
    values = {kbet.kbet_by_class(collapsed, data) for _ in range(3)}
    assert values == {scores["collapsed"]["KBET"][0]}


def test_an_embedding_with_nan_is_na_and_spares_the_others(scores):
    assert set(scores["broken"].values()) == {(None, NOT_FINITE)}


def test_a_collapsed_embedding_has_no_pcr_comparison(scores):
    assert scores["collapsed"]["PCR comparison"] == (None, UNDEFINED)
    reason = "n/a: Batch correction needs PCR comparison"
    assert scores["collapsed"]["Batch correction"] == (None, reason)
    assert scores["collapsed"]["Total"] == (None, reason)
    assert scores["collapsed"]["Silhouette label"] == (0.5, "ok")


def test_one_batch_has_only_bio_conservation(cells, scores):
    embeddings = {"mixed": cells.embeddings["mixed"]}
    result = integration_scores(embeddings, cells.counts, np.zeros(N_CELLS), cells.types)["mixed"]
    for metric in NEED_BATCHES:
        assert result[metric] == (None, SINGLE_BATCH)
    # both batches hold all types, so that the types are equally isolated with one batch
    assert {m: result[m] for m in BIO_METRICS} == {m: scores["mixed"][m] for m in BIO_METRICS}
    assert result["Bio conservation"] == scores["mixed"]["Bio conservation"]


def test_a_batch_of_one_cell_and_a_class_of_one_cell(cells):
    batch, types = cells.batch.copy(), cells.types.copy()
    batch[0], types[5] = "three", "rare"
    embeddings = {"mixed": cells.embeddings["mixed"]}
    result = integration_scores(embeddings, cells.counts, batch, types)["mixed"]
    assert {status for _, status in result.values()} == {"ok"}
    assert all(0 <= value <= 1 for value, _ in result.values())
    # only the class of one cell is isolated (one batch), and its silhouette is 0, scaled 0.5
    assert result["Isolated labels"][0] == 0.5


def test_few_cells_have_fewer_metrics(cells):
    few = np.r_[0:6, 80:86, 160:168]
    embeddings = {"mixed": cells.embeddings["mixed"][few]}
    arguments = cells.counts[few], cells.batch[few], cells.types[few]
    result = integration_scores(embeddings, *arguments)["mixed"]
    assert result["iLISI"] == (None, "n/a: fewer than 90 cells")
    assert result["cLISI"] == (None, "n/a: fewer than 90 cells")
    assert result["KBET"] == (None, "n/a: fewer than 50 cells")
    assert result["Batch correction"] == (None, "n/a: Batch correction needs KBET, iLISI")
    assert result["Bio conservation"] == (None, "n/a: Bio conservation needs cLISI")
    for metric in ("Graph connectivity", "PCR comparison", "Silhouette batch", "KMeans NMI"):
        assert result[metric][1] == "ok"


def test_batches_that_are_classes(cells):
    embeddings = {"mixed": cells.embeddings["mixed"]}
    result = integration_scores(embeddings, cells.counts, cells.types, cells.types)["mixed"]
    assert result["KBET"] == (None, "n/a: no class with 10 cells of two batches")
    assert result["Silhouette batch"] == (None, "n/a: no class with cells of two batches")
    assert result["Graph connectivity"][1] == "ok"


def test_one_class_has_no_bio_conservation(cells):
    embeddings = {"mixed": cells.embeddings["mixed"]}
    result = integration_scores(embeddings, cells.counts, cells.batch, np.zeros(N_CELLS))["mixed"]
    for metric in [*BIO_METRICS, "Bio conservation", "Total"]:
        assert result[metric] == (None, "n/a: single class")
    assert result["Batch correction"][1] == "ok"


OF_ALL_CELLS = ["PCR comparison", "iLISI"]
"""What looks at batches alone."""


def test_cells_without_a_label_have_no_say_in_what_uses_labels(cells, scores):
    """It is that of the others, as if these were all; what is of batches is of all cells."""
    known = np.arange(N_CELLS) % 4 > 0
    types = np.where(known, cells.types, None)
    result = integration_scores(
        {"mixed": cells.embeddings["mixed"]}, cells.counts, cells.batch, types
    )["mixed"]
    alone = integration_scores(
        {"mixed": cells.embeddings["mixed"][known]},
        cells.counts[known],
        cells.batch[known],
        cells.types[known],
    )["mixed"]
    for metric in set(INTEGRATION_METRICS) - {*OF_ALL_CELLS, *AGGREGATE_METRICS}:
        assert result[metric] == alone[metric], metric
    for metric in OF_ALL_CELLS:
        assert result[metric] == scores["mixed"][metric]
    assert {status for _, status in result.values()} == {"ok"}


def test_labels_in_one_batch_only_and_none_at_all(cells):
    embeddings = {"mixed": cells.embeddings["mixed"]}
    types = np.where(cells.batch == "one", cells.types, None)
    result = integration_scores(embeddings, cells.counts, cells.batch, types)["mixed"]
    for metric in ("KBET", "Silhouette batch", "Graph connectivity", "Batch correction", "Total"):
        assert result[metric] == (None, SINGLE_BATCH)
    for metric in (*OF_ALL_CELLS, *BIO_METRICS, "Bio conservation"):
        assert result[metric][1] == "ok"
    none = integration_scores(embeddings, cells.counts, cells.batch, np.full(N_CELLS, -1))["mixed"]
    for metric in INTEGRATION_METRICS:
        ok = metric in OF_ALL_CELLS
        assert none[metric][1] == ("ok" if ok else "n/a: no labelled cells")


def test_statuses_are_those_of_rows(scores):
    from vmm.benchmark.metrics.rows import rows_from_scores

    job = {"dataset": "d", "model": "m", "prior": "p", "setting": "s", "trial": 0}
    rows = rows_from_scores(job, scores["collapsed"])
    assert rows["metric"].tolist()[:3] == AGGREGATE_METRICS


@pytest.mark.filterwarnings("error")
def test_exact_neighbours_against_all_distances(cells):
    z = cells.embeddings["mixed"]
    found = exact_neighbours(z, 7)
    distances = np.linalg.norm(z[:, None] - z[None], axis=-1)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(N_CELLS))
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :7], atol=1e-5)
    assert exact_neighbours(z[:4], 90).indices.shape == (4, 4)


def test_count_components_are_those_of_the_raw_counts(cells):
    components = count_components(cells.counts)
    dense = cells.counts.toarray().astype(float)
    singular = np.linalg.svd(dense - dense.mean(0), compute_uv=False)
    assert components.shape == (N_CELLS, 50)
    np.testing.assert_allclose(np.linalg.norm(components, axis=0), singular[:50], rtol=1e-4)


def test_what_does_not_fit_is_named(cells):
    z = cells.embeddings["mixed"]
    arguments = cells.counts, cells.batch, cells.types
    with pytest.raises(InputError, match="the labels 240, the counts 240, embedding short 239"):
        integration_scores({"short": z[:-1]}, *arguments)
    with pytest.raises(InputError, match=r"embedding flat has the shape \(240,\)"):
        integration_scores({"flat": z[:, 0]}, *arguments)


def test_the_test_of_neighbours_is_the_librarys(cells):
    import scib_metrics

    nearest = exact_neighbours(cells.embeddings["mixed"], 21)
    batches = np.random.default_rng(1).integers(0, 4, N_CELLS)
    rejected = np.where(cells.types == "B", 0, batches)
    for codes in (batches, rejected):
        statistics, p_values = kbet.neighbours_test(nearest.indices, codes)
        theirs = scib_metrics.kbet(nearest, codes)
        assert (p_values >= kbet.SIGNIFICANCE).mean() == pytest.approx(theirs[0], abs=1e-9)
        np.testing.assert_allclose(statistics, theirs[1], rtol=1e-5)
        np.testing.assert_allclose(p_values, theirs[2], atol=1e-6)
    assert theirs[0] < 0.7  # and not all tests are passed


def test_of_real_cells_kbet_and_silhouettes_are_the_librarys(shared_data):
    """Types of unlike sizes, three of them in parts, three technologies."""
    import anndata
    import scib_metrics

    adata = anndata.read_h5ad(shared_data / "cells" / "pbmc_3tech_symphony.h5ad")
    batch, types = adata.obs["batch"].to_numpy(), adata.obs["cell_type"].to_numpy()
    kept = np.isin(types, np.unique(types)[:4])
    batch, types = batch[kept].astype(str), types[kept].astype(str)
    z = count_components(adata.X[kept])[:, :10].copy()
    ours = Embedding(z), Cells(adata.X[kept], batch, types)
    near = ours[0].neighbours(kbet.N_NEIGHBOURS)
    with exact_library():
        expected = scib_metrics.kbet_per_label(near, batch, types)
    assert kbet.kbet_by_class(*ours) == pytest.approx(expected, abs=1e-6)
    for function, theirs in (
        (silhouettes.silhouette_label, scib_metrics.silhouette_label(z, types)),
        (silhouettes.silhouette_batch, scib_metrics.silhouette_batch(z, types, batch)),
        (silhouettes.isolated_labels, scib_metrics.isolated_labels(z, types, batch)),
    ):
        assert function(*ours) == pytest.approx(float(theirs), abs=1e-6)


def test_silhouettes_of_all_cells_are_taken_once_an_embedding(cells, monkeypatch):
    import sklearn.metrics

    sizes, theirs = [], sklearn.metrics.silhouette_samples

    def counting(array, labels):
        sizes.append(len(array))
        return theirs(array, labels)

    monkeypatch.setattr(sklearn.metrics, "silhouette_samples", counting)
    data, values = Cells(cells.counts, cells.batch, cells.types), []
    for z in (cells.embeddings["mixed"], cells.embeddings["batchy"]):
        embedding = Embedding(z)
        values.append(silhouettes.isolated_labels(embedding, data))
        values.append(silhouettes.silhouette_label(embedding, data))
    silhouettes.silhouette_label(
        embedding, Cells(cells.counts, cells.batch, np.roll(cells.types, 9))
    )
    assert sizes == [N_CELLS] * 3
    assert values[1] != values[3]  # each embedding has its own


def test_silhouettes_that_scikit_learn_refuses_are_the_librarys(cells):
    few = Cells(cells.counts[:9], cells.batch[:9], np.arange(9))
    assert silhouettes.silhouette_label(Embedding(cells.embeddings["mixed"][:9]), few) == 0.5


def test_other_sizes_of_classes_compile_nothing(cells, scores):
    import scib_metrics
    from jax import monitoring

    compiled = []

    def note(event: str, seconds: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    few = np.r_[0:50, 80:141, 160:233]
    z, types, batch = cells.embeddings["mixed"][few], cells.types[few], cells.batch[few]
    ours = Embedding(z), Cells(cells.counts[few], batch, types)
    monitoring.register_event_duration_secs_listener(note)
    try:
        kbet.kbet_by_class(*ours)
        silhouettes.silhouette_batch(*ours)
        silhouettes.isolated_labels(*ours)
        assert compiled == []
        scib_metrics.silhouette_label(z, types)  # the library's own, to show that the count counts
        assert compiled
    finally:
        monitoring.unregister_event_duration_listener(note)


def test_a_metric_cannot_write_into_what_it_is_given(cells):
    embedding = Embedding(cells.embeddings["mixed"])
    data = Cells(cells.counts, cells.batch, cells.types)
    for array in (embedding.array, data.batch, data.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    assert cells.embeddings["mixed"].flags.writeable


def test_neighbours_of_many_cells_are_found_approximately_and_repeat(monkeypatch):
    array = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    exact = neighbours.nearest_neighbours(array, 15)
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", len(array) - 1)
    found, again = (neighbours.nearest_neighbours(array, 15) for _ in range(2))
    assert (found.indices == again.indices).all()
    assert (found.indices[:, 0] == np.arange(len(array))).all(), "a cell is among its own"
    pairs = zip(found.indices, exact.indices, strict=True)
    assert np.mean([np.isin(one, other).mean() for one, other in pairs]) > 0.99
