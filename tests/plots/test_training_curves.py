"""Training curves draw the histories."""

import numpy as np
import pandas as pd
import pytest

from vmm.errors import InputError
from vmm.plots.training_curves import Trainings, read_history, training_curves_figure


def _history(n=20, clusters=True, nmi=False, offset=0.0):
    epoch = np.arange(1, n + 1)
    frame = pd.DataFrame(
        {
            "epoch": epoch,
            "train_elbo": -100 / epoch + offset,
            "valid_elbo": -120 / epoch - 5 + offset,
            "utilized_clusters": 100 // epoch if clusters else np.nan,
            "seconds": 0.5,
        }
    )
    if nmi:
        frame["valid_unmerged_nmi"] = epoch / n
    return frame


def _of(histories, best_epochs=None):
    """Return trainings with colours of their own."""
    best_epochs = best_epochs or {}
    return [
        Trainings(label, colour, trials, best_epochs.get(label, [None] * len(trials)))
        for (label, trials), colour in zip(histories.items(), ("#2372ae", "#b63074"), strict=False)
    ]


def _axes(figure):
    return {axes.get_label(): axes for axes in figure.axes}


def test_lines_are_the_histories(fits):
    histories = {"gmm": [_history(20), _history(12)], "vmm": [_history(15, offset=3)]}
    figure = training_curves_figure(_of(histories), title="digits")
    axes = _axes(figure)
    assert set(axes) == {f"{m}/{r}" for m in ("gmm", "vmm") for r in ("elbo", "utilized_clusters")}
    assert axes["gmm/elbo"].get_title() == "gmm"
    assert axes["vmm/elbo"].lines[-1].get_color() == "#b63074"
    drawn = [x for x in axes["gmm/elbo"].lines if x.get_label() == "valid_elbo"]
    assert [len(x.get_xdata()) for x in drawn] == [20, 12]
    np.testing.assert_allclose(drawn[1].get_ydata(), histories["gmm"][1]["valid_elbo"])
    (clusters,) = axes["vmm/utilized_clusters"].lines
    np.testing.assert_allclose(clusters.get_ydata(), 100 // np.arange(1, 16))
    fits(figure)


def test_rows_share_axes_and_the_first_epochs_are_cut():
    figure = training_curves_figure(_of({"gmm": [_history()], "vmm": [_history(offset=50)]}))
    axes = _axes(figure)
    assert axes["gmm/elbo"].get_ylim() == axes["vmm/elbo"].get_ylim()
    low, high = axes["gmm/elbo"].get_ylim()
    assert low > -125 and low < -120 / 3 - 5 and high > 45  # epochs from the third on are whole


def test_clusters_and_epochs_are_whole_numbers():
    """Two clusters in three epochs: no tick at 0.5."""
    few = _history(3).assign(utilized_clusters=[1, 2, 2])
    axes = _axes(training_curves_figure(_of({"vmm": [few]})))["vmm/utilized_clusters"]
    ticks = [*axes.get_yticks(), *axes.get_xticks()]
    assert len(ticks) > 4 and all(float(tick).is_integer() for tick in ticks)


def test_best_epochs_are_marked():
    figure = training_curves_figure(_of({"vmm": [_history(), _history()]}, {"vmm": [7, None]}))
    dots = [x for x in _axes(figure)["vmm/elbo"].lines if x.get_gid() == "best"]
    assert [x.get_xdata()[0] for x in dots] == [7]
    assert dots[0].get_ydata()[0] == pytest.approx(-120 / 7 - 5)


def test_a_method_without_clusters_says_none_and_nmi_gets_a_row(fits):
    figure = training_curves_figure(
        _of({"normal": [_history(clusters=False)], "vmm": [_history(nmi=True)]})
    )
    axes = _axes(figure)
    assert [t.get_text() for t in axes["normal/utilized_clusters"].texts] == ["none"]
    (line,) = axes["vmm/valid_unmerged_nmi"].lines
    assert line.get_ydata()[-1] == 1
    fits(figure)


def test_diverged_and_empty_histories(fits):
    broken = _history(6)
    broken.loc[4:, ["train_elbo", "valid_elbo"]] = np.nan
    figure = training_curves_figure(_of({"gmm": [broken, _history(0)], "vmm": [_history(0)]}))
    assert {label.split("/")[0] for label in _axes(figure)} == {"gmm"}
    assert np.isfinite(_axes(figure)["gmm/elbo"].get_ylim()).all()
    fits(figure)
    with pytest.raises(InputError, match="nothing to draw"):
        training_curves_figure(_of({"vmm": [_history(0)]}))


def test_a_method_whose_every_trial_diverged_at_once_says_so(fits):
    broken = _history(1)
    broken[["train_elbo", "valid_elbo"]] = np.nan
    histories = {"gmm": [broken, broken], "vmm": [_history()]}
    figure = training_curves_figure(_of(histories, {"gmm": [0, 0]}))
    axes = _axes(figure)
    assert [t.get_text() for t in axes["gmm/elbo"].texts] == ["diverged"]
    assert not axes["gmm/elbo"].lines and not axes["vmm/elbo"].texts
    fits(figure)


def test_best_epochs_follow_their_trials_when_a_history_is_empty():
    figure = training_curves_figure(_of({"vmm": [_history(0), _history()]}, {"vmm": [None, 9]}))
    dots = [x for x in _axes(figure)["vmm/elbo"].lines if x.get_gid() == "best"]
    assert [x.get_xdata()[0] for x in dots] == [9]


def test_read_history(tmp_path):
    _history(5).to_csv(tmp_path / "history.csv", index=False)
    assert len(read_history(tmp_path / "history.csv")) == 5
    _history(5).drop(columns="valid_elbo").to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InputError, match="valid_elbo"):
        read_history(tmp_path / "bad.csv")
