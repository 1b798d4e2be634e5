"""A second call of `train`: what goes on, what is kept, and what is said."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from real_cells import SETTINGS

import vmm
from vmm.scvi.clusters import same_clusters


@pytest.fixture
def fitted(pbmc):
    """Return a model with clusters that stay: the cells of three kinds, trained for a while."""
    kinds = ["CD19+ B", "CD14+ Monocyte", "CD56+ NK"]
    cells = pbmc[pbmc.obs["bulk_labels"].isin(kinds)].copy()
    vmm.SCVI.setup_anndata(cells, layer="counts", labels_key="bulk_labels")
    model = vmm.SCVI(cells, n_hidden=32, n_latent=5, n_components=8, seed=1)
    model.train(**SETTINGS | {"max_epochs": 25})
    return model


def test_history_goes_on(fitted, tmp_path):
    first = {name: table.copy() for name, table in fitted.history.items()}
    fitted.train(**SETTINGS | {"max_epochs": 3})
    fitted.save(tmp_path / "model")
    fitted = vmm.SCVI.load(tmp_path / "model", fitted.adata)
    fitted.train(**SETTINGS | {"max_epochs": 2})
    for name, table in fitted.history.items():
        assert list(table.index) == list(range(30)) and table.index.name == "epoch"
        pd.testing.assert_frame_equal(table.iloc[:25], first[name])
    validation = fitted.history["elbo_validation"]["elbo_validation"]
    assert validation[25] == pytest.approx(validation[24], rel=0.05)
    assert fitted.best_epoch_ == 29 + validation[28:].argmin()
    assert len(fitted.plot_training().axes[0].lines[0].get_ydata()) == 30


def test_the_same_clusters_keep_names_and_order(fitted):
    before = fitted.predict()
    largest = before.categories[:3]
    fitted.rename_clusters({"0": "first", "2": "third"})
    names = fitted.cluster_names
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted.train(**SETTINGS | {"max_epochs": 1, "learning_rate": 1e-7})
    assert fitted.cluster_names == names
    assert not any("names" in str(warning.message) for warning in told)
    now = fitted.predict()
    assert list(now.categories[:3]) == ["first", "1", "third"] and len(largest) == 3
    assert ((now == "third") == (before == "2")).mean() > 0.98


def test_what_changes_is_said(fitted):
    before = np.asarray(fitted.predict())
    fitted.rename_clusters({name: f"old {name}" for name in fitted.predict().categories})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted.train(**SETTINGS | {"max_epochs": 6, "prior_learning_ratio": 60.0})
    now = np.asarray(fitted.predict())
    kept = [name for name in np.unique(now) if name.startswith("old")]
    for name in kept:
        common = ((now == name) & (before == name.removeprefix("old "))).sum()
        assert 2 * common > (now == name).sum()
        assert 2 * common > (before == name.removeprefix("old ")).sum()
    gone = {f"old {name}" for name in np.unique(before)} - set(kept)
    (message,) = [str(w.message) for w in told if "clusters" in str(w.message)]
    assert f"{len(kept)} of {len(np.unique(before))} are the same and keep their names" in message
    assert gone and all(name in message for name in gone)
    new = set(np.unique(now)) - set(kept)
    assert all(name in message for name in new)
    assert not new & set(np.unique(before)) and len(set(fitted.cluster_names)) == 8


def test_worse_epochs_are_told(fitted):
    message = r"went on for 1 epochs, of which none reached the validation ELBO before, -\d"
    with pytest.warns(UserWarning, match=message):
        fitted.train(**SETTINGS | {"max_epochs": 1, "learning_rate": 0.05})


def test_which_clusters_are_the_same():
    before = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    now = np.array([5, 5, 5, 1, 1, 1, 1, 0, 0, 3, 3])
    assert same_clusters(before, now) == {0: 5, 1: 1}
    assert same_clusters(now, now) == {0: 0, 1: 1, 3: 3, 5: 5}


def test_a_query_goes_on_too(pbmc):
    lanes = pbmc.obs["lanes"] == "1-4"
    reference, query = pbmc[lanes][:150].copy(), pbmc[~lanes][:60].copy()
    vmm.SCVI.setup_anndata(reference, layer="counts", batch_key="lanes")
    model = vmm.SCVI(reference, n_hidden=16, n_components=5)
    model.train(**SETTINGS | {"max_epochs": 4})
    mapped = vmm.SCVI.load_query_data(query, model)
    mapped.train(**SETTINGS | {"max_epochs": 3})
    assert len(mapped.history["elbo_train"]) == 3  # the reference's is not the query's
    names = mapped.cluster_names
    mapped.train(**SETTINGS | {"max_epochs": 2})
    assert len(mapped.history["elbo_train"]) == 5 and mapped.cluster_names == names
    assert len(model.history["elbo_train"]) == 4
