"""The overview of scores shows the means of the rows, best method first."""

import numpy as np
import pytest

from vmm.errors import InputError
from vmm.figures.scores import scores_figure
from vmm.names import AGGREGATE_METRICS, BATCH_METRICS, BIO_METRICS, INTEGRATION_METRICS

BASE = {"scvi_tools": 0.5, "normal": 0.55, "gmm": 0.6, "vmm": 0.7, "pca": 0.3}


def _value(method, metric, trial):
    return BASE[method] + 0.01 * INTEGRATION_METRICS.index(metric) + 0.002 * trial


@pytest.fixture
def rows(row):
    return [
        row("pbmc", method, "chosen", trial, metric, _value(method, metric, trial), kind="cells")
        for method in BASE
        for trial in range(3)
        for metric in INTEGRATION_METRICS
    ]


def _texts(figure, gid):
    return [t for t in figure.axes[0].texts if t.get_gid() == gid]


def _methods(figure):
    left = min(t.get_position()[0] for t in figure.axes[0].texts)
    names = [t for t in figure.axes[0].texts if t.get_position()[0] == left]
    return [t.get_text() for t in names if t.get_text() != "PBMC"][: len(BASE)]


def test_numbers_are_means_and_methods_are_sorted(rows, fits):
    figure = scores_figure(rows)
    assert _methods(figure) == ["scVI VMM", "scVI GMM", "scVI N(0, I)", "scvi-tools N(0, I)", "PCA"]
    order = ["vmm", "gmm", "normal", "scvi_tools", "pca"]
    for metric in BATCH_METRICS + BIO_METRICS:
        want = [f"{_value(m, metric, 1):.2f}" for m in order]
        assert [t.get_text() for t in _texts(figure, f"v:{metric}")] == want
    for metric in AGGREGATE_METRICS:
        want = [f"{_value(m, metric, 1):.3f}" for m in order]
        assert [t.get_text() for t in _texts(figure, f"v:{metric}")] == want
    fits(figure)


def test_bars_are_as_long_as_the_scores_and_circles_grow(rows):
    axes = scores_figure(rows).axes[0]
    bars = [p.get_width() for p in axes.patches if p.get_gid() == "Total"]
    want = [_value(m, "Total", 1) for m in ("vmm", "gmm", "normal", "scvi_tools", "pca")]
    np.testing.assert_allclose(np.array(bars) / bars[0], np.array(want) / want[0])
    radii = [p.get_radius() for p in axes.patches if p.get_gid() == "cLISI"]
    assert radii == sorted(radii, reverse=True) and radii[0] > radii[-1]


def test_one_batch_leaves_out_batch_correction(rows, fits):
    for r in rows:
        if r["metric"] in [*BATCH_METRICS, "Batch correction", "Total"]:
            r.update(value="", status="n/a: one batch")
    figure = scores_figure(rows)
    assert not _texts(figure, "v:KBET") and not _texts(figure, "v:Total")
    assert len(_texts(figure, "v:Bio conservation")) == len(BASE)
    assert any("does not apply" in t.get_text() for t in figure.axes[0].texts)
    fits(figure)


def test_missing_values_and_trials_show(rows, fits):
    rows = [r for r in rows if not (r["model"] == "PCA" and r["metric"] == "KBET")]
    for r in rows:
        if r["prior"] == "GaussianMixture" and r["trial"] == 2:
            r.update(value="", status="diverged")
    figure = scores_figure(rows)
    assert len(_texts(figure, "v:KBET")) == len(BASE) - 1
    assert [t.get_text() for t in figure.axes[0].texts].count("–") == 1
    assert "scVI GMM (2 of 3 trials)" in _methods(figure)
    fits(figure)


def test_one_trial_one_method(rows, fits):
    only = [r for r in rows if r["trial"] == 0 and r["prior"] == "VampPriorMixture"]
    figure = scores_figure(only)
    assert not [x for x in figure.axes[0].lines if x.get_gid() == "interval"]
    fits(figure)


def test_settings_and_data_sets_are_selected(rows, row):
    rows.append(row("pbmc", "vmm", "b128-r1", 0, "Total", 0.0, kind="cells"))
    rows.append(row("cortex", "vmm", "chosen", 0, "Total", 0.0, kind="cells"))
    figure = scores_figure(rows, "pbmc")
    assert _texts(figure, "v:Total")[0].get_text() == f"{_value('vmm', 'Total', 1):.3f}"
    with pytest.raises(InputError, match="several"):
        scores_figure(rows)
    with pytest.raises(InputError, match="lung"):
        scores_figure(rows, "lung")
