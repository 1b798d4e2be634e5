"""Figure 5 draws what the rows say."""

import numpy as np
import pytest

from vmm.errors import InputError
from vmm.paper.figures.tuning import parse_setting, tuning_figure

CHOICE = {"batch_size": 256, "prior_learning_ratio": 2.5, "criterion": "Total", "reason": "best"}
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


def test_setting_parser():
    assert parse_setting("b128-r2.5") == (128, 2.5)
    assert parse_setting("b512-r0.1").prior_learning_ratio == 0.1
    assert parse_setting("b64-r1e-05") == (64, 1e-5)
    assert parse_setting("chosen") is None
    assert parse_setting("b128-nmi") is None


def test_lines_are_means_by_batch_size(rows):
    left, right = tuning_figure(rows, CHOICE, N_TYPES).axes
    for axes, metric in ((left, "Utilized clusters"), (right, "Total")):
        lines = _lines(axes)
        assert list(lines) == ["batch size 128", "batch size 256", "batch size 512"]
        assert lines["batch size 128"].get_xdata().tolist() == [1, 2.5]
        want = [_value(metric, 512, r, 1) for r in (1, 2.5, 5, 10)]  # trial 1 is the mean of 0–2
        np.testing.assert_allclose(lines["batch size 512"].get_ydata(), want)
        assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2.5", "5", "10"]


def test_red_line_is_at_the_number_of_types(rows):
    left, right = tuning_figure(rows, CHOICE, N_TYPES).axes
    (line,) = [x for x in left.lines if x.get_gid() == "n_types"]
    assert set(line.get_ydata()) == {N_TYPES}
    assert line.get_linestyle() == "--"
    assert not [x for x in right.lines if x.get_gid() == "n_types"]


def test_box_is_at_the_choice_only(rows):
    left, right = tuning_figure(rows, CHOICE, N_TYPES).axes
    assert not left.patches
    (patch,) = right.patches
    assert patch.get_x() < 2.5 < patch.get_x() + patch.get_width()
    middle = patch.get_y() + patch.get_height() / 2
    assert middle == pytest.approx(_value("Total", 256, 2.5, 1))
    assert patch.get_x() > 1 and patch.get_x() + patch.get_width() < 5


def test_criterion_decides_the_right_panel(rows):
    choice = {**CHOICE, "criterion": "Bio conservation"}
    right = tuning_figure(rows, choice, N_TYPES).axes[1]
    assert right.get_ylabel() == "Bio conservation score"


def test_settings_with_too_few_clusters_are_hollow(rows):
    right = tuning_figure(rows, CHOICE, N_TYPES).axes[1]
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
    few.append(row("pbmc", "vmm", "b128-r0.1", 0, "Total", "", "diverged", kind="cells"))
    few.append(row("pbmc", "vmm", "b128-r0.25", 0, "Total", 0.61, kind="cells"))
    left, right = (figure := tuning_figure(few, CHOICE, N_TYPES)).axes
    assert _lines(right)["batch size 128"].get_xdata().tolist() == [0.25, 1, 2.5]
    assert _lines(left)["batch size 128"].get_xdata().tolist() == [1, 2.5]
    assert not [c for c in right.collections if (c.get_gid() or "").startswith("band")]
    fits(figure)


def test_choice_without_a_point_draws_no_box(rows, fits):
    figure = tuning_figure(rows, {**CHOICE, "batch_size": 64}, N_TYPES)
    assert not figure.axes[1].patches
    fits(figure)


def test_errors(rows):
    with pytest.raises(InputError, match="criterion"):
        tuning_figure(rows, {"batch_size": 1, "prior_learning_ratio": 1}, N_TYPES)
    with pytest.raises(InputError, match="nothing to draw"):
        tuning_figure([], CHOICE, N_TYPES)
