"""Clusters compared with those of other seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from real_cells import SETTINGS, make_pbmc
from sklearn.metrics import adjusted_rand_score

import vmm
from vmm.errors import InputError
from vmm.scvi.stability import describe
from vmm.training.settings import FitResult


def codes(text: str) -> np.ndarray:
    return np.array([int(letter) for letter in text])


@pytest.fixture(scope="module")
def small() -> dict:
    """A model of ten cells, whose first cluster another seed splits and a third keeps."""
    partitions = {3: codes("0000001112"), 4: codes("0002221119"), 5: codes("1111110002")}
    cells = pd.Index([f"c{i}" for i in range(10)])
    return {
        "own": partitions[3],
        "names": ["T", "B", "7"],
        "partitions": partitions,
        "cells": cells,
    }


def test_what_comes_back(small):
    found = describe(**small)
    table = found.clusters
    assert table.index.tolist() == ["T", "B", "7"] and table["n_cells"].tolist() == [6, 3, 1]
    np.testing.assert_allclose(table["jaccard"], [(3 / 6 + 1) / 2, 1, 1])
    np.testing.assert_allclose(table["jaccard_min"], [1 / 2, 1, 1])
    np.testing.assert_allclose(table["comes_back"], [1 / 2, 1, 1])
    np.testing.assert_allclose(table["stays"], [(3 * 1 + 3 * 1 / 2) / 6, 1, 1])
    assert table["verdict"].tolist() == ["stable", "stable", "stable"]
    np.testing.assert_allclose(found.cells["stays"], [1, 1, 1, 0.5, 0.5, 0.5, 1, 1, 1, 1])
    assert found.n_clusters.to_dict() == {3: 3, 4: 4, 5: 3}
    expected = adjusted_rand_score(*(small["partitions"][seed] for seed in (3, 4)))
    np.testing.assert_allclose(found.agreement, [expected, expected, 1])


def test_the_consensus_has_the_models_names(small):
    found = describe(**small)
    assert found.cells["consensus"].tolist() == ["T"] * 6 + ["B"] * 3 + ["7"]
    # Each cell is with two others in 3 of 3 trainings, and with three in 2 of 3.
    np.testing.assert_allclose(found.cells["together"][:6], (2 * 1 + 3 * 2 / 3) / 5)
    # A cell alone is together with none.
    assert found.cells["unsure"].tolist() == [False] * 9 + [True]
    assert found.clusters["n_unsure"].tolist() == [0, 0, 1]


def test_a_cluster_of_the_consensus_that_the_model_lacks_has_a_new_name():
    own, other = codes("00000000"), codes("00011122")
    names, cells = ["0"], pd.Index(list("abcdefgh"))
    found = describe(own, names, {0: own, 1: other, 2: other, 3: other}, cells).cells
    assert found["consensus"].tolist() == ["1"] * 3 + ["2"] * 3 + ["3"] * 2
    assert found["cluster"].unique().tolist() == ["0"]


def test_verdicts_and_words():
    """Jaccard 1, 0.7 and 0.3: the second cluster loses 3 of 10 cells to the third, of 3."""
    own = codes("0" * 10 + "1" * 10 + "2" * 3)
    other = codes("0" * 10 + "1" * 7 + "2" * 6)
    found = describe(own, list("abc"), {0: own, 1: other}, pd.RangeIndex(23).astype(str))
    np.testing.assert_allclose(found.clusters["jaccard"], [1, 0.7, 0.5])
    assert found.clusters["verdict"].tolist() == ["stable", "doubtful", "unstable"]
    told = str(found)
    assert "1 cluster is stable (mean Jaccard similarity of at least 0.75" in told
    assert "what other seeds find): a. 1 cluster is doubtful (0.6 to 0.75): b." in told
    assert "1 cluster is not to be trusted (less than 0.6): c." in told
    ari = found.ari.loc[0, 1]
    agree = (
        f"The two trainings agree with an adjusted Rand index of {ari:.2f}; they have 3 clusters."
    )
    assert agree in told


@pytest.fixture(scope="module")
def found(model):
    before = model.predict()
    result = model.cluster_stability(2, enable_progress_bar=False)
    assert (model.predict() == before).all(), "the model stays as it is"
    return result


def test_other_seeds_are_trainings_with_these_seeds(model, pbmc, found):
    """As ``vmm.SCVI(adata, seed=6)`` with the same settings; rounding may move some cells."""
    assert found.ari.index.tolist() == [5, 6, 7]
    assert found.cells.index.equals(pbmc.obs_names)
    assert found.cells["cluster"].tolist() == list(model.predict())
    again = make_pbmc()  # other tests have set copies of the first up
    vmm.SCVI.setup_anndata(again, layer="counts", batch_key="lanes", labels_key="bulk_labels")
    alone = vmm.SCVI(again, prior="vmm", n_hidden=32, n_latent=5, n_components=12, seed=6)
    alone.train(**SETTINGS)
    expected = adjusted_rand_score(alone.predict().codes, model.predict().codes)
    assert found.ari.loc[5, 6] == pytest.approx(expected, abs=0.05)
    assert found.ari.loc[5, 7] != found.ari.loc[5, 6]


def test_pictures(model, found):
    figure = model.plot_stability(found)
    shown = [text.get_text() for text in figure.findobj() if hasattr(text, "get_text")]
    unsure = int(found.cells["unsure"].sum())
    assert ("unsure" in shown) == (unsure > 0) and "Consensus of 3 seeds" in shown
    axes = {axes.get_label() for axes in model.plot_stability(found, "stays").axes}
    assert "cells" in axes
    with pytest.raises(ValueError, match="'both'; it must be 'consensus' or 'stays'"):
        model.plot_stability(found, "both")


def test_settings_of_the_training_are_saved(model, pbmc, tmp_path, monkeypatch):
    model.save(str(tmp_path / "model"))
    loaded = vmm.SCVI.load(str(tmp_path / "model"), adata=pbmc)
    assert loaded.training_settings_ == model.training_settings_
    assert loaded.training_settings_["batch_size"] == SETTINGS["batch_size"]
    loaded.training_settings_ = None
    with pytest.raises(InputError, match="saved by an earlier version"):
        loaded.cluster_stability(1)
    with pytest.raises(InputError, match="load it with one to train it anew"):
        vmm.SCVI.load(str(tmp_path / "model"), adata=False).cluster_stability(1)


def test_trainings_that_diverge_are_left_out(model, monkeypatch):
    def some(models, *_, **__):
        row = {"valid_elbo": 0.0}
        status = ["diverged" if i in lost else "ok" for i in range(len(models))]
        return [FitResult(each, [row], 1) for each in status]

    monkeypatch.setattr("vmm.scvi.stability.fit_all", some)
    lost = {1}
    with pytest.warns(UserWarning, match="left out; their seeds: 7"):
        found = model.cluster_stability(3, enable_progress_bar=False)
    assert found.ari.index.tolist() == [5, 6, 8]
    lost = {0, 1}
    with pytest.raises(InputError, match="all 2 trainings with other seeds met NaN"):
        model.cluster_stability(2, enable_progress_bar=False)


def test_what_has_no_clusters_is_refused():
    pbmc = make_pbmc(30)
    vmm.SCVI.setup_anndata(pbmc, layer="counts")
    with pytest.raises(ValueError, match="has no clusters"):
        vmm.SCVI(pbmc, prior="normal").cluster_stability()
    with pytest.raises(InputError, match="`n_seeds` is 1; it must be a whole number of at least 2"):
        model = vmm.SCVI(pbmc, n_hidden=4, n_latent=2, n_components=3)
        model.train(max_epochs=1, enable_progress_bar=False)
        model.cluster_stability(1)
