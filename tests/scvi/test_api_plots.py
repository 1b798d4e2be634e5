"""Plots of the model: they show what the model says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vmm.errors import InputError


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


@pytest.fixture
def coloured(model, pbmc):
    """Return the model with columns of many kinds, taken away afterwards."""
    before = pbmc.obs.copy()
    rng = np.random.default_rng(0)
    pbmc.obsm["X_any"] = rng.normal(size=(700, 3))
    pbmc.obs["share"] = rng.random(700)
    pbmc.obs["number"] = np.where(np.arange(700) % 7, np.arange(700), np.nan)
    pbmc.obs["whole"] = pd.array([None, *range(699)], dtype="Int64")
    pbmc.obs["flag"] = np.arange(700) % 3 == 0
    pbmc.obs["maybe"] = pd.array([None, *([True, False] * 350)][:700], dtype="boolean")
    pbmc.obs["leiden"] = pd.Categorical((np.arange(700) % 12).astype(str))
    pbmc.obs["partly"] = pd.Categorical(np.where(np.arange(700) % 2, "x", None))
    pbmc.obs["sixty"] = [f"c{i % 60}" for i in range(700)]
    yield model
    pbmc.obs = before


def test_cells_by_numbers_have_a_colour_bar(coloured, pbmc):
    for name, known in (("share", 700), ("number", 600), ("whole", 699)):
        figure = coloured.plot_cells(name, basis="X_any")
        assert [axes.get_label() for axes in figure.axes] == ["cells", "key"]
        values = pbmc.obs[name].to_numpy(dtype=float, na_value=np.nan)
        shown = figure.axes[0].collections[-1].get_array()
        np.testing.assert_allclose(shown, np.sort(values[np.isfinite(values)]))
        assert len(shown) == known
        assert figure.get_figwidth() < 5


def test_cells_by_names_and_truth_values(coloured):
    for name, names in (
        ("flag", ["False", "True"]),
        ("maybe", ["False", "True", "no value"]),
        ("leiden", [str(i) for i in range(12)]),
        ("partly", ["x", "no value"]),
        ("sixty", [f"c{i}" for i in range(60)]),
    ):
        figure = coloured.plot_cells(name, basis="X_any")
        assert texts(figure.axes[1])[::2] == names
        assert figure.get_figwidth() < 12


def test_cells_by_gene(coloured, pbmc):
    """Where scanpy takes it from: a layer that is named, raw if there is one, X."""
    gene = pbmc.var_names[3]

    def shown(**options):
        points = coloured.plot_cells(gene, basis="X_any", **options).axes[0].collections[-1]
        return points.get_array()

    def sorted_values(matrix, names):
        column = matrix[:, list(names).index(gene)]
        return np.sort(np.ravel(column.toarray() if hasattr(column, "toarray") else column))

    source = pbmc if pbmc.raw is None else pbmc.raw
    np.testing.assert_allclose(shown(), sorted_values(source.X, source.var_names))
    counts = sorted_values(pbmc.layers["counts"], pbmc.var_names)
    np.testing.assert_allclose(shown(layer="counts"), counts)
    with pytest.raises(KeyError, match=r"umis not found in adata.layers"):
        shown(layer="umis")
    with pytest.raises(ValueError, match="must be one name; draw a figure for each"):
        coloured.plot_cells([gene, "share"])


def test_composition_names_no_label_for_cells_that_have_none(coloured, pbmc):
    """They have a column of their own, and the title says how many the others are."""
    figure = coloured.plot_composition("partly")
    axes = figure.axes[0]
    assert {label.get_text() for label in axes.get_xticklabels()} == {"x", "no value"}
    assert axes.get_title(loc="left") == "partly in each cluster (350 of 700 cells have one)"
    rows = [label.get_text() for label in axes.get_yticklabels()]
    sizes = pd.Series(coloured.predict()).value_counts()
    assert {f"{name}  ({n:,})" for name, n in sizes.items() if n} == set(rows)


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


@pytest.fixture
def partly_labelled(model, pbmc):
    """Return the cells with labels of which the first cluster has none, and a column of none."""
    first = np.asarray(model.predict() == "0")
    before = pbmc.obs.copy()
    pbmc.obs["some"] = pbmc.obs["bulk_labels"].astype(object).mask(first).astype("category")
    pbmc.obs["none"] = pd.Categorical([None] * 700, categories=["B", "T"])
    pbmc.obsm["X_any"] = np.random.default_rng(0).normal(size=(700, 2))
    yield pbmc
    pbmc.obs = before


def test_cells_without_labels(model, partly_labelled):
    n = int(partly_labelled.obs["some"].isna().sum())
    cells, legend = model.plot_cells("some", basis="X_any").axes
    assert texts(legend)[-2:] == ["no value", f"{n:,}"]
    assert cells.get_title(loc="left") == f"some ({700 - n} of 700 cells have one)"
    cells, legend = model.plot_cells("none", basis="X_any").axes
    assert texts(legend) == ["no value", "700"]
    assert cells.get_title(loc="left") == "none (0 of 700 cells have one)"


def test_composition_without_labels(model, partly_labelled):
    n = int(partly_labelled.obs["some"].isna().sum())
    axes = model.plot_composition("some").axes[0]
    assert axes.get_title(loc="left") == f"some in each cluster ({700 - n} of 700 cells have one)"
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert "nan" not in columns and "no value" in columns
    rows = [label.get_text().split()[0] for label in axes.get_yticklabels()]
    shares = axes.images[0].get_array()[rows.index("0")]
    assert shares[columns.index("no value")] == 1
    axes = model.plot_composition("none").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["no value"]
    assert len(axes.get_yticklabels()) == len(model.predict().categories)


@pytest.mark.parametrize("number", [0, -5, 2.5, "many"])
def test_samples_that_cannot_be_laid_out(model, number):
    with pytest.raises(InputError, match=r"`max_cells` is .*; it must be a whole number of at"):
        model.plot_cells(max_cells=number)


@pytest.mark.parametrize("basis", ["mde", "umap"])
def test_of_many_cells_a_sample_is_laid_out(model, pbmc, basis):
    figure = model.plot_cells(basis=basis, max_cells=300)
    layout = np.asarray(pbmc.obsm[f"X_vmm_{basis}"])
    drawn = np.isfinite(layout).all(1)
    assert drawn.sum() == 300 and np.isnan(layout[~drawn]).all()
    cells, legend = figure.axes
    assert len(cells.collections[0].get_offsets()) == 300
    assert "300 of 700 cells drawn" in [text.get_text() for text in cells.texts]
    shown = {text.get_text() for text in legend.texts}
    assert {f"{n:,}" for n in pd.Series(model.predict()).value_counts() if n} <= shown
    kept = pd.crosstab(pbmc.obs["lanes"], drawn)[True] / 300
    share = pbmc.obs["lanes"].value_counts(normalize=True)
    np.testing.assert_allclose(kept, share.reindex(kept.index), atol=0.02)
    model.plot_cells(basis=basis)
    assert np.isfinite(pbmc.obsm[f"X_vmm_{basis}"]).all()
