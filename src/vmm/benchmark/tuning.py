"""The trainings of the search for a batch size and a prior learning ratio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vmm.benchmark.jobs import train_trials
from vmm.benchmark.setting import Setting
from vmm.benchmark.spec import Spec
from vmm.errors import InputError
from vmm.io import read_json


def climb(
    data_path: str | Path,
    split_paths: Sequence[str | Path],
    specs: Sequence[Spec],
    ratios: Iterable[float],
    n_types: int | None,
    folder_of: Callable[[int, Setting], str | Path],
    device: str = "auto",
    cuda_graph: bool = True,
    origin: Mapping[str, Any] | None = None,
) -> list[list[dict[str, Any]]]:
    """Train with ascending prior learning ratios until there are fewer clusters than types.

    A greater ratio gives fewer clusters: beyond the first with fewer than `n_types`, none is
    eligible where the paper's rule decides, by labels (its Appendix C, Figure 5). Each trial climbs
    by itself; those that train with the same ratio are trained at once. A ratio whose folders are
    complete, of the same `origin`, is not trained again.

    Parameters
    ----------
    data_path : path
    split_paths : sequence of path
        For each trial.
    specs : sequence of Spec
        For each trial; setting and ratio are given by each step.
    ratios : iterable of float
    n_types : int, optional
        Number of cell types; without it, all ratios are trained.
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
    if n_types == 0:
        name = specs[0].job.dataset
        raise InputError(
            f"tuning chooses by the known cell types, and no cell of {name} has a label; give "
            f"batch_size and prior_learning_ratio of datasets.{name}, or choose without labels by "
            "`tuning: unsupervised`"
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
        climbing = [i for i in climbing if steps[i][-1]["utilized_clusters"] >= (n_types or 0)]
        if not climbing:
            break
    return steps


def _complete(folder: Path, wanted: Mapping[str, Any]) -> bool:
    try:
        run = read_json(folder / "run.json", "spec")
    except InputError:  # absent or damaged: made anew
        return False
    return all(run.get(key) == value for key, value in wanted.items())
