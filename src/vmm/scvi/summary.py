"""Clusters described: size, certainty, markers, batches, most typical cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scvi import REGISTRY_KEYS
from vmm.data.checks import is_missing, one_column
from vmm.errors import InputError
from vmm.numerics.seeds import global_seed, seed_of
from vmm.scvi.mixture import MixtureMixin

if TYPE_CHECKING:
    from anndata import AnnData

LEAST_EXPRESSED = 0.1
"""A marker has counts in at least this part of its cluster's cells."""


class SummaryMixin(MixtureMixin):
    """A table of the clusters."""

    _markers_by: tuple[str, str, str, str, int] = (
        "differential_expression",
        "proba_de",
        "lfc_mean",
        "non_zeros_proportion1",
        1,
    )
    """The method that compares groups of cells; columns of its table that say how sure a difference
    is, how large, and in what part of the cells the feature was found ("" where it always is); the
    sign of an effect that is more."""

    def get_cluster_summary(
        self,
        adata: AnnData | None = None,
        n_markers: int = 5,
        n_cells: int = 3,
        **de_options: Any,
    ) -> pd.DataFrame:
        """Describe the clusters that cells are assigned to.

        Parameters
        ----------
        adata : anndata.AnnData, optional
            The model's own by default.
        n_markers : int
            Marker genes of each cluster against all other cells; 0 saves the time, which is about
            that of :meth:`differential_expression` for each cluster.
        n_cells : int
            Most probable cells of each cluster.
        **de_options
            Of :meth:`differential_expression`, such as ``delta`` or ``batch_correction``.

        Returns
        -------
        pandas.DataFrame
            A row for each cluster, in the order of names:

            - n_cells, fraction: cells assigned to it;
            - mean_probability: of those cells, to be in it;
            - weight: π of the prior's component;
            - n_labelled, label, label_fraction: cells with a known label, the most frequent label
              and its part of those cells (None and NaN where there is no such cell); where the
              data have the column that ``labels_key`` named;
            - markers: genes, separated by commas; they are found from samples, drawn by the
              ``seed`` of the model;
            - most_probable_cells: their names, separated by commas;
            - ``<batch_key>: <batch>``: part of the cluster's cells from each batch.
        """
        self._require_clusters()
        adata = self._validate_anndata(adata)
        probabilities = self._cluster_probabilities(adata)
        assigned = probabilities.argmax(1)
        weights = self.get_prior_parameters()["weights"]
        labels_key, batch_key = self.get_setup_arg("labels_key"), self.get_setup_arg("batch_key")
        labels = known_labels(adata, labels_key) if labels_key in adata.obs else None
        manager = self.get_anndata_manager(adata, required=True)
        batches = manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY).ravel() if batch_key else None
        rows, names = [], self.cluster_names
        for cluster in np.unique(assigned):
            member, belongs = assigned == cluster, probabilities[:, cluster]
            row = {
                "cluster": names[cluster],
                "n_cells": int(member.sum()),
                "fraction": float(member.mean()),
                "mean_probability": float(belongs[member].mean()),
                "weight": float(weights[cluster]),
            }
            if labels is not None:
                row |= _most_frequent(labels[member].dropna())
            if n_markers:
                row["markers"] = ", ".join(self._markers(adata, member, n_markers, de_options))
            typical = np.flatnonzero(member)[np.argsort(-belongs[member], kind="stable")[:n_cells]]
            row["most_probable_cells"] = ", ".join(adata.obs_names[typical])
            if batches is not None:
                for code, batch in enumerate(self._batch_names()):
                    row[f"{batch_key}: {batch}"] = float((batches[member] == code).mean())
            rows.append(row)
        table = pd.DataFrame(rows).set_index("cluster")
        if "label" in table:  # none is None, not what pandas 3 makes of it among text
            table["label"] = pd.Series([row["label"] for row in rows], table.index, dtype=object)
        return table

    def differential_expression(
        self, adata: AnnData | None = None, groupby: str | None = None, *args: Any, **options: Any
    ) -> pd.DataFrame:
        """Compare the expression of genes in groups of cells, as in scvi-tools.

        Parameters
        ----------
        adata : anndata.AnnData, optional
            The model's own by default.
        groupby : str, optional
            Column of ``obs`` with the groups. Cells without a value belong to none of them, and to
            the rest that a group is compared with.
        *args, **options
            Of ``scvi.model.SCVI.differential_expression``: ``group1``, ``group2``, ``idx1``,
            ``idx2``, ``mode``, ``delta`` and others.

        Returns
        -------
        pandas.DataFrame
            A row for each comparison and gene.
        """
        adata = self._validate_anndata(adata)
        if groupby is not None:
            if groupby not in adata.obs:
                raise KeyError(f"{groupby} not found in adata.obs.")
            if known_labels(adata, groupby).isna().all():
                raise InputError(f"no cell has a value in column {groupby!r} of adata.obs.")
        return super().differential_expression(adata, groupby, *args, **options)

    def _markers(
        self, adata: AnnData, member: np.ndarray, n_markers: int, options: dict[str, Any]
    ) -> list[str]:
        """Return genes that are higher in the members than in all other cells, surest first."""
        if member.all():
            return []
        method, probability, effect, share, sign = self._markers_by
        chosen: dict[str, Any] = {"mode": "change", "silent": True, **options}
        with global_seed(seed_of(self._seed, 0, "markers")):
            table = getattr(self, method)(adata, idx1=member, **chosen)
        more = sign * table[effect]
        common = table[share] >= LEAST_EXPRESSED if share else True
        table = table.assign(more=more)[(more > 0) & common]
        table = table.sort_values([probability, "more"], ascending=False)
        return list(table.index[:n_markers])


def known_labels(adata: AnnData, labels_key: str) -> pd.Series:
    """Return the labels of the cells, shape (N,), without a value where there is none."""
    subject = f"column {labels_key!r} of adata.obs"
    labels = one_column(adata.obs, labels_key, subject)
    return labels.astype(object).mask(is_missing(labels))


def _most_frequent(labels: pd.Series) -> dict[str, Any]:
    """Describe labels, of which there may be none."""
    if labels.empty:
        return {"n_labelled": 0, "label": None, "label_fraction": np.nan}
    shares = labels.value_counts(normalize=True)
    return {
        "n_labelled": len(labels),
        "label": shares.index[0],
        "label_fraction": float(shares.iloc[0]),
    }
