"""Scores of embeddings between those of controls, whose quality is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from vmm.benchmark.methods.records import NO_INTEGRATION, Method, method_of
from vmm.benchmark.metrics.records import of_family
from vmm.paper.labels import dataset_label
from vmm.plots.ranges import ranges_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SLACK = 0.01
"""By how much a mean must be beyond the range to be told."""
COLUMNS = ["dataset", "metric", "method", "control", "n", "mean", "least", "most", "outside"]


def control_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare the scores of embeddings with those of controls.

    Parameters
    ----------
    rows : pandas.DataFrame
        Tidy rows of the metrics of integration, those of controls among them.

    Returns
    -------
    pandas.DataFrame
        A row for each data set, metric and method: the mean over trials of its score; `least` and
        `most` of all trials of all controls, principal components without integration among them;
        and whether the mean is "above" or "below" that by more than :data:`SLACK`: then something
        is odd about the embedding or the metric. Empty for metrics that no control has.
    """
    frame = rows[rows["status"] == "ok"]
    pairs = list(zip(frame["model"], frame["prior"], strict=True))
    known = {pair: method_of(*pair) for pair in dict.fromkeys(pairs)}
    bounds = {pair: m.control or m.name == NO_INTEGRATION for pair, m in known.items()}
    frame = frame.assign(pair=pairs, control=[bounds[pair] for pair in pairs])
    metrics = {metric.name for metric in of_family("integration", newer=True)}
    found: list[dict[str, Any]] = []
    for (dataset, metric), part in frame.groupby(["dataset", "metric"], sort=False):
        band = part.loc[part["control"], "value"]
        if band.empty or metric not in metrics:
            continue
        least, most = band.min(), band.max()
        for pair, own in part.groupby("pair", sort=False)["value"]:
            mean, control = own.mean(), bounds[pair]
            outside = "" if control else _beyond(mean, least, most)
            named = [dataset, metric, known[pair].label, control]
            values = [*named, len(own), mean, least, most, outside]
            found.append(dict(zip(COLUMNS, values, strict=True)))
    return pd.DataFrame(found, columns=COLUMNS)


def _beyond(mean: float, least: float, most: float) -> str:
    return "below" if mean < least - SLACK else "above" if mean > most + SLACK else ""


def controls_figure(table: pd.DataFrame, methods: Mapping[str, Method]) -> Figure:
    """Draw the scores of one data set between those of its controls.

    Parameters
    ----------
    table : pandas.DataFrame
        Of :func:`control_scores`, one data set.
    methods : mapping
        All methods that may be among them, in the order of the legend.

    Returns
    -------
    matplotlib.figure.Figure
    """
    colours = {m.label: m.colour for m in methods.values() if m.label in set(table["method"])}
    order = [metric.name for metric in of_family("integration", newer=True)]
    table = table.sort_values("metric", key=lambda names: names.map(order.index), kind="stable")
    name = table["dataset"].iloc[0] if len(table) else ""
    return ranges_figure(table, colours, f"{dataset_label(str(name))}: scores between controls")


def outside_sentences(table: pd.DataFrame) -> list[str]:
    """Say which scores lie outside those of the controls."""
    said = []
    for row in table[table["outside"].fillna("") != ""].to_dict("records"):
        ends = dict.fromkeys(f"{row[end]:.3f}" for end in ("least", "most"))
        said.append(
            f"{row['method']} has {row['mean']:.3f} in {row['metric']}, {row['outside']} all "
            f"controls ({' to '.join(ends)})."
        )
    return said
