"""scVI with a clustering prior, behind the interface of scvi-tools."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from scvi.data import AnnDataManager
from scvi.data.fields import CategoricalObsField, LayerField
from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass, RNASeqMixin, VAEMixin

import scvi
from scvi import REGISTRY_KEYS
from vmm.data.splits import random_split
from vmm.models.base import LatentVariableModel
from vmm.models.build import start_prior
from vmm.models.count_vae import CountVAE
from vmm.models.records import CellNetworks
from vmm.models.tensors import CellTensors
from vmm.numerics.products import Precision
from vmm.numerics.seeds import seed_of
from vmm.priors.records import priors_of
from vmm.progress import progress
from vmm.scvi.module import Module
from vmm.scvi.plots import PlotMixin
from vmm.scvi.query import QueryMixin, only_new_batches
from vmm.scvi.summary import SummaryMixin
from vmm.training.embedding import EVALUATION_ROWS
from vmm.training.loop import fit
from vmm.training.settings import FitResult, Settings

if TYPE_CHECKING:
    from anndata import AnnData


CELL_PRIORS = priors_of("cells")
"""What `prior` accepts."""
HISTORY = {
    "elbo_train": ("train_elbo", -1),
    "elbo_validation": ("valid_elbo", -1),
    "utilized_clusters": ("utilized_clusters", 1),
    "seconds": ("seconds", 1),
}
"""Names in ``model.history``, our names of them, and the sign: scvi-tools records losses."""


class SCVI(
    SummaryMixin,
    PlotMixin,
    QueryMixin,
    RNASeqMixin,
    VAEMixin,
    BaseModelClass,
):
    """scVI that integrates and clusters in one model.

    The prior of the latent space is a mixture whose number of clusters is found in training [1]_;
    networks, likelihood and batches are those of scVI [2]_.

    Parameters
    ----------
    adata : anndata.AnnData
        Registered by :meth:`setup_anndata`.
    registry : dict, optional
        In place of `adata`, for a model without data.
    prior : {"vmm", "gmm", "vampprior", "normal"}
        VampPrior mixture, Gaussian mixture, VampPrior, or N(0, I), scVI's own, without clusters.
    n_hidden, n_latent, n_layers : int
        Size of the hidden layers, dimension p of the latent space, number of hidden layers of
        encoder and decoder.
    gene_likelihood : {"zinb", "nb"}
    n_components : int
        Number K of mixture components: the most clusters that there can be. Of those with
        pseudo-inputs, at most the number of training cells.
    seed : int, optional
        Of the split, the initial networks and the training; by default ``scvi.settings.seed`` or 0.
    log_variational : bool
        Whether the encoder sees log1p of the counts, or the counts as they are.
    prior_kwargs : dict, optional
        Switches of the prior, such as ``{"dirichlet_process": False}``: arguments of its class in
        :mod:`vmm.priors`.

    Examples
    --------
    >>> vmm.SCVI.setup_anndata(adata, layer="counts", batch_key="donor")
    >>> model = vmm.SCVI(adata, prior="vmm")
    >>> model.train()
    >>> adata.obsm["X_vmm"] = model.get_latent_representation()
    >>> adata.obs["vmm_cluster"] = model.predict()

    References
    ----------
    .. [1] Stirn and Knowles, "The VampPrior Mixture Model", arXiv:2402.04412 (2024).
    .. [2] Lopez et al., "Deep generative modeling for single-cell transcriptomics",
       Nature Methods 15 (2018).
    """

    _module_cls = Module

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict | None = None,
        prior: str = "vmm",
        n_hidden: int = 128,
        n_latent: int = 10,
        n_layers: int = 1,
        gene_likelihood: Literal["zinb", "nb"] = "zinb",
        n_components: int = 100,
        seed: int | None = None,
        log_variational: bool = True,
        prior_kwargs: dict[str, Any] | None = None,
    ):
        if adata is None and registry is None:
            raise ValueError("adata or registry must be provided.")
        if prior not in CELL_PRIORS:
            raise ValueError(f"`prior` is {prior!r}; it must be one of {', '.join(CELL_PRIORS)}.")
        if gene_likelihood not in ("zinb", "nb"):
            raise ValueError(f"`gene_likelihood` is {gene_likelihood!r}; it must be zinb or nb.")
        known = CELL_PRIORS[prior].options_for("cells")
        if unknown := [key for key in prior_kwargs or {} if key not in known]:
            raise ValueError(
                f"`prior_kwargs` has {unknown[0]!r}; the prior {prior!r} takes "
                f"{', '.join(known) or 'none'}."
            )
        if seed is None:
            seed = scvi.settings.seed or 0
        super().__init__(adata, registry)
        self._prior, self._n_components, self._seed = prior, n_components, seed
        self._prior_kwargs = dict(prior_kwargs or {})
        self._sizes = CellNetworks(n_latent, n_layers, n_hidden, gene_likelihood, log_variational)
        self.module = self._module_cls(self._placeholder())
        self.n_batches_ = int(self.summary_stats.n_batch)
        self.n_reference_batches_ = None  # of a model made by load_query_data
        self.cluster_order_ = None
        self.cluster_names_ = None
        self._model_summary_string = (
            f"vmm.SCVI model with the following parameters: \nprior: {prior}, n_hidden: {n_hidden},"
            f" n_latent: {n_latent}, n_layers: {n_layers}, gene_likelihood: {gene_likelihood}, "
            f"n_components: {n_components}, log_variational: {log_variational}, "
            f"prior_kwargs: {self._prior_kwargs}, seed: {seed}."
        )
        self.init_params_ = self._get_init_params(locals())

    def _placeholder(self) -> CountVAE:
        """Return networks of the right shapes.

        Those that training starts from need training cells, from which pseudo-inputs are drawn;
        those of a saved model have to be loaded without any.
        """
        shape = (max(self._n_components, 1), self.summary_stats.n_vars)
        empty = CellTensors(sp.csr_matrix(shape), np.zeros(shape[0]), self.summary_stats.n_batch)
        return self._networks(empty, np.arange(shape[0]))

    def _networks(self, cells: CellTensors, train: np.ndarray) -> CountVAE:
        """Return the networks and the prior that training starts from."""
        generator = torch.Generator().manual_seed(seed_of(self._seed, 0, "network"))
        networks = CountVAE.for_data(cells, self._sizes, generator)
        start_prior(
            networks,
            self._prior,
            self._n_components,
            cells,
            train,
            self._seed,
            dataset="adata",
            **self._prior_kwargs,
        )
        return networks.to(cells.device)

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        size_factor_key: str | None = None,
        categorical_covariate_keys: list[str] | None = None,
        continuous_covariate_keys: list[str] | None = None,
        **kwargs,
    ) -> None:
        """Tell the model where counts, batches and labels are.

        Parameters
        ----------
        adata : anndata.AnnData
            Cells × genes.
        layer : str, optional
            Layer with raw counts; ``X`` by default.
        batch_key : str, optional
            Column of ``obs`` with the batches that the model corrects for.
        labels_key : str, optional
            Column of ``obs`` with known cell types. Training never sees them; summaries and plots
            compare clusters with them.
        size_factor_key, categorical_covariate_keys, continuous_covariate_keys
            Not supported; refused.
        **kwargs
            Of scvi-tools' ``AnnDataManager.register_fields``.
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        unsupported = {
            "size_factor_key": size_factor_key,
            "categorical_covariate_keys": categorical_covariate_keys,
            "continuous_covariate_keys": continuous_covariate_keys,
        }
        for key, value in unsupported.items():
            if value:
                raise NotImplementedError(
                    f"`{key}` is not supported by {cls.__name__}: batches are its only covariate. "
                    "Combine several in one column for `batch_key`."
                )
        # Not a field: neither a trained model nor new cells need labels.
        if labels_key is not None and labels_key not in adata.obs and not kwargs:
            raise KeyError(f"{labels_key} not found in adata.obs.")
        fields = [
            LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=True),
            CategoricalObsField(REGISTRY_KEYS.BATCH_KEY, batch_key),
        ]
        manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
        manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    def train(
        self,
        max_epochs: int = 10_000,
        accelerator: str = "auto",
        devices: int | str = "auto",
        validation_size: float = 0.1,
        batch_size: int = 128,
        learning_rate: float = 4e-4,
        prior_learning_ratio: float = 5.0,
        early_stopping: bool = True,
        early_stopping_patience: int = 100,
        precision: Precision = "float32",
        cuda_graph: bool = False,
        enable_progress_bar: bool = True,
    ) -> None:
        """Train, keeping the epoch with the best validation ELBO.

        Ctrl-C ends the training; the best epoch so far is kept. A second call goes on from the
        present state.

        Parameters
        ----------
        max_epochs : int
            The most epochs; early stopping usually ends the training long before.
        accelerator, devices
            "auto", "cpu", "gpu" or another name, and which one, as for scvi-tools.
        validation_size : float
            Part of the cells that is kept for validation.
        batch_size : int
            Larger batches weaken the prior against the data and so give more clusters (Section 3.2
            of the paper).
        learning_rate : float
            Of the networks; the paper takes 1e-3 for large data with two layers.
        prior_learning_ratio : float
            Learning rate of a mixture prior relative to the networks'; larger gives fewer clusters.
        early_stopping : bool
            Whether to stop after `early_stopping_patience` epochs without a better ELBO.
        early_stopping_patience : int
        precision : {"float32", "tf32", "bf16"}
            Of the networks' matrix products, faster on a GPU the fewer bits they have.
        cuda_graph : bool
            On a GPU, record the training step once and replay it: faster, same result.
        enable_progress_bar : bool
        """
        if self.adata is None:
            raise ValueError("The model has no AnnData; load it with one to train it.")
        _, _, device = parse_device_args(
            accelerator, devices, return_device="torch", validate_single_device=True
        )
        train, valid = random_split(self.adata.n_obs, validation_size, 0, self._seed)
        self.train_indices, self.validation_indices = train, valid
        self.test_indices = np.array([], dtype=np.int64)
        cells = self._tensors(device)
        if self.is_trained or self.n_reference_batches_ is not None:
            self.to_device(device)
        else:
            self.module = self._module_cls(self._networks(cells, train))
        settings = Settings(
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            prior_learning_ratio=prior_learning_ratio,
            patience=early_stopping_patience if early_stopping else None,
            seed=seed_of(self._seed, 0, "training"),
            precision=precision,
            cuda_graph=cuda_graph,
        )
        show = progress("Training", max_epochs) if enable_progress_bar else None
        with self._fitted() as networks:
            result = fit(
                networks, cells, train, valid, settings, progress=show, keep_on_interrupt=True
            )
        self._finish(result)

    def _fitted(self) -> AbstractContextManager[LatentVariableModel]:
        """Return what is trained: all networks, or those of a query for its new batches only."""
        if self.n_reference_batches_ is None:
            return nullcontext(self.module.networks)
        n_new = self.n_batches_ - self.n_reference_batches_
        if not n_new:
            raise ValueError(
                "The query has no batch that the reference does not know: there is nothing to "
                "train, use the model as it is."
            )
        return only_new_batches(self.module.networks, n_new)

    def _tensors(self, device: torch.device) -> CellTensors:
        """Return the registered counts and batches on the device."""
        counts = self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        counts = counts.to_memory() if hasattr(counts, "to_memory") else counts
        counts = counts.to_numpy() if isinstance(counts, pd.DataFrame) else counts
        codes = self.adata_manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY)
        return CellTensors(counts, codes.ravel(), self.summary_stats.n_batch, device)

    def _finish(self, result: FitResult) -> None:
        """Record what came of the training, and say what the user must know."""
        self.is_trained = True
        self.module.eval()
        index = pd.RangeIndex(len(result.history), name="epoch")
        self.history_ = {
            name: pd.DataFrame({name: [sign * row[ours] for row in result.history]}, index=index)
            for name, (ours, sign) in HISTORY.items()
        }
        self.best_epoch_ = result.best_epoch
        last = result.history[-1]
        if result.status == "interrupted":
            _warn(
                f"Training was interrupted after epoch {last['epoch']}; the model holds its best "
                f"epoch so far, {result.best_epoch}."
            )
        if result.status == "diverged":
            _warn(
                f"Training met NaN or infinity in epoch {last['epoch']} and was stopped; the model "
                f"holds its state after epoch {result.best_epoch}. Check that the data are raw "
                "counts, or lower `learning_rate`."
            )
        if self.n_reference_batches_ is None:
            self._order_clusters()

    def _make_data_loader(self, adata, indices=None, batch_size=None, **kwargs):
        # The batches of vmm.training.embedding.embed: faster, and equal to it to the bit.
        return super()._make_data_loader(
            adata, indices, batch_size=batch_size or EVALUATION_ROWS, **kwargs
        )

    def get_importance_weights(self, *args, **kwargs) -> np.ndarray:
        """Weight samples of z as scvi-tools does, which assumes the prior N(0, I).

        Raises
        ------
        NotImplementedError
            For another prior.
        """
        if not self.module.prior.is_standard_normal:
            raise NotImplementedError(
                "Importance weights of scvi-tools assume the prior N(0, I); use "
                "weights='uniform', or a model with prior='normal'."
            )
        return super().get_importance_weights(*args, **kwargs)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=scvi.settings.warnings_stacklevel)
