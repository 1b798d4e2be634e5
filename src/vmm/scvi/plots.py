"""Plots of a trained model. They need no pyplot: save them by ``figure.savefig``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vmm.priors.records import PRIORS
from vmm.scvi.clusters import ClusterMixin

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PlotMixin(ClusterMixin):
    """Cells in the plane, clusters by labels, and the training."""

    def plot_cells(self, color: str = "cluster", basis: str = "mde", seed: int = 0) -> Figure:
        """Draw the cells, coloured by cluster or by a column of ``adata.obs``.

        Parameters
        ----------
        color : str
            "cluster" (legend by size), or a column of ``obs``.
        basis : str
            "mde" (minimum-distortion embedding of the latent representation), "umap", or a key of
            ``adata.obsm``. The first two are kept in ``adata.obsm["X_vmm_mde"]`` and
            ``["X_vmm_umap"]`` and not computed again for the same model.
        seed : int
            Of the layout.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from vmm.plots.scatter import scatter_figure

        if color == "cluster":
            values = self.predict()
        elif color in self.adata.obs:
            values = pd.Categorical(self.adata.obs[color].astype(str))
        else:
            raise KeyError(f"{color} not found in adata.obs.")
        batches = color == self.get_setup_arg("batch_key")
        codes, names = values.codes.astype(int), list(values.categories)
        return scatter_figure(self._layout(basis, seed), codes, names, color, batches)

    def _layout(self, basis: str, seed: int) -> np.ndarray:
        """Return coordinates (N, 2)."""
        if basis not in ("mde", "umap"):
            if basis not in self.adata.obsm:
                raise KeyError(f"{basis} not found in adata.obsm.")
            return np.asarray(self.adata.obsm[basis])[:, :2]
        latent = self.get_latent_representation()
        key, signature = f"X_vmm_{basis}", (basis, seed, latent.tobytes())
        if getattr(self, "_layouts", {}).get(key) != hash(signature) or key not in self.adata.obsm:
            self.adata.obsm[key] = _umap(latent, seed) if basis == "umap" else _mde(latent, seed)
            self._layouts = getattr(self, "_layouts", {}) | {key: hash(signature)}
        return self.adata.obsm[key]

    def plot_composition(self, labels_key: str | None = None) -> Figure:
        """Draw a heat map of clusters by known labels: the part of each cluster with each label.

        Parameters
        ----------
        labels_key : str, optional
            Column of ``obs``; by default the one that was registered.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from vmm.plots.composition import composition_figure

        labels_key = labels_key or self.get_setup_arg("labels_key")
        if labels_key is None:
            raise ValueError("No labels: give `labels_key`, here or to `setup_anndata`.")
        if labels_key not in self.adata.obs:
            raise KeyError(f"{labels_key} not found in adata.obs.")
        clusters = pd.Series(self.predict(), index=self.adata.obs_names, name="cluster")
        counts = pd.crosstab(clusters, self.adata.obs[labels_key].astype(str))
        return composition_figure(counts, f"{labels_key} in each cluster")

    def plot_training(self) -> Figure:
        """Draw ELBO (training and validation) and utilised clusters over epochs.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from vmm.plots.training_curves import Trainings, training_curves_figure

        self._check_if_trained(warn=False)
        history = pd.DataFrame(
            {
                "epoch": np.arange(1, len(self.history["elbo_train"]) + 1),
                "train_elbo": -self.history["elbo_train"].to_numpy().ravel(),
                "valid_elbo": -self.history["elbo_validation"].to_numpy().ravel(),
            }
        )
        clusters = self.history["utilized_clusters"].to_numpy().ravel()
        history["utilized_clusters"] = clusters if self.module.prior.n_components else np.nan
        record = PRIORS[self._prior]
        shown = Trainings(record.label, record.colour, [history], [self.best_epoch_])
        return training_curves_figure([shown])


def _mde(latent: np.ndarray, seed: int) -> np.ndarray:
    from vmm.plots.mde import compute_mde

    return compute_mde(latent, seed)


def _umap(latent: np.ndarray, seed: int) -> np.ndarray:
    import scanpy as sc
    from anndata import AnnData

    cells = AnnData(latent)
    sc.pp.neighbors(cells, use_rep="X", transformer="sklearn")  # pynndescent 0.7 fails in scanpy
    sc.tl.umap(cells, random_state=seed)
    return cells.obsm["X_umap"]
