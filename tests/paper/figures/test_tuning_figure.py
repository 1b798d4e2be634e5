"""Figure 5 draws what the rows say."""

import numpy as np
import pytest
from figure_checks import tidy

from vmm.benchmark.choice import AGREEMENT, ELBO
from vmm.errors import InputError
from vmm.paper.figures.tuning import tuning_figure

CHOICE = {
    "batch_size": 256,
    "prior_learning_ratio": 2.5,
    "rule": "supervised",
    "criteria": ["Total"],
}
N_TYPES = 9


def _value(metric, batch, ratio, trial):
    if metric == "Utilized clusters":
        return 8 * (batch / 128) ** 0.5 / ratio**0.2 + 0.5 * trial
    return 0.6 + 0.01 * ratio - 0.0001 * batch + 0.001 * trial


@pytest.fixture
def rows(row):
    return [
        row("pbmc", "vmm", f"b{b}-r{r:g}", t, m, _value(m, b, r, t), kind="cells")
        for b in (128, 256, 512)
        for r in (1, 2.5, 5, 10)
        for t in range(3)
        for m in ("Utilized clusters", "Total", "Bio conservation")
        if not (b == 128 and r > 2.5)
    ]


def _lines(axes):
    return {x.get_label(): x for x in axes.lines if x.get_label().startswith("batch size")}


def test_lines_are_means_by_batch_size(rows):
    left, right = tuning_figure(tidy(rows), CHOICE, N_TYPES).axes
    for axes, metric in ((left, "Utilized clusters"), (right, "Total")):
        lines = _lines(axes)
        assert list(lines) == ["batch size 128", "batch size 256", "batch size 512"]
        assert lines["batch size 128"].get_xdata().tolist() == [1, 2.5]
        want = [_value(metric, 512, r, 1) for r in (1, 2.5, 5, 10)]  # trial 1 is the mean of 0–2
        np.testing.assert_allclose(lines["batch size 512"].get_ydata(), want)
        assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2.5", "5", "10"]


def test_red_line_is_at_the_number_of_types(rows):
    left, right = tuning_figure(tidy(rows), CHOICE, N_TYPES).axes
    (line,) = [x for x in left.lines if x.get_gid() == "n_types"]
    assert set(line.get_ydata()) == {N_TYPES}
    assert line.get_linestyle() == "--"
    assert not [x for x in right.lines if x.get_gid() == "n_types"]


def test_numbers_of_clusters_are_whole(rows):
    panel = tuning_figure(tidy(rows), CHOICE, N_TYPES).axes[0]
    panel.set_ylim(0, 3)
    assert all(float(tick).is_integer() for tick in panel.get_yticks())


def test_box_is_at_the_choice_only(rows):
    left, right = tuning_figure(tidy(rows), CHOICE, N_TYPES).axes
    assert not left.patches
    (patch,) = right.patches
    assert patch.get_x() < 2.5 < patch.get_x() + patch.get_width()
    middle = patch.get_y() + patch.get_height() / 2
    assert middle == pytest.approx(_value("Total", 256, 2.5, 1))
    assert patch.get_x() > 1 and patch.get_x() + patch.get_width() < 5


def test_criterion_decides_the_right_panel(rows):
    choice = {**CHOICE, "criteria": ["Bio conservation"]}
    right = tuning_figure(tidy(rows), choice, N_TYPES).axes[1]
    assert right.get_ylabel() == "Bio conservation score"


def test_settings_with_too_few_clusters_are_hollow(rows):
    right = tuning_figure(tidy(rows), CHOICE, N_TYPES).axes[1]
    want = {
        (r, round(_value("Total", b, r, 1), 9))
        for b in (128, 256, 512)
        for r in (1, 2.5, 5, 10)
        if _value("Utilized clusters", b, r, 1) < N_TYPES and not (b == 128 and r > 2.5)
    }
    hollow = [x for x in right.lines if x.get_gid() == "hollow"]
    got = {(x.get_xdata()[0], round(x.get_ydata()[0], 9)) for x in hollow}
    assert want and got == want


def test_one_trial_diverged_rows_and_small_ratios(rows, row, fits):
    few = [r for r in rows if r["trial"] == 0]
    few.append(row("pbmc", "vmm", "b128-r0.1", 0, "Total", None, "diverged", kind="cells"))
    few.append(row("pbmc", "vmm", "b128-r0.25", 0, "Total", 0.61, kind="cells"))
    left, right = (figure := tuning_figure(tidy(few), CHOICE, N_TYPES)).axes
    assert _lines(right)["batch size 128"].get_xdata().tolist() == [0.25, 1, 2.5]
    assert _lines(left)["batch size 128"].get_xdata().tolist() == [1, 2.5]
    assert not [c for c in right.collections if (c.get_gid() or "").startswith("band")]
    fits(figure)


def test_choice_without_a_point_draws_no_box(rows, fits):
    figure = tuning_figure(tidy(rows), {**CHOICE, "batch_size": 64}, N_TYPES)
    assert not figure.axes[1].patches
    fits(figure)


def test_without_labels_fit_and_stability_are_shown(row, fits):
    """No line at the number of types; hollow is what could not be chosen; one box."""
    values = {"Utilized clusters": 9, ELBO: -400, AGREEMENT: 0.5}
    rows = [
        row("pbmc", "vmm", f"b{b}-r{r:g}", t, m, value + r + t, kind="cells")
        for b in (128, 256)
        for r in (1, 5)
        for t in range(3)
        for m, value in values.items()
    ]
    statuses = ["worse fit", "chosen", "one cluster", "less stable"]
    settings = ["b128-r1", "b128-r5", "b256-r1", "b256-r5"]
    table = [dict(setting=s, status=status) for s, status in zip(settings, statuses, strict=True)]
    choice = {"batch_size": 128, "prior_learning_ratio": 5, "rule": "unsupervised"}
    choice |= {"criteria": [ELBO, AGREEMENT], "table": table}
    figure = tuning_figure(tidy(rows), choice, N_TYPES)
    clusters, fit, stability = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "Utilised clusters",
        "Validation ELBO (nats per cell)",
        "ARI between trials",
    ]
    assert not [x for x in clusters.lines if x.get_gid() == "n_types"]
    for axes, middle in ((clusters, 9), (fit, -400), (stability, 0.5)):
        hollow = [x for x in axes.lines if x.get_gid() == "hollow"]
        got = [(x.get_xdata()[0], round(x.get_ydata()[0], 9)) for x in hollow]
        assert got == [(1, middle + 2)] * 2
    assert not clusters.patches and not fit.patches
    (patch,) = stability.patches
    assert patch.get_x() < 5 < patch.get_x() + patch.get_width()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["batch size 128", "batch size 256", "not eligible", "choice"]
    fits(figure)


def test_errors(rows):
    with pytest.raises(InputError, match="criteria"):
        tuning_figure(tidy(rows), {"batch_size": 1, "prior_learning_ratio": 1}, N_TYPES)
    with pytest.raises(InputError, match="nothing to draw"):
        tuning_figure(tidy([]), CHOICE, N_TYPES)
