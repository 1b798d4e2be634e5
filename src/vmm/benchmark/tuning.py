"""The paper's search for a batch size and a prior learning ratio (its Appendix C, Figure 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.jobs import train_trials
from vmm.benchmark.setting import Setting
from vmm.benchmark.spec import Spec
from vmm.errors import InputError
from vmm.io import read_json

if TYPE_CHECKING:
    import pandas as pd


def climb(
    data_path: str | Path,
    split_paths: Sequence[str | Path],
    specs: Sequence[Spec],
    ratios: Iterable[float],
    n_types: int,
    folder_of: Callable[[int, Setting], str | Path],
    device: str = "auto",
    cuda_graph: bool = False,
    origin: Mapping[str, Any] | None = None,
) -> list[list[dict[str, Any]]]:
    """Train with ascending prior learning ratios until there are fewer clusters than types.

    A greater ratio gives fewer clusters: beyond the first with fewer than `n_types`, none is
    eligible. Each trial climbs by itself; those that train with the same ratio are trained at once.
    A ratio whose folders are complete, of the same `origin`, is not trained again.

    Parameters
    ----------
    data_path : path
    split_paths : sequence of path
        For each trial.
    specs : sequence of Spec
        For each trial; setting and ratio are given by each step.
    ratios : iterable of float
    n_types : int
        Number of cell types.
    folder_of : callable
        Maps a trial and a setting to the model's folder.
    device : str
    cuda_graph : bool
        See :class:`vmm.training.settings.Settings`.
    origin : mapping, optional
        What else a step's model depends on: data and code.

    Returns
    -------
    list of list of dict
        For each trial, of each ratio that ran: setting, prior_learning_ratio, utilized_clusters,
        status.

    Raises
    ------
    InputError
        If there are no cell types, by which to choose.
    """
    if not n_types:
        name = specs[0].job.dataset
        raise InputError(
            f"tuning chooses by the known cell types, and no cell of {name} has a label; give "
            f"batch_size and prior_learning_ratio of datasets.{name}"
        )
    steps: list[list[dict[str, Any]]] = [[] for _ in specs]
    climbing = list(range(len(specs)))
    for ratio in sorted(ratios):
        step_specs = [specs[i].at_ratio(ratio) for i in climbing]
        folders = [Path(folder_of(spec.job.trial, spec.job.setting)) for spec in step_specs]
        wanted = [{"spec": spec.plain(), "origin": origin} for spec in step_specs]
        if not all(map(_complete, folders, wanted)):
            splits = [split_paths[i] for i in climbing]
            train_trials(
                data_path, splits, step_specs, folders, device, cuda_graph=cuda_graph, origin=origin
            )
        for i, spec, folder in zip(climbing, step_specs, folders, strict=True):
            run = read_json(folder / "run.json", "status", "utilized_clusters")
            outcome = {key: run[key] for key in ("utilized_clusters", "status")}
            setting = {"setting": str(spec.job.setting), "prior_learning_ratio": ratio}
            steps[i].append(setting | outcome)
        climbing = [i for i in climbing if steps[i][-1]["utilized_clusters"] >= n_types]
        if not climbing:
            break
    return steps


def _complete(folder: Path, wanted: Mapping[str, Any]) -> bool:
    try:
        run = read_json(folder / "run.json", "spec")
    except InputError:  # absent or damaged: made anew
        return False
    return all(run.get(key) == value for key, value in wanted.items())


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
    means = means.loc[sorted(means.index, key=Setting.parse)]
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
    chosen = Setting.parse(str(choice))
    table = means.reset_index().rename_axis(columns=None)
    return {
        "batch_size": chosen.batch_size,
        "prior_learning_ratio": chosen.ratio,
        "setting": choice,
        "criterion": criterion,
        "reason": reason,
        "table": [
            {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
            for row in table.to_dict("records")
        ],
    }
