"""How far the clusters of a model are those of another trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from vmm.benchmark.evaluation.folders import Folders
from vmm.benchmark.job import JOB_COLUMNS
from vmm.io import read_arrays, read_json
from vmm.numerics.partitions import STABLE, SURE, agreement, comes_back, consensus

METHOD = [column for column in JOB_COLUMNS if column != "trial"]
COLUMNS = [
    *METHOD,
    *("n_trials", "n_clusters", "ari", "ari_least", "ari_most"),
    *("n_stable", "in_stable", "unsure"),
]


def evaluate_stability(folders: Folders) -> pd.DataFrame:
    """Compare the clusters of trials of the same method, which differ in split and seed.

    Parameters
    ----------
    folders : iterable of path
        Models' folders, of any methods of one data set; those whose method does not cluster, or
        whose training was not ok, are passed over.

    Returns
    -------
    pandas.DataFrame
        A row for each method with two trials or more:

        - n_trials, and the mean n_clusters of a trial;
        - ari, ari_least, ari_most: adjusted Rand index of two trials, median and range;
        - n_stable: of the clusters of a trial, mean number of those whose Jaccard similarity with
          the most similar one of the other trials has a mean of at least 0.75;
        - in_stable: part of the cells that are in such a cluster;
        - unsure: part of the cells that the trials' consensus is unsure of.
    """
    trials: dict[tuple, list[np.ndarray]] = {}
    for folder in map(Path, folders):
        run = read_json(folder / "run.json", "status", "spec")
        latent = read_arrays(folder / "latent.npz", "embedding") if run["status"] == "ok" else {}
        if "cluster_probs" in latent:
            key = tuple(run["spec"][column] for column in METHOD)
            assigned = latent["cluster_probs"].argmax(1)
            codes = np.unique(assigned, return_inverse=True)[1].ravel()
            trials.setdefault(key, []).append(codes)
    rows = [[*key, *_described(np.stack(own, 1))] for key, own in trials.items() if len(own) > 1]
    return pd.DataFrame(rows, columns=COLUMNS)


def _described(partitions: np.ndarray) -> list[float]:
    """Return what :data:`COLUMNS` have of the clusters (N, R) of R trials."""
    n_trials = partitions.shape[1]
    pairs = agreement(partitions)[np.triu_indices(n_trials, 1)]
    n_stable, in_stable = [], []
    for trial, own in enumerate(partitions.T):
        best, _ = comes_back(own, np.delete(partitions, trial, axis=1))
        stable = best.mean(1) >= STABLE
        n_stable.append(stable.sum())
        in_stable.append(stable[own].mean())
    _, together = consensus(partitions)
    return [
        n_trials,
        float(partitions.max(0).mean() + 1),
        *map(float, (np.median(pairs), pairs.min(), pairs.max())),
        float(np.mean(n_stable)),
        float(np.mean(in_stable)),
        float((together < SURE).mean()),
    ]
