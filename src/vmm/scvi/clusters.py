"""Clusters of cells: assignment, names and uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from vmm.data.messages import listing
from vmm.models.base import encode_once
from vmm.priors.records import clustering_priors
from vmm.scvi.names import not_among, warn
from vmm.scvi.part import ModelPart

if TYPE_CHECKING:
    from anndata import AnnData


class ClusterMixin(ModelPart):
    """Which cluster a cell belongs to, and how surely.

    Clusters are named "0", "1", … by descending number of training cells. Components of the prior
    that no cell is assigned to come last, by descending weight. Clusters that stay the same when
    the training goes on keep name and place.
    """

    def _require_clusters(self) -> None:
        """Refuse what needs clusters from an untrained model or one without any."""
        if not self.module.prior.n_components:
            *others, last = map(repr, clustering_priors("cells"))
            raise ValueError(
                f"prior={self._prior!r} has no clusters; use prior={', '.join(others)} or {last}, "
                "or cluster the latent representation."
            )
        self._check_if_trained(warn=False)

    def _order_clusters(self, before: np.ndarray | None = None) -> None:
        """Sort components by their number of cells, and name them.

        If the training went on, those that are clusters of `before` (N,), ranks, keep their place
        and name, and the user is told of the others.
        """
        prior = self.module.prior
        if not prior.n_components:
            return
        names = self.cluster_names
        self.cluster_order_ = np.arange(prior.n_components)
        now = self._cluster_probabilities().argmax(1)
        sizes = np.bincount(now, minlength=prior.n_components)
        weights = prior.log_weights().detach().cpu().numpy()
        by_size = np.lexsort((-weights, -sizes))
        if before is None:
            self.cluster_order_ = by_size
            self.cluster_names_ = [str(rank) for rank in range(prior.n_components)]
            return
        same = same_clusters(before, now)
        others = [component for component in by_size if component not in same.values()]
        self.cluster_order_ = np.array([*same.values(), *others])
        occupied = np.unique(before)
        # Neither a cluster that is gone nor one that was named by the user lends its first name.
        chosen = [names[rank] for rank in occupied] + [n for n in names if not n.isdecimal()]
        free = (str(n) for n in count(len(occupied)) if str(n) not in chosen)
        kept = [names[rank] for rank in same]
        self.cluster_names_ = kept + [next(free) for _ in others]
        gone = [name for name in dict.fromkeys(chosen) if name not in kept]
        n_new = len(np.unique(now)) - len(kept)
        if gone or n_new:
            new = self.cluster_names_[len(kept) : len(kept) + n_new]
            warn(
                f"Training on changed the clusters: {len(kept)} of {len(occupied)} are the same "
                f"and keep their names; names that are gone: {listing(gone)}; new ones: "
                f"{listing(new)}."
            )

    @torch.inference_mode()
    def _cluster_probabilities(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        batch_size: int | None = None,
        n_samples: int = 0,
    ) -> np.ndarray:
        """Return q(c|x), shape (n, K), columns in the order of names.

        At the mean of q(z|x), or averaged over `n_samples` samples of it.
        """
        adata = self._validate_anndata(adata)
        networks, parts = self.module.networks, []
        encode = encode_once(networks)
        for tensors in self._make_data_loader(adata, indices, batch_size=batch_size):
            q = networks.posterior(self.module.batch(tensors))
            if n_samples:
                points = q.rsample(torch.randn(n_samples, *q.mean.shape, device=q.mean.device))
            else:
                points = q.mean[None]
            log_probs = networks.prior.cluster_log_probs(points.flatten(0, 1), encode)
            parts.append(log_probs.exp().reshape(*points.shape[:2], -1).mean(0))
        return torch.cat(parts).cpu().numpy()[:, self.cluster_order_]

    @property
    def cluster_names(self) -> list[str]:
        """Names of all K components, those that training cells are assigned to first.

        Empty before training, and for the prior N(0, I).
        """
        return list(self.cluster_names_ or [])

    def rename_clusters(self, names: Mapping[str, str]) -> None:
        """Give clusters names of your own, such as cell types; they are saved with the model.

        Parameters
        ----------
        names : mapping
            ``{present name: new name}`` of some or all clusters.
        """
        self._require_clusters()
        if unknown := [name for name in names if name not in self.cluster_names]:
            raise ValueError(not_among(unknown[0], self.cluster_names, "cluster"))
        renamed = [str(names.get(name, name)) for name in self.cluster_names]
        if len(set(renamed)) < len(renamed):
            twice = next(name for name in renamed if renamed.count(name) > 1)
            raise ValueError(f"Two clusters would be named {twice!r}; names must differ.")
        self.cluster_names_ = renamed

    def predict(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        soft: bool = False,
        batch_size: int | None = None,
    ) -> pd.Categorical | pd.DataFrame:
        """Assign cells to clusters.

        Parameters
        ----------
        adata : anndata.AnnData, optional
            The model's own by default. New cells must have the model's genes, in any order and
            with others between them, and come from batches that the model knows; for others see
            :meth:`load_query_data`.
        indices : sequence of int, optional
            Cells to use.
        soft : bool
            Whether to return probabilities.
        batch_size : int, optional
            Cells at once; bounds memory, changes no result.

        Returns
        -------
        pandas.Categorical of length n
            The most probable cluster of each cell. Categories are the clusters that occur, largest
            (in training) first.
        pandas.DataFrame, shape (n, K)
            With `soft`: q(c|x) at the mean of q(z|x), rows summing to one.
        """
        self._require_clusters()
        adata = self._validate_anndata(adata)
        probabilities = self._cluster_probabilities(adata, indices, batch_size)
        if soft:
            cells = adata.obs_names
            cells = cells if indices is None else cells[indices]
            return pd.DataFrame(probabilities, cells, self.cluster_names)
        codes = probabilities.argmax(1)
        present, codes = np.unique(codes, return_inverse=True)
        return pd.Categorical.from_codes(codes, [self.cluster_names[rank] for rank in present])

    def get_cluster_uncertainty(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        n_samples: int = 0,
        batch_size: int | None = None,
    ) -> pd.DataFrame:
        """Say how sure the assignment of each cell is.

        Parameters
        ----------
        adata, indices, batch_size
            As for :meth:`predict`.
        n_samples : int
            0: of the probabilities that :meth:`predict` gives. Else they are averaged over so many
            samples of q(z|x), which adds the uncertainty about z.

        Returns
        -------
        pandas.DataFrame, shape (n, 5)
            cluster, its probability, second (the next most probable cluster), second_probability,
            and the entropy of q(c|x) in nats (0: certain).
        """
        self._require_clusters()
        adata = self._validate_anndata(adata)
        probabilities = self._cluster_probabilities(adata, indices, batch_size, n_samples)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        best = np.take_along_axis(probabilities, order, axis=1)
        names = np.array(self.cluster_names, dtype=object)
        second = order.shape[1] - 1  # one component only: itself
        cells = adata.obs_names
        safe = np.maximum(probabilities, np.finfo(np.float32).tiny)
        return pd.DataFrame(
            {
                "cluster": names[order[:, 0]],
                "probability": best[:, 0],
                "second": names[order[:, second]],
                "second_probability": best[:, second],
                "entropy": -(probabilities * np.log(safe)).sum(1),
            },
            index=cells if indices is None else cells[indices],
        )


def same_clusters(before: np.ndarray, now: np.ndarray) -> dict[int, int]:
    """Find the clusters that stayed the same: most cells before and most cells now in common.

    Of the cluster of each cell (N,). Returned are clusters of `before`, ascending, and those of
    `now` that they are.
    """
    table = np.zeros((before.max() + 1, now.max() + 1), dtype=np.int64)
    np.add.at(table, (before, now), 1)
    most = (2 * table > table.sum(1, keepdims=True)) & (2 * table > table.sum(0, keepdims=True))
    return {int(old): int(new) for old, new in np.argwhere(most)}
