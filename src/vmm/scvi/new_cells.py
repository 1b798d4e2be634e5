"""Cells that come to a model: their genes are matched by name, wherever they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scvi.data._constants import _MANAGER_UUID_KEY, _SCVI_UUID_KEY
from scvi.model.base import BaseModelClass
from scvi.model.base._save_load import _load_saved_files

from scvi import REGISTRY_KEYS
from vmm.errors import InputError
from vmm.scvi.names import make_names_unique, require_anndata, with_genes
from vmm.scvi.options import device_of
from vmm.scvi.part import ModelPart

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


class NewCellsMixin(ModelPart):
    """All ways by which cells come to a model that has its genes."""

    _reordered: str | None = None

    def _validate_anndata(self, adata: AnnData | None = None, copy_if_view: bool = True) -> AnnData:
        """Return registered cells with the model's genes in its order.

        They are a copy if `adata` has its genes in another order; the model keeps no more than the
        latest of such copies.
        """
        adata = self.adata if adata is None else adata
        if adata is None:
            raise ValueError("The model has no AnnData; give `adata`, or load the model with one.")
        matched = self._with_genes(adata)
        if matched is adata:
            return super()._validate_anndata(adata, copy_if_view)
        self._per_instance_manager_store.get(self.id, {}).pop(self._reordered, None)
        for key in (_SCVI_UUID_KEY, _MANAGER_UUID_KEY):
            matched.uns.pop(key, None)
        matched = super()._validate_anndata(matched, copy_if_view)
        self._reordered = matched.uns[_SCVI_UUID_KEY]
        return matched

    def _with_genes(self, adata: AnnData) -> AnnData:
        require_anndata(adata)
        genes = np.asarray(self.get_state_registry(REGISTRY_KEYS.X_KEY)["column_names"])
        if adata is self._adata and len(genes) == adata.n_vars and set(genes) != {*adata.var_names}:
            return adata  # the model's own cells: the user gave their genes other names
        return with_genes(adata, genes)

    @property
    def adata(self) -> Any:
        """The cells of the model; those set in their place are matched by gene names."""
        return self._adata

    @adata.setter
    def adata(self, adata: AnnData) -> None:
        matched = adata if adata is None else self._with_genes(adata)
        BaseModelClass.adata.fset(self, matched)

    @classmethod
    def load(
        cls,
        dir_path: str,
        adata: AnnData | None = None,
        accelerator: str = "auto",
        device: int | str = "auto",
        prefix: str | None = None,
        backup_url: str | None = None,
    ):
        """Load a model that :meth:`save` wrote.

        Parameters
        ----------
        dir_path : str
            The folder.
        adata : anndata.AnnData, optional
            Its cells, or others with all its genes. If these stand in another order, or with
            others between them, ``model.adata`` is a copy with the model's genes. By default the
            cells that were saved with the model, if any; False: none.
        accelerator, device
            As for :meth:`train`.
        prefix, backup_url
            As for scvi-tools.

        Returns
        -------
        vmm.SCVI
        """
        device_of(accelerator, device)
        if adata is not None and adata is not False:
            require_anndata(adata)
            saved = _load_saved_files(
                dir_path, load_adata=False, prefix=prefix, map_location="cpu", backup_url=backup_url
            )
            adata = with_genes(adata, np.asarray(saved[1]))
        return super().load(dir_path, adata, accelerator, device, prefix, backup_url)

    @staticmethod
    def prepare_query_anndata(
        adata: AnnData,
        reference_model: Any,
        return_reference_var_names: bool = False,
        inplace: bool = True,
    ) -> AnnData | pd.Index | None:
        """Give cells the genes of a reference, in its order, with zeros for those they lack.

        Parameters
        ----------
        adata : anndata.AnnData
            Query cells.
        reference_model : str or vmm.SCVI
            The reference, or the folder that it was saved to.
        return_reference_var_names : bool
            Whether to return the names of the reference's genes, and do nothing else.
        inplace : bool
            Whether to change `adata` itself.

        Returns
        -------
        anndata.AnnData, pandas.Index or None
            The cells unless `inplace`.
        """
        if not return_reference_var_names:
            require_anndata(adata)
            genes = reference_genes(reference_model)
            repeated = adata.var_names[adata.var_names.duplicated()]
            if twice := [gene for gene in genes if gene in repeated]:
                raise InputError(
                    f"adata has several genes named {twice[0]}, so it cannot be known which of "
                    "them the model means; give each gene a name of its own."
                )
            make_names_unique(adata)
        return _prepare(adata, reference_model, return_reference_var_names, inplace)

    def differential_abundance(self, adata: AnnData | None = None, *args: Any, **options: Any):
        """Estimate how much more likely each cell is in one sample than in others.

        As in scvi-tools; ``adata.obsm["da_log_probs"]`` gets the log probabilities.
        """
        adata = self.adata if adata is None else adata
        matched = self._validate_anndata(adata)
        super().differential_abundance(matched, *args, **options)
        adata.obsm["da_log_probs"] = matched.obsm["da_log_probs"]


def _prepare(adata, reference_model, names_only: bool, inplace: bool):
    from scvi.model.base import ArchesMixin

    return ArchesMixin.prepare_query_anndata(adata, _place(reference_model), names_only, inplace)


def _place(reference_model: Any) -> Any:
    return reference_model if isinstance(reference_model, BaseModelClass) else str(reference_model)


def reference_genes(reference_model: Any) -> np.ndarray:
    """Return the genes of a reference, which is a model or the folder it was saved to."""
    return np.asarray(_prepare(None, reference_model, True, False))
