"""Plots of the model: they show what the model says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_cells_by_cluster_with_a_sorted_legend(model, pbmc):
    pbmc.obsm["X_any"] = np.random.default_rng(0).normal(size=(700, 3))
    figure = model.plot_cells(basis="X_any")
    cells, legend = figure.axes
    sizes = pd.Series(model.predict()).value_counts(sort=False)
    shown = texts(legend)
    assert shown[::2] == list(sizes.index) and shown[1::2] == [str(n) for n in sizes]
    assert len(cells.collections[0].get_offsets()) == 700
    batches = model.plot_cells("lanes", basis="X_any")
    assert texts(batches.axes[1])[::2] == ["1-4", "5-8"] and not texts(batches.axes[0])
    with pytest.raises(KeyError, match=r"nonsense not found in adata.obs"):
        model.plot_cells("nonsense")
    with pytest.raises(KeyError, match=r"X_none not found in adata.obsm"):
        model.plot_cells(basis="X_none")


def test_layout_is_computed_once(model, pbmc):
    model.plot_cells(basis="mde")
    first = pbmc.obsm["X_vmm_mde"]
    model.plot_cells("lanes", basis="mde")
    assert pbmc.obsm["X_vmm_mde"] is first and first.shape == (700, 2)


def test_composition(model, pbmc):
    axes = model.plot_composition().axes[0]
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    rows = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert columns[0] == pbmc.obs["bulk_labels"].value_counts().index[0]
    row = next(i for i, name in enumerate(rows) if name.startswith("0 "))
    in_first = pbmc.obs["bulk_labels"][model.predict() == "0"]
    assert rows[row] == f"0  ({len(in_first)})"
    expected = in_first.value_counts(normalize=True).reindex(columns).fillna(0)
    np.testing.assert_allclose(shares[row], expected)
    major = shares.argmax(1)
    assert (np.diff(major) >= 0).all()


def test_training(model):
    figure = model.plot_training()
    elbo, clusters = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in elbo.lines}
    np.testing.assert_allclose(
        lines["valid_elbo"], -model.history["elbo_validation"]["elbo_validation"]
    )
    assert len(clusters.lines[0].get_ydata()) == 12
