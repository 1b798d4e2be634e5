"""scVI with a clustering prior, behind the interface of scvi-tools."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from scvi.model.base import BaseModelClass, RNASeqMixin, VAEMixin

import scvi
from scvi import REGISTRY_KEYS
from vmm.data.checks import one_column
from vmm.data.covariates import refuse_columns_twice
from vmm.data.splits import random_split
from vmm.device import described
from vmm.errors import InputError
from vmm.models.base import LatentVariableModel
from vmm.models.build import start_prior
from vmm.models.count_vae import CountVAE, check_likelihood
from vmm.models.records import CellNetworks, Dispersion, Likelihood
from vmm.models.tensors import CellTensors
from vmm.numerics.products import Precision, float32_products
from vmm.numerics.seeds import seed_of
from vmm.progress import progress, say
from vmm.scvi.fields import Manager, covariates_like, fields, registered_covariates
from vmm.scvi.module import Module
from vmm.scvi.names import make_names_unique, require_anndata, warn
from vmm.scvi.new_cells import NewCellsMixin
from vmm.scvi.options import (
    LIGHTNING,
    MODEL,
    TRAIN,
    check_prior,
    device_of,
    number,
    part_to_validate,
    plan_rate,
    positive,
    take,
    take_split,
    truth,
    whole,
)
from vmm.scvi.plots import PlotMixin
from vmm.scvi.query import QueryMixin, only_new_columns
from vmm.scvi.summary import SummaryMixin
from vmm.scvi.threads import cpu_threads, own_threads
from vmm.scvi.tuning import TuningMixin
from vmm.training.embedding import EVALUATION_ROWS
from vmm.training.loop import fit
from vmm.training.settings import FitResult, Settings

if TYPE_CHECKING:
    from anndata import AnnData


HISTORY = {
    "elbo_train": ("train_elbo", -1),
    "elbo_validation": ("valid_elbo", -1),
    "utilized_clusters": ("utilized_clusters", 1),
    "seconds": ("seconds", 1),
}
"""Names in ``model.history``, our names of them, and the sign: scvi-tools records losses."""
MAX_EPOCHS, BATCH_SIZE, LEARNING_RATE = 10_000, 128, 4e-4
"""Defaults of training: the paper's."""


@own_threads
class SCVI(
    NewCellsMixin,
    SummaryMixin,
    TuningMixin,
    PlotMixin,
    QueryMixin,
    RNASeqMixin,
    VAEMixin,
    BaseModelClass,
):
    """scVI that integrates and clusters in one model.

    The prior of the latent space is a mixture whose number of clusters is found in training [1]_;
    networks, likelihood, batches and covariates are those of scVI [2]_.

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
    gene_likelihood : {"zinb", "nb", "poisson"}
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
    threads : int
        CPU threads of everything that the model computes, whatever other libraries or the
        environment set for the process; put back afterwards. Results are the same to the bit for
        the same number on the same machine. One is fastest for most networks of this size.
    dispersion : {"gene", "gene-batch"}
        Whether each gene has one dispersion, or one in each batch.
    encode_covariates : bool
        Whether the encoder is told batch and covariates, as in the paper; scvi-tools' default is
        False. The decoder always is. Pseudo-inputs have what the encoder is told.
    **scvi_options
        Other arguments of ``scvi.model.SCVI``: refused unless they ask for what is done anyway.

    Attributes
    ----------
    threads : int
        As above; may be set at any time.

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
        gene_likelihood: Likelihood = "zinb",
        n_components: int = 100,
        seed: int | None = None,
        log_variational: bool = True,
        prior_kwargs: dict[str, Any] | None = None,
        threads: int = 1,
        dispersion: Dispersion = "gene",
        encode_covariates: bool = True,
        **scvi_options: Any,
    ):
        if adata is None and registry is None:
            raise ValueError("adata or registry must be provided.")
        check_prior(prior, prior_kwargs)
        check_likelihood(gene_likelihood, dispersion, "gene_likelihood")
        take(scvi_options, MODEL, "vmm.SCVI", tuple(signature(SCVI).parameters)[:-1])
        n_hidden, n_latent = whole(n_hidden, "n_hidden", 1), whole(n_latent, "n_latent", 1)
        n_layers = whole(n_layers, "n_layers", 1)
        n_components = whole(n_components, "n_components", 1)
        if seed is None:
            seed = scvi.settings.seed or 0
        if adata is not None:
            require_anndata(adata)
        super().__init__(adata, registry)
        self._prior, self._n_components, self._seed = prior, n_components, seed
        self._prior_kwargs = dict(prior_kwargs or {})
        self.threads = whole(threads, "threads", 1)
        self._sizes = CellNetworks(
            n_latent,
            n_layers,
            n_hidden,
            gene_likelihood,
            log_variational,
            dispersion,
            truth(encode_covariates, "encode_covariates"),
        )
        self.module = self._module_cls(self._placeholder())
        self.n_batches_ = int(self.summary_stats.n_batch)
        self.n_categories_ = self.module.networks.n_categories
        # Of a model made by load_query_data:
        self.n_reference_batches_, self.n_reference_categories_ = None, ()
        self.cluster_order_ = None
        self.cluster_names_ = None
        self.training_settings_ = None
        self._model_summary_string = (
            f"vmm.SCVI model with the following parameters: \nprior: {prior}, n_hidden: {n_hidden},"
            f" n_latent: {n_latent}, n_layers: {n_layers}, gene_likelihood: {gene_likelihood}, "
            f"n_components: {n_components}, log_variational: {log_variational}, "
            f"dispersion: {dispersion}, encode_covariates: {encode_covariates}, "
            f"prior_kwargs: {self._prior_kwargs}, seed: {seed}, threads: {threads}."
        )
        scvi_options = {}  # they ask for what is done anyway
        self.init_params_ = self._get_init_params(locals())

    def _placeholder(self) -> CountVAE:
        """Return networks of the right shapes.

        Those that training starts from need training cells, from which pseudo-inputs are drawn;
        those of a saved model have to be loaded without any.
        """
        shape = (max(self._n_components, 1), self.summary_stats.n_vars)
        known = covariates_like(self.registry, shape[0])
        n_batches = self.summary_stats.n_batch
        empty = CellTensors(sp.csr_matrix(shape), np.zeros(shape[0]), n_batches, covariates=known)
        return self._networks(empty, np.arange(shape[0]), self._seed)

    def _networks(self, cells: CellTensors, train: np.ndarray, seed: int) -> CountVAE:
        """Return the networks and the prior that training starts from."""
        generator = torch.Generator().manual_seed(seed_of(seed, 0, "network"))
        networks = CountVAE.for_data(cells, self._sizes, generator)
        start_prior(
            networks,
            self._prior,
            self._n_components,
            cells,
            train,
            seed,
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
        """Tell the model where counts, batches, labels and covariates are.

        Repeated names of genes and cells get a suffix, in `adata` itself, with a warning.

        Parameters
        ----------
        adata : anndata.AnnData
            Cells × genes.
        layer : str, optional
            Layer with raw counts; ``X`` by default. Where no layer is named "raw", that is
            ``adata.raw``, of which the genes of `adata` are copied to a layer of this name.
        batch_key : str, optional
            Column of ``obs`` with the batches that the model corrects for; every cell has one.
        labels_key : str, optional
            Column of ``obs`` with known cell types. Training never sees them; summaries and plots
            compare clusters with them. Cells may be without.
        size_factor_key : str, optional
            Column of ``obs`` with size factors, numbers above 0 that the expected counts of a cell
            are scaled by. By default cells are scaled by the sum of their counts.
        categorical_covariate_keys : list of str, optional
            Columns of ``obs`` with names that the model corrects for, as for batches.
        continuous_covariate_keys : list of str, optional
            Columns of ``obs`` with numbers that the model corrects for. They are taken as they
            are; it learns best from numbers of the order of 1.
        **kwargs
            Of scvi-tools' ``AnnDataManager.register_fields``.

        Raises
        ------
        InputError
            If counts are missing, infinite, negative or no numbers, or cells have no batch or no
            value of a covariate. Counts that are not whole numbers are taken, with a warning; so
            are covariates that do not vary, or are far from 1.
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        require_anndata(adata)
        covariates: dict[str, Any] = {
            "size_factor_key": size_factor_key,
            "categorical_covariate_keys": categorical_covariate_keys,
            "continuous_covariate_keys": continuous_covariate_keys,
        }
        for name, given in list(covariates.items())[1:]:
            if isinstance(given, str):
                raise InputError(f"`{name}` is {given!r}; it must be a list, such as [{given!r}].")
        named = {"labels_key": labels_key, "batch_key": batch_key, **covariates}
        refuse_columns_twice(named, "adata.obs", colon="")
        if kwargs and "source_registry" not in kwargs:
            ours = tuple(signature(cls.setup_anndata).parameters)[:-1]
            take(kwargs, {}, "vmm.SCVI.setup_anndata", ours)
        # Not a field: neither a trained model nor new cells need labels.
        if labels_key is not None and not kwargs:
            if labels_key not in adata.obs:
                raise KeyError(f"{labels_key} not found in adata.obs.")
            one_column(adata.obs, labels_key, f"column {labels_key!r} of adata.obs (`labels_key`)")
        if not adata.is_view:  # the manager refuses a view
            make_names_unique(adata)
        manager = Manager(
            fields=fields(layer, batch_key, **covariates), setup_method_args=setup_method_args
        )
        manager.register_fields(adata, **kwargs)
        if not kwargs:  # else it is the reference's training that they were for
            for remark in registered_covariates(manager).remarks():
                warn(remark)
        cls.register_manager(manager)

    def train(
        self,
        max_epochs: int | None = MAX_EPOCHS,
        accelerator: str = "auto",
        devices: int | str = "auto",
        train_size: float | None = None,
        validation_size: float | None = None,
        batch_size: int | None = BATCH_SIZE,
        learning_rate: float = LEARNING_RATE,
        prior_learning_ratio: float = 5.0,
        early_stopping: bool = True,
        early_stopping_patience: int = 100,
        precision: Precision = "float32",
        cuda_graph: bool = True,
        sleep_below: float = 0.1,
        enable_progress_bar: bool = True,
        threads: int | None = None,
        plan_kwargs: Mapping[str, Any] | None = None,
        datasplitter_kwargs: Mapping[str, Any] | None = None,
        **scvi_options: Any,
    ) -> None:
        """Train, keeping the epoch with the best validation ELBO.

        Ctrl-C ends the training; the best epoch so far is kept.

        A second call goes on from the present state, with a new optimiser, and keeps the best of
        its own epochs, which ``history`` has after those before. Clusters keep their names and
        order where they are the same (more than half of the cells before, and more than half of
        those now, in common); others get names that were not there, and a warning lists them.

        Parameters
        ----------
        max_epochs : int, optional
            The most epochs of this call; early stopping usually ends the training long before.
            None: 10,000.
        accelerator, devices
            "auto", "cpu" or "gpu" (NVIDIA's), and which one, as for scvi-tools. "auto" takes a GPU
            if there is one; one that cannot be used is an error.
        train_size, validation_size : float, optional
            Parts of the cells that are trained on and kept for validation, by default 0.9 and 0.1.
            One follows from the other.
        batch_size : int, optional
            Larger batches weaken the prior against the data and so give more clusters (Section 3.2
            of the paper). None: 128.
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
        sleep_below : float
            Do not compute components of a mixture that have less than this part of one cell, until
            they are wanted again: late epochs are faster. Not the paper's; 0 computes all.
        enable_progress_bar : bool
        threads : int, optional
            CPU threads of this training; by default those of the model.
        plan_kwargs : mapping, optional
            Of scvi-tools: ``lr`` is taken for `learning_rate`.
        datasplitter_kwargs : mapping, optional
            Of scvi-tools: taken where it asks for what is done anyway (``drop_last=True``).
        **scvi_options
            Other arguments of scvi-tools' ``train``: refused unless they ask for what is done
            anyway, or for how it is shown.
        """
        if self.adata is None:
            raise ValueError("The model has no AnnData; load it with one to train it.")
        take(scvi_options, TRAIN, "vmm.SCVI.train", tuple(signature(SCVI.train).parameters)[1:-1])
        take_split(datasplitter_kwargs)
        part = part_to_validate(train_size, validation_size)
        rate = plan_rate(plan_kwargs, learning_rate, LEARNING_RATE)
        patience = whole(early_stopping_patience, "early_stopping_patience", 1)
        settings = Settings(
            learning_rate=positive(rate, "learning_rate"),
            batch_size=whole(BATCH_SIZE if batch_size is None else batch_size, "batch_size", 2),
            max_epochs=whole(MAX_EPOCHS if max_epochs is None else max_epochs, "max_epochs", 1),
            prior_learning_ratio=positive(prior_learning_ratio, "prior_learning_ratio"),
            patience=patience if early_stopping else None,
            seed=seed_of(self._seed, 0, "training"),
            precision=LIGHTNING.get(precision, precision),
            cuda_graph=cuda_graph,
            sleep_below=number(sleep_below, "sleep_below"),
        )
        device = device_of(accelerator, devices)
        n_threads = whole(self.threads if threads is None else threads, "threads", 1)
        with cpu_threads(n_threads), float32_products():
            self._train(settings, part, device, enable_progress_bar)

    def _train(
        self, settings: Settings, part: float, device: torch.device, show_progress: bool
    ) -> None:
        """Train as :meth:`train` says, validating on a part of the cells."""
        if self._validate_anndata() is not self.adata:
            raise InputError(
                "the genes of model.adata are in another order than when it was set up; put them "
                "back, or set it up again for a new model."
            )
        if show_progress:
            say(described(device))
        before = self._before() if self.is_trained else None
        train, valid = random_split(self.adata.n_obs, part, 0, self._seed)
        cells = self._tensors(device)
        if self.is_trained or self.n_reference_batches_ is not None:
            self.to_device(device)
        else:
            self.module = self._module_cls(self._networks(cells, train, self._seed))
        show = progress("Training", settings.max_epochs) if show_progress else None
        with self._fitted() as networks:
            result = fit(
                networks, cells, train, valid, settings, progress=show, keep_on_interrupt=True
            )
        how = asdict(settings)
        del how["seed"]
        self.training_settings_ = how | {"validation_size": part}
        self.train_indices, self.validation_indices = train, valid
        self.test_indices = np.array([], dtype=np.int64)
        self._finish(result, before)

    def _before(self) -> Before:
        """Return what the model is before its training goes on."""
        clusters = None
        if self.module.prior.n_components and self.n_reference_batches_ is None:
            clusters = self._cluster_probabilities().argmax(1)
        validation = self.history_["elbo_validation"]["elbo_validation"]
        best = float(validation.iloc[max(self.best_epoch_, 1) - 1])
        return Before(self.history_, best, self.validation_indices, clusters)

    def _fitted(self) -> AbstractContextManager[LatentVariableModel]:
        """Return what is trained: all networks, or those of a query for what is new in it only."""
        if self.n_reference_batches_ is None:
            return nullcontext(self.module.networks)
        known = (*self.n_reference_categories_, self.n_reference_batches_)
        if known == (*self.n_categories_, self.n_batches_):
            raise ValueError(
                "The query has no batch that the reference does not know, and no new category: "
                "there is nothing to train, use the model as it is."
            )
        return only_new_columns(self.module.networks, known)

    def _tensors(self, device: torch.device) -> CellTensors:
        """Return the registered counts, batches and covariates on the device."""
        counts = self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        counts = counts.to_numpy() if isinstance(counts, pd.DataFrame) else counts
        codes = self.adata_manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY).ravel()
        known = registered_covariates(self.adata_manager)
        return CellTensors(counts, codes, self.summary_stats.n_batch, device, known)

    def _finish(self, result: FitResult, before: Before | None) -> None:
        """Record what came of the training, and say what the user must know."""
        self.is_trained = True
        self.module.eval()
        done = 0 if before is None else len(before.history["elbo_train"])
        index = pd.RangeIndex(done, done + len(result.history), name="epoch")
        history = {
            name: pd.DataFrame({name: [sign * row[ours] for row in result.history]}, index=index)
            for name, (ours, sign) in HISTORY.items()
        }
        if before is not None:
            history = {name: pd.concat([before.history[name], history[name]]) for name in history}
        self.history_ = history
        self.best_epoch_ = done + result.best_epoch
        last = len(history["elbo_train"])
        if result.status == "interrupted":
            warn(
                f"Training was interrupted after epoch {last}; the model holds its best epoch so "
                f"far, {self.best_epoch_}."
            )
        if result.status == "diverged":
            warn(
                f"Training met NaN or infinity in epoch {last} and was stopped; the model holds "
                f"its state after epoch {self.best_epoch_}. Check that the data are raw counts, or "
                "lower `learning_rate`."
            )
        elif before is not None:
            self._say_if_worse(before, result)
        if self.n_reference_batches_ is None:
            self._order_clusters(None if before is None else before.clusters)

    def _say_if_worse(self, before: Before, result: FitResult) -> None:
        best = max(row["valid_elbo"] for row in result.history)
        if np.array_equal(before.valid, self.validation_indices) and best < -before.best:
            warn(
                f"Training went on for {len(result.history)} epochs, of which none reached the "
                f"validation ELBO before, {-before.best:.2f}; the model holds the best of them, "
                f"epoch {self.best_epoch_} with {best:.2f}."
            )

    def _make_data_loader(self, adata, indices=None, batch_size=None, **kwargs):
        # The batches of vmm.training.embedding.embed: faster, and equal to it to the bit.
        return super()._make_data_loader(
            adata, indices, batch_size=batch_size or EVALUATION_ROWS, **kwargs
        )

    def get_likelihood_parameters(self, *args, **kwargs) -> dict[str, np.ndarray]:
        """Return the parameters of p(x|z), as scvi-tools does, of which Poisson has its mean only.

        Raises
        ------
        NotImplementedError
            For the Poisson likelihood, of which scvi-tools does not know how to.
        """
        self._refuse_poisson('its mean is `get_normalized_expression(library_size="latent")`')
        return super().get_likelihood_parameters(*args, **kwargs)

    def get_feature_correlation_matrix(self, *args, **kwargs) -> pd.DataFrame:
        """Correlate genes in denoised samples, as scvi-tools does.

        Raises
        ------
        NotImplementedError
            For the Poisson likelihood: the samples are drawn with its dispersion.
        """
        self._refuse_poisson('correlate `get_normalized_expression()`, or use "nb"')
        return super().get_feature_correlation_matrix(*args, **kwargs)

    def _refuse_poisson(self, instead: str) -> None:
        if self.module.gene_likelihood == "poisson":
            raise NotImplementedError(
                f'gene_likelihood="poisson" has no dispersion, which this needs; {instead}.'
            )


@dataclass
class Before:
    """A model before its training goes on.

    `best` is the validation loss of the epoch that it holds, `valid` the rows that it was validated
    on. `clusters` (N,) are ranks, None where there are none or they do not change.
    """

    history: dict[str, pd.DataFrame]
    best: float
    valid: np.ndarray
    clusters: np.ndarray | None
