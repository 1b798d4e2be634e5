"""The rule that chooses batch size and prior learning ratio without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.errors import InputError
from vmm.numerics.partitions import agreement

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tuning:
    """What a search for batch size and prior learning ratio found.

    Attributes
    ----------
    batch_size : int
    prior_learning_ratio : float
        The choice.
    reason : str
        Why, in a sentence.
    table : pandas.DataFrame
        A row for each setting:

        - batch_size, prior_learning_ratio;
        - n_seeds: trainings that came to an end;
        - n_clusters: mean over them;
        - elbo: mean over them of the ELBO of their validation cells, in nats a cell;
        - behind, se: how far that is behind the best setting's, mean over seeds, and the standard
          error of that;
        - ari: mean adjusted Rand index of each two of them;
        - status: "chosen", "less stable", "worse fit", "one cluster" or "diverged".
    """

    batch_size: int
    prior_learning_ratio: float
    reason: str
    table: pd.DataFrame

    @property
    def options(self) -> dict[str, Any]:
        """The choice as arguments of :meth:`vmm.SCVI.train`."""
        return {"batch_size": self.batch_size, "prior_learning_ratio": self.prior_learning_ratio}


def choose(
    found: Sequence[tuple[int, float, dict[int, tuple[np.ndarray, float]]]], seeds: Sequence[int]
) -> Tuning:
    """Choose a setting.

    Parameters
    ----------
    found : sequence of tuple
        Batch size, ratio and, for each seed whose training came to an end, clusters (N,) and
        validation ELBO.
    seeds : sequence of int
        All of them.

    Raises
    ------
    InputError
        If no setting gives clusters in all trainings.
    """
    import pandas as pd

    rows = [_row(size, ratio, trained, len(seeds)) for size, ratio, trained in found]
    table = pd.DataFrame(rows)
    open_ = table["status"] == ""
    if not open_.any():
        raise InputError(
            "no setting gives two clusters or more with every seed; try larger `batch_sizes`, "
            "smaller `prior_learning_ratios` or, if trainings diverged, a lower `learning_rate`."
        )
    elbos = np.array([[trained.get(s, (None, np.nan))[1] for s in seeds] for *_, trained in found])
    best = table["elbo"].where(open_).idxmax()
    behind = elbos[best] - elbos
    table.insert(5, "behind", behind.mean(1))
    table.insert(6, "se", behind.std(1, ddof=1) / np.sqrt(len(seeds)))
    good = open_ & (table["behind"] <= table["se"])
    table.loc[open_ & ~good, "status"] = "worse fit"
    chosen = table["ari"].where(good).idxmax()
    table.loc[good, "status"] = "less stable"
    table.loc[chosen, "status"] = "chosen"
    row = table.loc[chosen]
    near = f"validation ELBO is within a standard error of the best ({table.loc[best, 'elbo']:.2f})"
    said = (
        f"of the {good.sum()} of {len(table)} settings whose {near}, the one whose clusters agree "
        f"best between {len(seeds)} seeds"
        if good.sum() > 1
        else f"the only one of {len(table)} settings whose {near}, with {len(seeds)} seeds"
    )
    reason = (
        f"Batch size {row['batch_size']} and prior learning ratio {row['prior_learning_ratio']:g}: "
        f"{said} (mean adjusted Rand index {row['ari']:.3f}, {row['n_clusters']:.1f} clusters)."
    )
    return Tuning(int(row["batch_size"]), float(row["prior_learning_ratio"]), reason, table)


def _row(
    size: int, ratio: float, trained: dict[int, tuple[np.ndarray, float]], n_seeds: int
) -> dict[str, Any]:
    """Describe a setting; its status is empty where it may be chosen."""
    codes = [np.unique(codes, return_inverse=True)[1].ravel() for codes, _ in trained.values()]
    sizes = [int(own.max()) + 1 for own in codes]
    row: dict[str, Any] = {"batch_size": size, "prior_learning_ratio": ratio}
    row |= {"n_seeds": len(trained), "n_clusters": float(np.mean(sizes)) if sizes else np.nan}
    row["elbo"] = float(np.mean([elbo for _, elbo in trained.values()])) if sizes else np.nan
    row["ari"] = np.nan
    if len(sizes) > 1:
        pairs = agreement(np.stack(codes, axis=1))
        row["ari"] = float(pairs[np.triu_indices(len(codes), 1)].mean())
    lost = len(trained) < n_seeds
    return row | {"status": "diverged" if lost else "one cluster" if min(sizes) < 2 else ""}
