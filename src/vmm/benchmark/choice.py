"""Which batch size and prior learning ratio a data set gets, of those that tuning trained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vmm.benchmark.metrics.records import CLUSTERS
from vmm.benchmark.metrics.rows import concatenate_rows, rows_from_scores
from vmm.benchmark.setting import Setting
from vmm.benchmark.spec import TUNED_KEYS
from vmm.errors import InputError
from vmm.io import read_arrays, read_json, read_table
from vmm.numerics.partitions import agreement
from vmm.training.choice import choose

ELBO, AGREEMENT = "Validation ELBO", "ARI between trials"
"""What decides without labels: fit in nats a cell, and stability."""


def choose_setting(rows: pd.DataFrame, n_types: int, single_batch: bool) -> dict[str, Any]:
    """Choose by labels: the best mean score among settings with enough clusters.

    The paper's rule (its Appendix C).

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
        batch_size, prior_learning_ratio, setting, rule, criteria (metrics that decide, the last by
        its mean), reason, and a table with a row a setting.
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
    return {
        "batch_size": chosen.batch_size,
        "prior_learning_ratio": chosen.ratio,
        "setting": choice,
        "rule": "supervised",
        "criteria": [criterion],
        "reason": reason,
        "table": means.reset_index().to_dict("records"),
    }


def choose_without_labels(
    folders: Iterable[str | Path],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Choose without labels: the most stable setting among those that fit as well as the best.

    The rule of :meth:`vmm.SCVI.tune`, with trials for seeds.

    Parameters
    ----------
    folders : iterable of path
        Of all tuned models of a data set: the same trials of each setting.

    Returns
    -------
    choice : dict
        As of :func:`choose_setting`; the table has the status of each setting.
    rows : pandas.DataFrame
        Tidy rows of each model: its number of clusters, its validation ELBO, and the mean adjusted
        Rand index of its clusters with those of the other trials of its setting.

    Raises
    ------
    InputError
        If no setting gives clusters in all trials.
    """
    specs: dict[Setting, dict[int, dict[str, Any]]] = {}
    trained: dict[Setting, dict[int, tuple[np.ndarray, float]]] = {}
    for folder in map(Path, folders):
        run = read_json(folder / "run.json", "status", "spec", "best_epoch")
        setting, trial = Setting.parse(run["spec"]["setting"]), run["spec"]["trial"]
        specs.setdefault(setting, {})[trial] = run["spec"]
        ok = trained.setdefault(setting, {})
        if run["status"] == "ok":
            clusters = read_arrays(folder / "latent.npz", "cluster_probs")["cluster_probs"]
            history = read_table(folder / "history.csv")
            ok[trial] = clusters.argmax(1), float(history["valid_elbo"][run["best_epoch"] - 1])
    settings = sorted(trained)
    found = [(s.batch_size or 0, s.ratio or 0.0, trained[s]) for s in settings]
    chosen = choose(found, sorted({trial for of in specs.values() for trial in of}))
    names = dict(n_clusters=CLUSTERS, elbo=ELBO, ari=AGREEMENT, n_seeds="trials", status="status")
    table = chosen.table.rename(columns=names)[list(names.values())].astype(object)
    table = table.where(table.notna(), None)
    table.insert(0, "setting", [str(setting) for setting in settings])
    choice = {
        **{key: getattr(chosen, key) for key in TUNED_KEYS},
        "setting": str(settings[chosen.table["status"].tolist().index("chosen")]),
        "rule": "unsupervised",
        "criteria": [ELBO, AGREEMENT],
        "reason": chosen.reason.replace("seeds", "trials"),
        "table": table.to_dict("records"),
    }
    parts = [_rows(specs[setting], trained[setting]) for setting in settings]
    return choice, concatenate_rows(parts)


def _rows(
    specs: dict[int, dict[str, Any]], trained: dict[int, tuple[np.ndarray, float]]
) -> pd.DataFrame:
    """Return the rows of the trials of one setting."""
    parts = []
    codes = [clusters for clusters, _ in trained.values()]
    pairs = agreement(np.stack(codes, axis=1)) if codes else np.empty((0, 0))
    places = {trial: place for place, trial in enumerate(trained)}
    for trial, spec in specs.items():
        scores: dict[str, Any] = dict.fromkeys((CLUSTERS, ELBO, AGREEMENT), (None, "diverged"))
        if trial in trained:
            clusters, elbo = trained[trial]
            others = np.delete(pairs[places[trial]], places[trial])
            none = (None, "n/a: no other trial")
            scores = {
                CLUSTERS: len(np.unique(clusters)),
                ELBO: elbo,
                AGREEMENT: float(others.mean()) if len(others) else none,
            }
        parts.append(rows_from_scores(spec, scores))
    return concatenate_rows(parts)
