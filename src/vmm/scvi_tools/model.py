"""Models of scvi-tools with one of our priors, and the clusters that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from inspect import Parameter, signature
from types import new_class
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

import scvi
from scvi import REGISTRY_KEYS
from vmm.data.messages import listing
from vmm.data.splits import check_starts
from vmm.errors import InputError
from vmm.lazy import resolve
from vmm.numerics.seeds import global_seed, seed_of
from vmm.plots.training_curves import Trainings, training_curves_figure
from vmm.priors import make_prior, prior_class
from vmm.priors.records import PRIORS
from vmm.scvi.fields import covariate_names, registered_covariates
from vmm.scvi.mixture import told_of
from vmm.scvi.options import check_prior, positive, whole
from vmm.scvi.plots import PlotMixin
from vmm.scvi.summary import SummaryMixin
from vmm.scvi_tools.module import PriorModule, prepare
from vmm.scvi_tools.plan import ONE_DEVICE, plan_with_prior
from vmm.scvi_tools.records import LEFT_OUT, MODELS, ModelRecord

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

OURS: dict[str, Any] = {"prior": "vmm", "n_components": 100, "seed": None, "prior_kwargs": None}
"""Arguments of a model besides the library's, with their defaults."""
TRAINING = {
    "n_epochs_kl_warmup": 0,
    "n_steps_kl_warmup": 0,
    "weight_decay": 0.0,
    "check_val_every_n_epoch": 1,
}
"""Defaults of ``train`` other than the library's: with them the loss is the bound throughout."""


class ModelWithPrior(SummaryMixin, PlotMixin):
    """What a model of scvi-tools gets: a prior, the clusters, and what is read off them."""

    record: ModelRecord
    module: PriorModule  # type: ignore[assignment]

    def _take_prior(
        self, prior: str, n_components: int, seed: int | None, prior_kwargs: Mapping | None
    ) -> None:
        """Put the prior that training starts from into the library's module."""
        check_prior(prior, prior_kwargs)
        if self.module is None:  # the library would make it in training
            raise InputError(f"{type(self).__name__} needs `adata`.")
        if getattr(self.module, "latent_distribution", "normal") != "normal":
            raise NotImplementedError(
                "`latent_distribution` must be 'normal': the distribution of the latent space is "
                "that of `prior`."
            )
        if getattr(self.module, "modality_weights", "") == "cell":
            raise NotImplementedError(
                "`modality_weights` must be 'equal' or 'universal': pseudo-inputs are no cells, "
                "and have no weights of their own."
            )
        names = self.record.encoders
        if not all(hasattr(getattr(self.module, name, None), "encoder") for name in names):
            raise InputError(
                f"the record of {self.record.name} has encoder={self.record.encoder!r}; that must "
                "be an attribute of its module with a network `encoder`; those of it are "
                f"{listing(name for name, _ in self.module.named_children())}."
            )
        number = whole(n_components, "n_components", 1)
        cls = prior_class(prior)
        if cls.starts_from_data and self.adata is not None:
            check_starts("adata", self.adata.n_obs, "n_components", number)
        self._prior, self._n_components = prior, number
        self._seed = (scvi.settings.seed or 0) if seed is None else seed
        module = prepare(self.module, self.record)
        # Training fills them in; those of a saved model have to be loaded without any cells.
        empty = torch.zeros(number, module.pseudo_input_size) if cls.has_pseudo_inputs else None
        generator = torch.Generator().manual_seed(seed_of(self._seed, 0, "prior"))
        options = dict(prior_kwargs or {})
        module.prior = make_prior(prior, module.latent_dim, number, empty, generator, **options)
        self.n_pseudo_input_entries_ = module.pseudo_input_size  # in a query the reference's
        self.prior_started_ = not cls.has_pseudo_inputs
        self.cluster_order_ = None
        self.cluster_names_ = None
        self._model_summary_string += (
            f", prior: {prior}, n_components: {number}, prior_kwargs: {options}, seed: {self._seed}"
        )

    def train(
        self,
        max_epochs: int | None = None,
        *,
        prior_learning_ratio: float | None = None,
        plan_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Train as the library does, with an Empirical Bayes step after each of its steps.

        The KL has its full weight from the first epoch and weights do not decay, unless asked for;
        every epoch is validated. The last epoch is kept, as in the library.

        Parameters
        ----------
        max_epochs : int, optional
            By default the library's.
        prior_learning_ratio : float, optional
            Learning rate of a mixture prior relative to the networks'; larger gives fewer clusters.
            By default 5, for TOTALVI, whose own rate is four times that of others, 1.
        plan_kwargs : mapping, optional
            Of the library's training plan.
        **options
            Of the library's ``train``.
        """
        if options.get("strategy", "auto") != "auto":
            raise InputError(ONE_DEVICE)  # once it has started, the model is no longer what it was
        given = prior_learning_ratio
        ratio = self.record.prior_learning_ratio if given is None else given
        plan = dict(plan_kwargs or {})
        taken = signature(super().train).parameters
        for name, value in TRAINING.items():
            in_plan = name not in taken and name != "check_val_every_n_epoch"
            (plan if in_plan else options).setdefault(name, value)
        if max_epochs is not None:
            options["max_epochs"] = max_epochs
        plan["prior_learning_ratio"] = positive(ratio, "prior_learning_ratio")
        plan["start_prior"] = None if self.prior_started_ else self._start_prior
        fitted = any(parameter.requires_grad for parameter in self.module.prior.parameters())
        named = self.cluster_order_ is not None
        before = self._cluster_probabilities().argmax(1) if named and fitted else None
        super().train(plan_kwargs=plan, **options)
        if fitted or not named:  # else it is a query: the clusters are those of the reference
            self._order_clusters(before)

    def _start_prior(self, train: np.ndarray) -> None:
        """Let pseudo-inputs be training cells, drawn without replacement."""
        number = self._n_components
        check_starts("adata", len(train), "n_components", number)
        draw = np.random.default_rng(seed_of(self._seed, 0, "pseudo-inputs"))
        rows = draw.choice(train, number, replace=False)
        loader = self._make_data_loader(self.adata, indices=rows)
        cells = [self.module.initial_pseudo_inputs(tensors) for tensors in loader]
        with torch.no_grad():
            self.module.prior.get_parameter("pseudo_inputs").copy_(torch.cat(cells))
        self.prior_started_ = True

    @classmethod
    def load_query_data(cls, *args: Any, **options: Any) -> Any:
        """Map cells from new batches onto a trained model, by the library's scArches.

        The prior is frozen with the reference's networks, and clusters keep their names; a new
        batch has no part in the pseudo-inputs. See :meth:`scvi.model.SCVI.load_query_data`.
        """
        if not hasattr(super(), "load_query_data"):
            raise NotImplementedError(f"scvi-tools maps no queries onto {cls.record.name}.")
        model = super().load_query_data(*args, **options)
        prior = model.module.prior
        model.module.of_reference = not any(p.requires_grad for p in prior.parameters())
        pseudo_inputs = prior.pseudo_inputs
        if pseudo_inputs is not None:
            known = model.n_pseudo_input_entries_
            with torch.no_grad():
                pseudo_inputs[:, known:] = NEVER
        return model

    def get_setup_arg(self, setup_arg: str) -> Any:
        """Return what was given to the library's ``setup_anndata``, None where it takes none."""
        try:
            return super().get_setup_arg(setup_arg)
        except KeyError:
            return None

    def sample_cluster(  # type: ignore[override]
        self,
        cluster: str,
        n_samples: int = 100,
        batch: str | None = None,
        seed: int = 0,
        covariates: Mapping[str, Any] | None = None,
    ) -> AnnData:
        """Sample cells that the model imagines in a cluster: z from its component, data from z.

        All else that the data depend on, such as batch and library size, each cell has from a
        random cell of the data.

        Parameters
        ----------
        cluster : str
            Its name.
        n_samples : int
        batch : str, optional
            Batch that these random cells come from; by default any.
        seed : int
        covariates : mapping, optional
            Values of covariates, by the names of their columns; by default those of the same
            random cell.

        Returns
        -------
        anndata.AnnData, n_samples × G
            ``X``: samples; ``obsm["X_vmm"]``: z; ``obs``: cluster, batch and covariates; of a
            TOTALVI ``obsm["protein"]`` besides.
        """
        import anndata
        from scipy.sparse import csr_matrix

        place, asked = self._component_of(cluster), self._asked(covariates)
        n_samples, seed = whole(n_samples, "n_samples", 1), whole(seed, "seed", 0)
        if self.adata is None:
            raise ValueError("The model has no AnnData; samples take all but z from its cells.")
        names = np.asarray(self._batch_names())
        codes = self.adata_manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY).ravel().astype(int)
        if batch is not None and batch not in names:
            raise ValueError(f'"{batch}" not a valid batch category.')
        cells = np.arange(len(codes)) if batch is None else np.flatnonzero(names[codes] == batch)
        rows = np.random.default_rng(seed).choice(cells, n_samples)
        module, zs, drawn = self.module, [], []
        with global_seed(seed):
            for tensors in self._make_data_loader(self.adata, indices=rows):
                n = len(tensors[REGISTRY_KEYS.BATCH_KEY])
                self._put(asked, tensors)
                component = torch.full((n,), place, device=module.device)
                noise = torch.randn(n, module.latent_dim).to(module.device)
                with torch.no_grad():
                    z = module.prior.sample_component(component, noise, module.encode_pseudo_inputs)
                values = module.draw(tensors, z)
                zs.append(z.cpu())
                drawn.append(values if isinstance(values, tuple) else (values,))
        x, *others = (torch.cat(parts).cpu().numpy() for parts in zip(*drawn, strict=True))
        matrices = [REGISTRY_KEYS.X_KEY, REGISTRY_KEYS.ATAC_X_KEY]
        there = [key for key in matrices if key in self.adata_manager.data_registry]
        genes = [self.adata_manager.get_state_registry(key).column_names for key in there]
        told = told_of(registered_covariates(self.adata_manager), rows, asked, n_samples)
        obs = self._samples_obs(cluster, codes[rows], told)
        result = anndata.AnnData(
            csr_matrix(x),
            obs=obs,
            var=pd.DataFrame(index=pd.Index(np.concatenate(genes))),
            obsm={"X_vmm": torch.cat(zs).numpy()},
        )
        if others:
            proteins = self.protein_state_registry.column_names
            result.obsm["protein"] = pd.DataFrame(others[0], obs.index, list(proteins))
        return result

    def _put(self, asked: Mapping[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Give the cells of a minibatch these values of covariates."""
        categories, columns, _ = covariate_names(self.registry)
        for key, value in asked.items():
            table, keys = REGISTRY_KEYS.CONT_COVS_KEY, list(columns)
            if key in categories:
                table, keys = REGISTRY_KEYS.CAT_COVS_KEY, list(categories)
            tensors[table][:, keys.index(key)] = value.item()

    def plot_training(self) -> Figure:
        """Draw ELBO (training and validation) and utilised clusters over epochs.

        Returns
        -------
        matplotlib.figure.Figure
        """
        self._check_if_trained(warn=False)
        recorded = {name: table.iloc[:, 0] for name, table in self.history.items()}
        train = recorded["elbo_train"].astype(float)
        nothing = pd.Series(np.nan, train.index)
        valid = recorded.get("elbo_validation", nothing).astype(float)  # not of every epoch perhaps
        history = pd.DataFrame(
            {
                "epoch": np.arange(1, len(train) + 1),
                "train_elbo": -train,
                "valid_elbo": -valid.reindex(train.index).interpolate(limit_area="inside"),
                "utilized_clusters": recorded.get("utilized_clusters", nothing).astype(float),
            },
            index=train.index,
        )
        record = PRIORS[self._prior]
        shown = Trainings(record.label, record.colour, [history], [None])
        return training_curves_figure([shown])


NEVER = -1e4
"""Logit of a new batch in the pseudo-inputs of the reference: its softmax is exactly 0."""


def with_prior(model: Any, prior: str = "vmm", record: ModelRecord | None = None) -> Any:
    """Return a model of scvi-tools whose latent space has one of our priors.

    It is a subclass of `model` with all that this has, and its arguments, and besides those of
    ``vmm.SCVI``: ``prior``, ``n_components``, ``seed`` and ``prior_kwargs``. It clusters: see
    ``predict``, ``get_cluster_summary``, ``get_prior_parameters``, ``sample_cluster`` and the
    plots.

    Parameters
    ----------
    model : type
        Such as ``scvi.model.TOTALVI``.
    prior : {"vmm", "gmm", "vampprior", "normal"}
        What a model has unless its argument ``prior`` says otherwise.
    record : ModelRecord, optional
        Of a model that :data:`vmm.scvi_tools.MODELS` does not have.

    Returns
    -------
    type

    Raises
    ------
    InputError
        If `model` is none that a prior is known to fit.

    Examples
    --------
    >>> TOTALVI = vmm.with_prior(scvi.model.TOTALVI)  # or vmm.TOTALVI
    >>> TOTALVI.setup_anndata(adata, protein_expression_obsm_key="protein", batch_key="donor")
    >>> model = TOTALVI(adata, prior="vmm")
    >>> model.train()
    >>> adata.obs["cluster"] = model.predict()
    """
    check_prior(prior, None)
    if record is None:
        record = _record_of(model)
    else:
        _check(record, model)
    return _class(model, prior, record)


@cache  # cells are set up for a class, which must be the same when it is asked for again
def _class(model: Any, prior: str, record: ModelRecord) -> Any:
    namespace: dict[str, Any] = {
        "record": record,
        "_training_plan_cls": plan_with_prior(model._training_plan_cls),
        "__doc__": f"{model.__name__} of scvi-tools with a prior of vmm; see "
        f":func:`vmm.scvi_tools.with_prior`.\n\n{model.__doc__ or ''}",
        "__init__": _initialiser(model, prior),
        "_markers_by": record.markers,
    }
    if record.markers.method != "differential_expression":
        namespace["differential_expression"] = model.differential_expression
    name, bases = f"{model.__name__}WithPrior", (ModelWithPrior, model)
    return new_class(name, bases, exec_body=lambda body: body.update(namespace))


def _check(record: ModelRecord, model: type) -> None:
    """Refuse a record that names what is not there; what only a module has is looked at later."""
    for name in ("others", "draw"):
        try:
            resolve(getattr(record, name))
        except (LookupError, ImportError, ValueError) as error:
            raise InputError(f"the record of {record.name} names no function: {error}.") from error
    if not hasattr(model, record.markers.method):
        raise InputError(
            f"the record of {record.name} has markers by the method {record.markers.method!r}, "
            "which the model lacks."
        )


def _record_of(model: type) -> ModelRecord:
    name = getattr(model, "__name__", repr(model))
    record = MODELS.get(name)
    if record is None or resolve(record.cls) is not model:
        if isinstance(model, type) and issubclass(model, (ModelWithPrior, SummaryMixin)):
            raise InputError(f"{name} has a prior of vmm already; give its argument `prior`.")
        why = f": {LEFT_OUT[name]}" if name in LEFT_OUT else ""
        raise InputError(
            f"{name} takes no prior of vmm{why}; there are {', '.join(MODELS)}, and for a model of "
            "your own `record`."
        )
    return record


def _initialiser(model: type, default: str) -> Callable[..., None]:
    """Return the constructor: the library's arguments and ours."""

    def __init__(self: Any, *args: Any, **options: Any) -> None:
        ours = {name: options.pop(name, value) for name, value in defaults.items()}
        for name, value in self.record.forced:
            if options.setdefault(name, value) != value:
                raise InputError(
                    f"`{name}={options[name]!r}` is not supported: `prior` is in its place."
                )
        super(ModelWithPrior, self).__init__(*args, **options)
        self._take_prior(**ours)
        self.init_params_["non_kwargs"].update(ours)

    defaults = OURS | {"prior": default}
    library = list(signature(model).parameters.values())
    own = [Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name]) for name in defaults]
    named = [p for p in library if p.kind is not Parameter.VAR_KEYWORD]
    rest = [p for p in library if p.kind is Parameter.VAR_KEYWORD]
    self_ = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = signature(model).replace(  # type: ignore[attr-defined]
        parameters=[self_, *named, *own, *rest]
    )
    return __init__
