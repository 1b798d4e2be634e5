"""The paper's search for a batch size and a prior learning ratio (its Appendix C, Figure 5)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.errors import InputError
from vmm.grid import tuning_setting
from vmm.io import read_json
from vmm.jobs import train

if TYPE_CHECKING:
    import pandas as pd


def parse_setting(setting: str) -> tuple[int, float]:
    """Return batch size and ratio of a setting's name (:func:`vmm.grid.tuning_setting`)."""
    match = re.fullmatch(r"b(\d+)-r([\d.e+-]+)", setting)
    if match is None:
        raise InputError(f"setting is {setting!r}; it must look like b128-r2.5")
    return int(match[1]), float(match[2])


def climb(
    data_path: str | Path,
    split_path: str | Path,
    spec: dict[str, Any],
    ratios: Iterable[float],
    n_types: int,
    folder_of: Callable[[float], str | Path],
    device: str = "auto",
    cuda_graph: bool = False,
) -> list[dict[str, Any]]:
    """Train with ascending prior learning ratios until there are fewer clusters than types.

    A greater ratio gives fewer clusters: beyond the first with fewer than `n_types`, none is
    eligible. A ratio whose folder is complete is not trained again.

    Parameters
    ----------
    data_path, split_path : path
    spec : dict
        Of :func:`vmm.jobs.train`, without setting and prior_learning_ratio.
    ratios : iterable of float
    n_types : int
        Number of cell types.
    folder_of : callable
        Maps a ratio to its model's folder.
    device : str
    cuda_graph : bool
        See :class:`vmm.training.Settings`.

    Returns
    -------
    list of dict
        For each ratio that ran: setting, prior_learning_ratio, utilized_clusters, status.
    """
    steps = []
    for ratio in sorted(ratios):
        setting = tuning_setting(spec["batch_size"], ratio)
        step_spec = {**spec, "setting": setting, "prior_learning_ratio": ratio}
        folder = Path(folder_of(ratio))
        if not _complete(folder, step_spec):
            train(data_path, split_path, step_spec, folder, device, cuda_graph=cuda_graph)
        run = read_json(folder / "run.json", "status", "utilized_clusters")
        steps.append(
            {
                "setting": setting,
                "prior_learning_ratio": ratio,
                "utilized_clusters": run["utilized_clusters"],
                "status": run["status"],
            }
        )
        if run["utilized_clusters"] < n_types:
            break
    return steps


def _complete(folder: Path, spec: dict[str, Any]) -> bool:
    try:
        return read_json(folder / "run.json", "spec")["spec"] == spec
    except InputError:  # absent or damaged: made anew
        return False


def choose_setting(rows: pd.DataFrame, n_types: int, single_batch: bool) -> dict[str, Any]:
    """Choose the setting with the best mean score among those with enough clusters.

    Parameters
    ----------
    rows : DataFrame
        Tidy rows of the tuned models: "Utilized clusters" and the integration metrics.
    n_types : int
        Number of cell types.
    single_batch : bool
        Whether the data have one batch; the score is then "Bio conservation", else "Total".

    Returns
    -------
    dict
        batch_size, prior_learning_ratio, criterion, reason, and a table with a row a setting.
    """
    criterion = "Bio conservation" if single_batch else "Total"
    ok = rows[(rows["status"] == "ok") & rows["metric"].isin([criterion, "Utilized clusters"])]
    means = ok.pivot_table(index="setting", columns="metric", values="value", aggfunc="mean")
    means = means.reindex(columns=["Utilized clusters", criterion]).dropna()
    if means.empty:
        raise InputError(f"no tuned model has both a number of clusters and {criterion}")
    means["trials"] = ok[ok["metric"] == criterion].groupby("setting")["trial"].nunique()
    means = means.loc[sorted(means.index, key=parse_setting)]
    eligible = means[means["Utilized clusters"] >= n_types]
    if len(eligible):
        choice = eligible[criterion].idxmax()
        reason = (
            f"best mean {criterion} ({means.loc[choice, criterion]:.4f}) among the "
            f"{len(eligible)} of {len(means)} settings whose mean number of clusters is at least "
            f"{n_types}, the number of cell types"
        )
    else:
        choice = means["Utilized clusters"].idxmax()
        reason = (
            f"no setting has a mean of at least {n_types} clusters, the number of cell types; "
            f"this one has the most ({means.loc[choice, 'Utilized clusters']:.1f})"
        )
    batch_size, ratio = parse_setting(str(choice))
    table = means.reset_index().rename_axis(columns=None)
    return {
        "batch_size": batch_size,
        "prior_learning_ratio": ratio,
        "setting": choice,
        "criterion": criterion,
        "reason": reason,
        "table": [
            {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
            for row in table.to_dict("records")
        ],
    }
