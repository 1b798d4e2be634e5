"""Which clusters can be trusted: what other seeds make of the same cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vmm.data.messages import in_the_median, listing, number_of
from vmm.data.splits import random_split
from vmm.errors import InputError
from vmm.numerics.partitions import (
    DOUBTFUL,
    STABLE,
    SURE,
    agreement,
    comes_back,
    consensus,
)
from vmm.numerics.seeds import seed_of
from vmm.progress import progress, say
from vmm.scvi.clusters import same_clusters
from vmm.scvi.names import warn
from vmm.scvi.options import device_of, whole
from vmm.scvi.plots import PlotMixin
from vmm.training.embedding import embed
from vmm.training.settings import Settings
from vmm.training.stacked import fit_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERDICTS = ("stable", "doubtful", "unstable")


@dataclass(frozen=True)
class ClusterStability:
    """What trainings with other seeds make of the clusters of a model.

    Attributes
    ----------
    clusters : pandas.DataFrame
        A row for each of the model's clusters, in the order of names:

        - n_cells;
        - jaccard, jaccard_min: Jaccard similarity with the cluster most like it in each other
          training, mean and least of them;
        - comes_back: part of the other trainings where that is at least 0.75;
        - stays: mean over its cells, see `cells`;
        - n_unsure: its cells of which the consensus is unsure;
        - verdict: "stable" (`jaccard` of 0.75 and more), "doubtful" or "unstable" (below 0.6).
    cells : pandas.DataFrame
        A row for each cell:

        - cluster: the model's;
        - stays: part of the other trainings where it is in the cluster most like its own;
        - consensus: its cluster in the partition that all trainings share, with the model's names
          for clusters that are the same (more than half of the cells of either in common);
        - together: how often it is in one cluster with the others of its cluster of the consensus,
          mean over these and part of all trainings;
        - unsure: whether that is less than one half.
    ari : pandas.DataFrame
        Adjusted Rand index of each two trainings' partitions; rows and columns are seeds, the
        model's own first.
    n_clusters : pandas.Series
        Clusters that cells are in, by seed.
    """

    clusters: pd.DataFrame
    cells: pd.DataFrame
    ari: pd.DataFrame
    n_clusters: pd.Series

    @property
    def agreement(self) -> np.ndarray:
        """Adjusted Rand indices of all pairs of trainings, ascending: their distribution."""
        return np.sort(self.ari.to_numpy()[np.triu_indices(len(self.ari), 1)])

    def __str__(self) -> str:
        return " ".join(self.sentences())

    def sentences(self) -> list[str]:
        """Say in words which clusters can be trusted."""
        others, table = len(self.ari) - 1, self.clusters
        said = []
        for verdict, what in zip(VERDICTS, WORDS, strict=True):
            names = [str(name) for name in table.index[table["verdict"] == verdict]]
            if names:
                verb = "are" if len(names) > 1 else "is"
                these = number_of(len(names), "cluster")
                said.append(f"{these} {verb} {what}: {listing(names, len(names))}.")
        low, median, high = np.quantile(self.agreement, (0, 0.5, 1))
        least, most = self.n_clusters.min(), self.n_clusters.max()
        each = f"{least} to " if least < most else ""
        n, unsure = len(self.cells), int(self.cells["unsure"].sum())
        shared = number_of(self.cells["consensus"].nunique(), "cluster")
        any_two = "The two" if others == 1 else f"Two of the {others + 1}"
        return [
            *said,
            f"{any_two} trainings agree with an adjusted Rand index of "
            f"{in_the_median(median, low, high)}; they have {each}{number_of(most, 'cluster')}.",
            f"The partition that they share has {shared}, and is unsure of {unsure:,} of {n:,} "
            f"cells ({unsure / n:.1%}).",
        ]


WORDS = (
    f"stable (mean Jaccard similarity of at least {STABLE} with what other seeds find)",
    f"doubtful ({DOUBTFUL} to {STABLE})",
    f"not to be trusted (less than {DOUBTFUL})",
)


class StabilityMixin(PlotMixin):
    """Clusters compared with those of other seeds."""

    def cluster_stability(
        self,
        n_seeds: int = 10,
        accelerator: str = "auto",
        devices: int | str = "auto",
        enable_progress_bar: bool = True,
    ) -> ClusterStability:
        """Tell which clusters, and which cells in them, do not depend on the seed.

        Trains the same model anew with other seeds, all of them at once, each as
        ``vmm.SCVI(adata, seed=…)`` would be with the settings of the last :meth:`train`: another
        split, other initial networks and pseudo-inputs, other batches and noise. This model stays
        as it is.

        Parameters
        ----------
        n_seeds : int
            Trainings, with the seeds that follow that of the model. At least 2: of two partitions
            none can be told to be the unusual one.
        accelerator, devices
            As for :meth:`train`.
        enable_progress_bar : bool

        Returns
        -------
        ClusterStability
            ``clusters`` and ``cells`` have the tables, ``str()`` says it in words.

        Raises
        ------
        InputError
            If the model cannot be trained anew, or no other training comes to an end.
        """
        self._require_clusters()
        self._require_training()
        n_seeds = whole(n_seeds, "n_seeds", 2)
        seeds = [self._seed + i for i in range(1, n_seeds + 1)]
        device = device_of(accelerator, devices)
        known = dict(self.training_settings_ or {})
        how = known.pop("validation_size"), Settings(**known)
        label = f"Training with {n_seeds} other seeds"
        if enable_progress_bar:
            say(label)
        trained = self._train_seeds(seeds, *how, device, label if enable_progress_bar else None)
        if not trained:
            raise InputError(
                f"all {n_seeds} trainings with other seeds met NaN or infinity; lower "
                "`learning_rate`."
            )
        if lost := [seed for seed in seeds if seed not in trained]:
            warn(f"Trainings that met NaN or infinity are left out; their seeds: {listing(lost)}.")
        partitions = {seed: clusters for seed, (clusters, _) in trained.items()}
        own = self._cluster_probabilities().argmax(1)
        names = [self.cluster_names[rank] for rank in np.unique(own)]
        return describe(own, names, {self._seed: own, **partitions}, self.adata.obs_names)

    def _require_training(self) -> None:
        """Refuse what trains anew where that is not possible."""
        if self.adata is None:
            raise InputError("The model has no AnnData; load it with one to train it anew.")
        if self.n_reference_batches_ is not None:
            raise InputError(
                "The model is a query, whose clusters are those of its reference; ask that one."
            )
        if not self.training_settings_:
            raise InputError(
                "The model was saved by an earlier version, without the settings of its training; "
                "train it again."
            )

    def _train_seeds(
        self, seeds: list[int], part: float, settings: Settings, device: Any, label: str | None
    ) -> dict[int, tuple[np.ndarray, float]]:
        """Train new networks with these seeds at once, shown by a label or not at all.

        Return clusters (N,) and validation ELBO, by the seeds of those that did not diverge.
        """
        cells = self._tensors(device)
        splits = [random_split(len(cells), part, 0, seed) for seed in seeds]
        models = [
            self._networks(cells, train, seed)
            for seed, (train, _) in zip(seeds, splits, strict=True)
        ]
        each = [replace(settings, seed=seed_of(seed, 0, "training")) for seed in seeds]
        shown = None if label is None else [progress(label, settings.max_epochs)] * len(seeds)
        results = fit_all(models, cells, splits, each, progress=shown)
        found = {}
        for seed, network, result in zip(seeds, models, results, strict=True):
            if result.status == "ok":
                _, probabilities = embed(network, cells, sample=False)
                assert probabilities is not None  # the prior has clusters
                elbo = result.history[result.best_epoch - 1]["valid_elbo"]
                found[seed] = probabilities.argmax(1), elbo
        return found

    def plot_stability(
        self,
        stability: ClusterStability,
        color: str = "consensus",
        basis: str = "mde",
        seed: int = 0,
    ) -> Figure:
        """Draw the cells by what :meth:`cluster_stability` found.

        Parameters
        ----------
        stability : ClusterStability
        color : {"consensus", "stays"}
            Clusters of the consensus, cells that it is unsure of in grey; or how often each cell
            stays in its cluster.
        basis, seed
            As for :meth:`plot_cells`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from vmm.plots.scatter import number_figure, scatter_figure

        if color not in ("consensus", "stays"):
            raise ValueError(f"`color` is {color!r}; it must be 'consensus' or 'stays'.")
        cells, xy = stability.cells, self._layout(basis, seed)
        if color == "stays":
            return number_figure(xy, cells["stays"].to_numpy(), "How often cells stay")
        clusters = cells["consensus"].cat
        codes = np.where(cells["unsure"], -1, clusters.codes.to_numpy())
        title = f"Consensus of {len(stability.ari)} seeds"
        return scatter_figure(xy, codes, list(clusters.categories), title, missing="unsure")


def describe(
    own: np.ndarray, names: list[str], partitions: dict[int, np.ndarray], cells: pd.Index
) -> ClusterStability:
    """Compare a model's clusters with those of other seeds.

    `names` are those of the clusters of `own` (N,) that occur, ascending. `partitions` have the
    clusters of each cell, by seed: the model's own first, and at least one more.
    """
    seeds = pd.Index(partitions, name="seed")
    all_codes = np.stack(
        [np.unique(codes, return_inverse=True)[1].ravel() for codes in partitions.values()], axis=1
    )
    own = all_codes[:, 0]
    best, stays = comes_back(own, all_codes[:, 1:])
    agreed, together = consensus(all_codes)
    unsure = together < SURE
    sizes = np.bincount(own)
    mean = best.mean(1)
    verdict = np.select([mean >= STABLE, mean >= DOUBTFUL], VERDICTS[:2], VERDICTS[2])
    clusters = pd.DataFrame(
        {
            "n_cells": sizes,
            "jaccard": mean,
            "jaccard_min": best.min(1),
            "comes_back": (best >= STABLE).mean(1),
            "stays": np.bincount(own, weights=stays) / sizes,
            "n_unsure": np.bincount(own, weights=unsure).astype(int),
            "verdict": verdict,
        },
        index=pd.Index(names, name="cluster"),
    )
    table = pd.DataFrame(
        {
            "cluster": pd.Categorical.from_codes(own, names),
            "stays": stays,
            "consensus": _named(agreed, own, names),
            "together": together,
            "unsure": unsure,
        },
        index=cells,
    )
    ari = pd.DataFrame(agreement(all_codes), seeds, seeds)
    return ClusterStability(clusters, table, ari, pd.Series(all_codes.max(0) + 1, seeds))


def _named(agreed: np.ndarray, own: np.ndarray, names: list[str]) -> pd.Categorical:
    """Name the clusters of the consensus: as the model's that they are, else by new names."""
    by_size = np.argsort(-np.bincount(agreed), kind="stable")
    ranks = np.argsort(by_size)[agreed]
    same = {now: names[before] for before, now in same_clusters(own, ranks).items()}
    taken = {*names}
    free = (str(n) for n in range(len(names) + len(by_size)) if str(n) not in taken)
    return pd.Categorical.from_codes(
        ranks, [same[rank] if rank in same else next(free) for rank in range(len(by_size))]
    )
