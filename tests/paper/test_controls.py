"""Scores between controls: bands, what lies outside, and how it is drawn and told."""

from __future__ import annotations

import pandas as pd
from matplotlib.text import Text

from vmm.benchmark.methods.records import METHODS
from vmm.paper.controls import control_scores, controls_figure, outside_sentences


def rows(scores: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """Return tidy rows of methods, metrics and the values of trials."""
    found = [
        {
            "dataset": "cells",
            "model": METHODS["cells"][method].model,
            "prior": METHODS["cells"][method].prior,
            "setting": "chosen",
            "trial": trial,
            "metric": metric,
            "value": value,
            "status": "ok",
        }
        for method, metrics in scores.items()
        for metric, values in metrics.items()
        for trial, value in enumerate(values)
    ]
    return pd.DataFrame(found)


def texts(figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(Text)}


SCORES = {
    "vmm": {"iLISI": [0.5, 0.7], "cLISI": [1.0, 0.99]},
    "normal": {"iLISI": [0.3, 0.1], "cLISI": [0.4, 0.3], "KBET": [0.2, 0.2]},
    "pca": {"iLISI": [0.2, 0.2], "cLISI": [0.8, 0.8]},
    "random": {"iLISI": [0.9, 0.94], "cLISI": [0.42, 0.4]},
    "perfect": {"iLISI": [0.6, 0.6], "cLISI": [0.99, 0.97]},
}


def test_the_band_is_that_of_all_trials_of_all_controls():
    table = control_scores(rows(SCORES)).set_index(["metric", "method"])
    vmm = METHODS["cells"]["vmm"].label
    assert table.loc[("iLISI", vmm), ["least", "most"]].tolist() == [0.2, 0.94]
    assert table.loc[("cLISI", vmm), ["least", "most"]].tolist() == [0.4, 0.99]
    assert table.loc[("iLISI", vmm), "mean"] == 0.6 and table.loc[("iLISI", vmm), "n"] == 2


def test_only_means_beyond_the_band_are_outside():
    """A VMM of 0.995 is beyond 0.99 by too little; no control has KBET."""
    table = control_scores(rows(SCORES))
    outside = table[table["outside"] != ""]
    normal = METHODS["cells"]["normal"].label
    assert outside[["method", "metric", "outside"]].values.tolist() == [[normal, "cLISI", "below"]]
    assert "KBET" not in set(table["metric"])
    assert table.set_index("method")["control"].groupby("method").first().to_dict() == {
        METHODS["cells"][name].label: name in ("pca", "random", "perfect") for name in SCORES
    }
    told = outside_sentences(table)
    assert told == [f"{normal} has 0.350 in cLISI, below all controls (0.400 to 0.990)."]
    one = control_scores(rows({"normal": {"cLISI": [0.4, 0.3]}, "pca": {"cLISI": [0.8, 0.8]}}))
    assert outside_sentences(one) == [f"{normal} has 0.350 in cLISI, below all controls (0.800)."]


def test_what_is_drawn(fits):
    figure = controls_figure(control_scores(rows(SCORES)), METHODS["cells"])
    fits(figure)
    named = {"iLISI", "cLISI", "Control: random", "PCA", "outside its controls"}
    assert named <= texts(figure)
    axes = next(axes for axes in figure.axes if axes.get_label() == "ranges")
    assert [(bar.get_x(), round(bar.get_width(), 9)) for bar in axes.patches] == [
        (0.2, 0.74),
        (0.4, 0.59),
    ]
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    assert [line.get_xdata()[0] for line in rings] == [0.35]
    points = [line for line in axes.lines if line not in rings]
    heights = {(float(line.get_ydata()[0]), line.get_color()) for line in points}
    assert len({height for height, _ in heights}) == len(points)  # none hides another
    assert all(abs(height - round(height)) < 0.4 for height, _ in heights)


def test_without_a_control_there_is_no_band():
    alone = {name: SCORES[name] for name in ("vmm", "normal")}
    table = control_scores(rows(alone))
    assert table.empty
    assert "No control has a score." in texts(controls_figure(table, METHODS["cells"]))
