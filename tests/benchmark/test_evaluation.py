"""From models' folders to tidy rows: what has a score, and what says why it has none."""

import numpy as np
import pytest
from metric_names import CLUSTERING_METRICS
from scipy.sparse import csr_matrix

from vmm.benchmark.evaluation.clustering import evaluate_clustering
from vmm.benchmark.evaluation.integration import evaluate_integration
from vmm.benchmark.evaluation.leiden import evaluate_leiden
from vmm.benchmark.evaluation.stability import evaluate_stability
from vmm.data import CellData
from vmm.data.stratified import stratified_sample
from vmm.io import write_json

LABELS = np.repeat([0, 1], [30, 20])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a function that makes a model's folder; its embedding keeps the classes apart."""
    cells = CellData(
        name="cells",
        counts=csr_matrix(np.ones((50, 3), dtype=np.int32)),
        batch=np.zeros(50, dtype=np.int64),
        batch_names=["one"],
        labels=LABELS,
        label_names=["a", "b"],
        genes=np.array(["x", "y", "z"]),
        cells=np.arange(50).astype(str),
    )
    for family in ("clustering", "leiden", "integration"):
        monkeypatch.setattr(f"vmm.benchmark.evaluation.{family}.load", lambda path: cells)

    def make(method: str, status: str = "ok", probabilities: bool = True):
        path = tmp_path / method
        path.mkdir()
        noise = np.random.default_rng(0).normal(size=(50, 2))
        arrays = {"embedding": noise + 30.0 * LABELS[:, None]}
        if probabilities:
            arrays["cluster_probs"] = np.eye(3)[1 + LABELS]
        np.savez(path / "latent.npz", **arrays)
        spec = {"dataset": "cells", "model": method, "prior": "none", "setting": "chosen"}
        write_json(path / "run.json", {"status": status, "spec": spec | {"trial": 0}})
        return path

    return make


def test_clusters_of_models_that_have_none_are_passed_over(folder):
    rows = evaluate_clustering([folder("one"), folder("two", probabilities=False)], "data.npz")
    assert set(rows["model"]) == {"one"}
    scores = rows.set_index("metric")["value"]
    assert scores["Utilized clusters"] == 2
    assert scores["NMI (unmerged)"] == pytest.approx(1)


def test_leiden_scores_every_embedding_under_its_own_setting(folder):
    folders = [folder("one"), folder("two", probabilities=False), folder("three", "diverged")]
    rows = evaluate_leiden(folders, "data.npz", resolution=0.1)
    assert set(rows["setting"]) == {"leiden"}
    assert set(rows["metric"]) == set(CLUSTERING_METRICS)
    found = rows[rows["metric"] == "NMI (unmerged)"].set_index("model")
    assert found.loc["two", "value"] == pytest.approx(1)
    assert found["status"].to_dict() == {"one": "ok", "two": "ok", "three": "diverged"}
    accuracy = rows[(rows["metric"] == "Accuracy") & (rows["model"] == "one")]["status"]
    assert accuracy.item().startswith("n/a: ")


@pytest.mark.parametrize("family", ["leiden", "integration"])
def test_of_many_cells_a_sample_is_scored_the_same_for_all(folder, family, monkeypatch):
    """What has no part in the sample has no part in the scores."""
    evaluate = {"leiden": evaluate_leiden, "integration": evaluate_integration}[family]
    first = folder("one")
    drawn = stratified_sample(10, np.zeros(50, dtype=int), LABELS)
    second = folder("two")
    latent = dict(np.load(second / "latent.npz"))
    elsewhere = np.setdiff1d(np.arange(50), drawn)
    latent["embedding"][elsewhere] = np.random.default_rng(1).normal(size=(40, 2))
    np.savez(second / "latent.npz", **latent)
    rows = evaluate([first, second], "data.npz", cells=10)
    values = [rows[rows["model"] == model]["value"].to_numpy() for model in ("one", "two")]
    np.testing.assert_array_equal(*values)
    whole = evaluate([first, second], "data.npz", cells=50)
    values = [whole[whole["model"] == model]["value"].to_numpy() for model in ("one", "two")]
    assert not np.array_equal(*values, equal_nan=True)


def trial(path, model: str, number: int, clusters: str, status: str = "ok"):
    """Write the folder of a trial with these clusters, a digit a cell."""
    folder = path / f"{model}_{number}"
    folder.mkdir()
    probs = np.eye(10)[[int(digit) for digit in clusters]]
    np.savez(folder / "latent.npz", embedding=np.zeros((len(clusters), 2)), cluster_probs=probs)
    spec = {"dataset": "cells", "model": model, "prior": "p", "setting": "chosen", "trial": number}
    write_json(folder / "run.json", {"status": status, "spec": spec})
    return folder


def test_clusters_of_trials_are_compared(tmp_path):
    """Two trials are the same by other names, the third splits their larger cluster."""
    folders = [
        trial(tmp_path, "one", 0, "0000001111"),
        trial(tmp_path, "one", 1, "7777772222"),
        trial(tmp_path, "one", 2, "0001113333"),
        trial(tmp_path, "one", 3, "0123456789", "diverged"),
        trial(tmp_path, "two", 0, "0000000000"),
    ]
    rows = evaluate_stability(folders).to_dict("records")
    assert [(row["model"], row["n_trials"]) for row in rows] == [("one", 3)], "two has one trial"
    row = rows[0]
    # Pairs together: 21 of 45 in the first two, 12 in the third, all of which are among the 21.
    split = (12 - 21 * 12 / 45) / ((21 + 12) / 2 - 21 * 12 / 45)
    assert (row["ari"], row["ari_least"], row["ari_most"]) == pytest.approx((split, split, 1))
    assert row["n_clusters"] == pytest.approx(7 / 3)
    # The larger is like those of the others by 1 and 1/2, its halves are by 1/2: 2, 2 and 1 stay.
    assert row["n_stable"] == pytest.approx(5 / 3)
    assert row["in_stable"] == pytest.approx((1 + 1 + 0.4) / 3)
    assert row["unsure"] == 0
