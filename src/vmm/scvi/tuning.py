"""Batch size and prior learning ratio chosen without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vmm.errors import InputError
from vmm.numerics.partitions import agreement
from vmm.numerics.products import Precision, float32_products
from vmm.priors.records import PRIORS
from vmm.progress import say
from vmm.scvi.options import device_of, number, positive, whole
from vmm.scvi.stability import StabilityMixin
from vmm.scvi.threads import cpu_threads
from vmm.training.settings import Settings

if TYPE_CHECKING:
    from anndata import AnnData

VALIDATED = 0.1
"""Part of the cells that each training is validated on, as by default."""


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


class TuningMixin(StabilityMixin):
    """A search that looks at no label."""

    @classmethod
    def tune(
        cls,
        adata: AnnData,
        batch_sizes: Sequence[int] = (128, 256, 512),
        prior_learning_ratios: Sequence[float] = (1, 2.5, 5, 10),
        n_seeds: int = 5,
        max_epochs: int = 10_000,
        learning_rate: float = 4e-4,
        early_stopping_patience: int = 100,
        precision: Precision = "float32",
        cuda_graph: bool = False,
        sleep_below: float = 0.0,
        accelerator: str = "auto",
        devices: int | str = "auto",
        enable_progress_bar: bool = True,
        **model_options: Any,
    ) -> Tuning:
        """Choose batch size and prior learning ratio by likelihood and stability.

        For each setting of a grid the model is trained with several seeds at once. Of the settings
        whose validation ELBO is as good as the best one's, up to a standard error of the
        difference over seeds, the one is chosen whose clusters agree best between seeds (mean
        adjusted Rand index of each two). Settings by which any seed finds one cluster only do not
        count: one cluster always agrees with itself. No label is looked at.

        Parameters
        ----------
        adata : anndata.AnnData
            Registered by :meth:`setup_anndata`.
        batch_sizes, prior_learning_ratios : sequence
            The grid; those of the paper by default.
        n_seeds : int
            Trainings of each setting, at least 2.
        max_epochs, learning_rate, early_stopping_patience, precision, cuda_graph, sleep_below
            As for :meth:`train`.
        accelerator, devices, enable_progress_bar
            As for :meth:`train`.
        **model_options
            Of :class:`vmm.SCVI`, such as ``n_latent``; the seeds are those from ``seed`` on.

        Returns
        -------
        Tuning

        Raises
        ------
        InputError
            If the grid is empty, or no setting gives clusters.

        Examples
        --------
        >>> found = vmm.SCVI.tune(adata)
        >>> model = vmm.SCVI(adata)
        >>> model.train(**found.options)
        """
        sizes = sorted({whole(size, "batch_sizes", 2) for size in batch_sizes})
        ratios = sorted({positive(r, "prior_learning_ratios") for r in prior_learning_ratios})
        if not sizes or not ratios:
            raise InputError("`batch_sizes` and `prior_learning_ratios` must have a value each.")
        n_seeds = whole(n_seeds, "n_seeds", 2)
        model = cls(adata, **model_options)
        if not model.module.prior.n_components:
            raise InputError(f"prior={model._prior!r} has no clusters, whose stability could tell.")
        if not PRIORS[model._prior].empirical_bayes:
            ratios = ratios[:1]  # without effect
        device = device_of(accelerator, devices)
        seeds = [model._seed + i for i in range(n_seeds)]
        found = []
        with cpu_threads(model.threads), float32_products():
            for size, ratio in product(sizes, ratios):
                settings = Settings(
                    learning_rate=positive(learning_rate, "learning_rate"),
                    batch_size=size,
                    max_epochs=whole(max_epochs, "max_epochs", 1),
                    prior_learning_ratio=ratio,
                    patience=whole(early_stopping_patience, "early_stopping_patience", 1),
                    precision=precision,
                    cuda_graph=cuda_graph,
                    sleep_below=number(sleep_below, "sleep_below"),
                )
                label = f"Batch size {size}, prior learning ratio {ratio:g}"
                if enable_progress_bar:
                    say(f"{label}: {n_seeds} seeds")
                trained = model._train_seeds(
                    seeds, VALIDATED, settings, device, label if enable_progress_bar else None
                )
                found.append((size, ratio, trained))
        return choose(found, seeds)


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
    reason = (
        f"Batch size {row['batch_size']} and prior learning ratio {row['prior_learning_ratio']:g}: "
        f"of the {good.sum()} of {len(table)} settings whose validation ELBO is within a standard "
        f"error of the best ({table.loc[best, 'elbo']:.2f}), the one whose clusters agree best "
        f"between {len(seeds)} seeds (mean adjusted Rand index {row['ari']:.3f}, "
        f"{row['n_clusters']:.1f} clusters)."
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
