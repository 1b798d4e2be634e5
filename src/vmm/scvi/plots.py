"""Plots of a trained model. They need no pyplot: save them by ``figure.savefig``."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scvi import REGISTRY_KEYS
from vmm.data.checks import is_missing, one_column, ordered_categories
from vmm.data.messages import as_text
from vmm.data.stratified import stratified_sample
from vmm.plots.mde import compute_mde
from vmm.priors.records import PRIORS
from vmm.scvi.clusters import ClusterMixin
from vmm.scvi.options import whole

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure
    from mudata import MuData

LAID_OUT = 50_000
"""Cells of a layout: where there are more, it is of a sample."""


class PlotMixin(ClusterMixin):
    """Cells in the plane, clusters by labels, and the training."""

    def plot_cells(
        self,
        color: str = "cluster",
        basis: str = "mde",
        seed: int = 0,
        layer: str | None = None,
        max_cells: int | None = LAID_OUT,
    ) -> Figure:
        """Draw the cells, coloured by cluster, a column of ``adata.obs``, a gene or a protein.

        Numbers get a colour bar. Names, booleans, and the columns that were registered as batches,
        labels and categorical covariates, get a legend with numbers of cells. Cells without a value
        are grey.

        Parameters
        ----------
        color : str
            "cluster" (legend by size), a column of ``obs``, a gene of ``var_names``, or a protein
            of the ``obsm`` that was registered; as in scanpy a column goes before a gene of its
            name, and a gene before a protein, whose name among markers (``CD4_protein``) is taken
            too. Cells without a value are grey and last in the legend, and the title has the
            number of the others.
        basis : str
            "mde" (minimum-distortion embedding of the latent representation), "umap", or a key of
            ``adata.obsm``. The first two are kept in ``adata.obsm["X_vmm_mde"]`` and
            ``["X_vmm_umap"]`` and not computed again for the same model.
        seed : int
            Of the layout.
        layer : str, optional
            Where a gene's values are. By default as in scanpy: ``raw`` if there is one, else ``X``.
        max_cells : int, optional
            Where there are more cells, "mde" and "umap" lay out a sample of so many, in which every
            batch and cluster keeps its share; the picture says so, the others' coordinates are
            NaN, and the legend counts all. None: all cells.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from vmm.plots.scatter import number_figure, scatter_figure

        if not isinstance(color, str):
            raise ValueError(f"color is {color!r}, but must be one name; draw a figure for each.")
        values = self._values(color, layer)
        if not isinstance(values, pd.Categorical):
            return number_figure(self._layout(basis, seed, max_cells), values, color)
        title = _title(color, values.codes >= 0)
        batches = color == self.get_setup_arg("batch_key")
        codes, names = values.codes.astype(int), list(values.categories)
        layout = self._layout(basis, seed, max_cells)
        return scatter_figure(layout, codes, names, title, batches)

    def _values(self, color: str, layer: str | None) -> pd.Categorical | np.ndarray:
        """Return categories, or numbers (N,), of the cells."""
        if color == "cluster":
            return self.predict()
        column = _of_cells(self.adata, color)
        if column is None:
            protein = None if _has_gene(self.adata, color) else self._of_protein(color)
            return _of_gene(self.adata, color, layer) if protein is None else protein
        keys = (self.get_setup_arg("batch_key"), self.get_setup_arg("labels_key"))
        named = color in (*keys, *(self.get_setup_arg("categorical_covariate_keys") or ()))
        is_number = pd.api.types.is_numeric_dtype(column) and not named
        if is_number and not pd.api.types.is_bool_dtype(column):
            return column.to_numpy(dtype=float, na_value=np.nan)
        return as_categories(column)

    def _of_protein(self, name: str) -> np.ndarray | None:
        """Return the counts (N,) of a protein; None where none has been registered by this name."""
        registered = getattr(self, "protein_state_registry", None)
        for place, protein in enumerate(registered.column_names if registered else ()):
            if name in (str(protein), f"{protein}_protein"):  # the library's name in comparisons
                counts = self.adata_manager.get_from_registry(REGISTRY_KEYS.PROTEIN_EXP_KEY)
                return _column_of(counts, place)
        return None

    def _layout(self, basis: str, seed: int, max_cells: int | None = LAID_OUT) -> np.ndarray:
        """Return coordinates (N, 2), NaN of cells that are not laid out."""
        if basis not in ("mde", "umap"):
            if basis not in self.adata.obsm:
                raise KeyError(f"{basis} not found in adata.obsm.")
            return np.asarray(self.adata.obsm[basis])[:, :2]
        if max_cells is not None:
            max_cells = whole(max_cells, "max_cells", 4)
        latent = self.get_latent_representation()
        key, signature = f"X_vmm_{basis}", (basis, seed, max_cells, latent.tobytes())
        if getattr(self, "_layouts", {}).get(key) != hash(signature) or key not in self.adata.obsm:
            rows = self._sample(max_cells)
            layout = np.full((len(latent), 2), np.nan, dtype=np.float32)
            layout[rows] = (_umap if basis == "umap" else compute_mde)(latent[rows], seed)
            self.adata.obsm[key] = layout
            self._layouts = getattr(self, "_layouts", {}) | {key: hash(signature)}
        return self.adata.obsm[key]

    def _sample(self, n: int | None) -> np.ndarray:
        """Return the rows of a sample in which every batch and cluster keeps its share."""
        if n is None or n >= self.adata.n_obs:
            return np.arange(self.adata.n_obs)
        batch = self.adata_manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY).ravel().astype(int)
        if not self.module.prior.n_components:
            return stratified_sample(n, batch)
        return stratified_sample(n, batch, self._cluster_probabilities().argmax(1))

    def plot_composition(self, labels_key: str | None = None) -> Figure:
        """Draw a heat map of clusters by known labels: the part of each cluster with each label.

        Cells without a label have a column of their own, "no value"; the title has the number
        of the others.

        Parameters
        ----------
        labels_key : str, optional
            Column of ``obs``; by default the one that was registered.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from vmm.plots.composition import composition_figure
        from vmm.plots.scatter import NO_VALUE

        labels_key = labels_key or self.get_setup_arg("labels_key")
        if labels_key is None:
            registers = "labels_key" in signature(self.setup_anndata).parameters
            also = ", here or to `setup_anndata`" if registers else ""
            raise ValueError(f"No labels: give `labels_key`{also}.")
        column = _of_cells(self.adata, labels_key)
        if column is None:
            raise KeyError(f"{labels_key} not found in adata.obs.")
        labels = as_categories(column)
        named = labels.add_categories(NO_VALUE).fillna(NO_VALUE)
        counts = pd.crosstab(np.asarray(self.predict()), np.asarray(named))
        title = _title(f"{labels_key} in each cluster", labels.codes >= 0)
        return composition_figure(counts, title)

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


def as_categories(column: pd.Series) -> pd.Categorical:
    """Return a column's values as names, in the order in which people count."""
    missing = is_missing(column)
    names = dict.fromkeys(as_text(value) for value in ordered_categories(column[~missing]))
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.full(len(column), -1)
    codes[~missing] = [code_of[as_text(value)] for value in column[~missing]]
    return pd.Categorical.from_codes(codes, list(names))


def _of_cells(adata: AnnData | MuData, key: str) -> pd.Series | None:
    """Return a column of the cells, in MuData also one of a modality; None where there is none."""
    if key in adata.obs:
        return one_column(adata.obs, key, f"column {key!r} of adata.obs")
    for name, part in getattr(adata, "mod", {}).items():
        if key in part.obs:
            column = one_column(part.obs, key, f"column {key!r} of {name}.obs")
            return column.reindex(adata.obs_names)
    return None


def _has_gene(adata: AnnData | MuData, name: str) -> bool:
    """Return whether there is a gene of this name, in MuData a feature of any modality."""
    parts = getattr(adata, "mod", {"": adata}).values()
    raws = [part.raw for part in parts if part.raw is not None]
    return any(name in part.var_names for part in (*parts, *raws))


def _column_of(matrix: Any, place: int) -> np.ndarray:
    """Return a column (N,) of a matrix of any kind."""
    column = matrix.iloc[:, place] if hasattr(matrix, "iloc") else matrix[:, place]
    column = column.toarray() if hasattr(column, "toarray") else column
    return np.asarray(column, dtype=float).ravel()


def _of_gene(adata: AnnData | MuData, gene: str, layer: str | None) -> np.ndarray:
    """Return a gene's values (N,): in a layer, or in raw or X as scanpy takes them."""
    for part in getattr(adata, "mod", {}).values():
        if gene in part.var_names:
            adata = part[adata.obs_names]
            break
    else:
        if hasattr(adata, "mod"):
            raise KeyError(f"{gene} not found in adata.obs or among the features.")
    source = adata
    if layer is None and adata.raw is not None and gene in adata.raw.var_names:
        source = adata.raw
    places = np.flatnonzero(source.var_names == gene)
    if not len(places):
        raise KeyError(f"{gene} not found in adata.obs or among the genes.")
    if len(places) > 1:
        raise ValueError(f"{gene!r} names {len(places)} genes; make var_names unique first.")
    if layer is not None and layer not in adata.layers:
        raise KeyError(f"{layer} not found in adata.layers.")
    return _column_of(source.X if layer is None else adata.layers[layer], places[0])


def _title(title: str, known: np.ndarray) -> str:
    """Add the number of cells that have a value, where it is not that of all."""
    if known.all():
        return title
    return f"{title} ({known.sum():,} of {len(known):,} cells have one)"


def _umap(latent: np.ndarray, seed: int) -> np.ndarray:
    import scanpy as sc
    from anndata import AnnData

    cells = AnnData(latent)
    sc.pp.neighbors(cells, use_rep="X", transformer="sklearn")  # pynndescent 0.7 fails in scanpy
    sc.tl.umap(cells, random_state=seed)
    return cells.obsm["X_umap"]
