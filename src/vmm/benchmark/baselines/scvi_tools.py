"""Models of scvi-tools, the library's own or with one of our priors, as the paper trains them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.spec import Spec
from vmm.benchmark.trained import Trained, one_after_another
from vmm.data.containers import CellData
from vmm.data.covariates import SIZE_FACTOR, column_of
from vmm.lazy import resolve
from vmm.models.records import CellNetworks
from vmm.numerics.seeds import seed_of
from vmm.scvi_tools.records import MODELS as LIBRARY
from vmm.scvi_tools.records import ModelRecord
from vmm.training.settings import FitResult, Row

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module


Build = Callable[[CellData, Spec], Any]
Fit = Callable[..., None]
"""Trains a model on the rows of the split, with arguments of ``train`` besides."""
Refine = Callable[[Any, CellData, Fit], Any]


def trainer(build: Build, refine: Refine | None = None) -> Callable[..., list[Trained]]:
    """Return what trains a model of scvi-tools for each trial, one after another.

    As :func:`vmm.benchmark.ours.train_ours`: no KL warm-up, no weight decay, Adam eps 1e-7, early
    stopping on the validation ELBO, the best epoch restored (none: the initial state); all else as
    scvi-tools has it. Its status is "diverged" where the library met NaN. There are no checkpoints,
    and no CUDA graphs.

    `build` makes the model from the cells and the specification. `refine` takes the trained model,
    the cells, and what trains a model as this one was; it returns another that goes on from it,
    trained.
    """
    return one_after_another(partial(_train_one, build, refine))


def _train_one(
    build: Build,
    refine: Refine | None,
    data: CellData,
    train: np.ndarray,
    valid: np.ndarray,
    spec: Spec,
    device: torch.device,
    progress: Callable[[Row], None],
) -> Trained:
    import scvi

    for part in ("lightning.fabric", "lightning.pytorch"):  # what it says twice in a log
        logging.getLogger(part).setLevel(logging.WARNING)
    scvi.settings.seed = seed_of(spec.seed, spec.job.trial, "training")
    scvi.settings.verbosity = 30
    model = build(data, spec)
    best = _best_state_callback(model.module, spec.patience, progress)
    settings = _settings(spec, device, model)
    rows = {
        "external_indexing": [np.asarray(train), np.asarray(valid), np.array([], dtype=int)],
        # The library's batch normalisation refuses a last batch of one cell.
        "drop_last": len(train) % settings["batch_size"] == 1,
    }

    def fit(model: Any, **more: Any) -> None:
        """Train on the rows of the split, which not every `train` of the library takes."""
        splitter = model._data_splitter_cls
        model._data_splitter_cls = lambda *args, **given: splitter(*args, **given | rows)
        model.train(**settings, **more)

    try:
        fit(model, max_epochs=spec.max_epochs, callbacks=[best])
        finite = all(np.isfinite(row["valid_elbo"]) for row in best.history)
    except ValueError as error:
        if "found invalid values" not in str(error):  # what torch.distributions says of NaN
            raise
        finite = False
        model.is_trained_ = True
        best.keep(math.nan, math.nan)
    model.module.load_state_dict(best.state)
    if finite and refine is not None:
        model = refine(model, data, fit)
    model.module.eval()
    embedding = model.get_latent_representation().astype(np.float32)
    probabilities = None
    if spec.ours is not None and spec.ours.n_components:
        model._order_clusters()  # those of the last epoch need not be those of the best
        probabilities = model.predict(soft=True).to_numpy(dtype=np.float32)
    result = FitResult("ok" if finite else "diverged", best.history, best.epoch)
    weights = {name: value.detach().cpu() for name, value in model.module.state_dict().items()}
    used = used_networks(model.module, LIBRARY[spec.job.library]) if spec.job.library else None
    return Trained(result, weights, embedding, probabilities, used)


def library_model(data: CellData, spec: Spec, cls: Any = None, **options: Any) -> Any:
    """Return an untrained model of scvi-tools: what a specification names, with its prior.

    `cls` is another class with the arguments of SCVI; `options` stand in place of the
    specification's.
    """
    record = LIBRARY[spec.job.library or "SCVI"]
    known = data.covariates
    given: dict[str, Any] = {"batch_key": "batch", **covariate_keys(data)}
    if known.size_factor is not None:
        given["size_factor_key"] = SIZE_FACTOR
    if "proteins" in record.data:
        given["protein_expression_obsm_key"] = "protein"
    model = cls or resolve(record.cls)
    if spec.ours is not None:
        model = resolve("vmm.scvi_tools.model:with_prior")(model)
    if "peaks" in record.data:
        adata: Any = data.to_mudata()
        model.setup_mudata(adata, modalities={"rna_layer": "rna", "atac_layer": "atac"}, **given)
    else:
        adata = data.to_anndata()
        model.setup_anndata(adata, **given)
    forced = dict(record.forced)  # N(0, I), as the method is called
    return model(adata, **forced, **(_networks(spec) | options), **_prior(spec))


train_scvi_tools = trainer(library_model)
"""Trains SCVI or what the specification names, the library's own or with one of our priors."""


def covariate_keys(data: CellData) -> dict[str, list[str]]:
    """Return the covariates of ``data.to_anndata()`` as ``setup_anndata`` takes them, if any."""
    known = data.covariates
    found = {
        "categorical_covariate_keys": [*map(column_of, known.categorical)],
        "continuous_covariate_keys": [*map(column_of, known.continuous)],
    }
    return {key: columns for key, columns in found.items() if columns}


def _networks(spec: Spec) -> dict[str, Any]:
    """Return the library's arguments for networks and likelihood."""
    networks = spec.networks
    if isinstance(networks, CellNetworks):
        return {
            "n_hidden": networks.n_hidden,
            "n_latent": networks.n_latent,
            "n_layers": networks.n_layers,
            "gene_likelihood": networks.likelihood,
            "dispersion": networks.dispersion,
            "log_variational": networks.log_counts,
            **(spec.options or {}),
        }
    assert isinstance(networks, Mapping)
    return dict(networks)


def used_networks(module: Any, record: ModelRecord) -> dict[str, Any]:
    """Return what a module really has of what a data set may say of networks and likelihood."""
    layers = getattr(module, record.encoders[0]).encoder.fc_layers
    found = {
        "n_latent": int(module.n_latent),  # NumPy's, where the library computes them
        "n_hidden": int(layers[0][0].out_features),
        "n_layers": len(layers),
    }
    return {
        key: found[key] if key in found else getattr(module, theirs)
        for key, theirs in record.arguments
    }


def _prior(spec: Spec) -> dict[str, Any]:
    """Return the arguments of a model with one of our priors, none of the library's own."""
    ours = spec.ours
    if ours is None:
        return {}
    components = {"n_components": ours.n_components} if ours.n_components else {}
    seed = seed_of(spec.seed, spec.job.trial, "prior")
    return {"prior": ours.name, "prior_kwargs": dict(ours.options), "seed": seed, **components}


def _settings(spec: Spec, device: torch.device, model: Any) -> dict[str, Any]:
    """Return the arguments of ``train``: which are the plan's differs between models."""
    batch_size = spec.batch_size
    assert batch_size is not None
    plan = {
        "lr": spec.learning_rate,
        "eps": 1e-7,
        "weight_decay": 0.0,
        "n_epochs_kl_warmup": 0,
        "n_steps_kl_warmup": 0,
    }
    library: Any = next(cls for cls in type(model).__mro__ if cls.__module__.startswith("scvi."))
    taken = signature(library.train).parameters
    own = {name: plan.pop(name) for name in [*plan] if name in taken}
    if spec.ours is not None and spec.prior_learning_ratio is not None:
        own["prior_learning_ratio"] = spec.prior_learning_ratio
    return {
        "accelerator": device.type,
        "devices": [device.index or 0] if device.type == "cuda" else 1,
        "batch_size": batch_size,
        "early_stopping": False,  # the callback stops: PEAKVI would look at something else
        "check_val_every_n_epoch": 1,
        "plan_kwargs": plan,
        "enable_progress_bar": False,
        **own,
    }


def _best_state_callback(module: Module, patience: int, progress: Callable[[Row], None]):
    """Return a Lightning callback that keeps the weights of the best validation ELBO in memory.

    It stops the training after `patience` epochs without a better one, and where there is none.
    """
    import time

    import torch
    from lightning.pytorch.callbacks import Callback

    def copy_state() -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in module.state_dict().items()}

    class BestState(Callback):
        def __init__(self) -> None:
            self.history: list[Row] = []
            self.epoch, self.loss, self.state = 0, math.inf, copy_state()
            self.start = time.monotonic()

        # scvi-tools logs both as mean negative ELBOs per cell; training's comes after validation's.
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            metrics = trainer.callback_metrics
            loss = float(metrics["elbo_validation"])
            # Clusters of training cells, which the plan forgets after this.
            found = getattr(pl_module, "utilized", [])
            n_clusters = len(torch.cat(found).unique()) if found else 0
            self.keep(-float(metrics.get("elbo_train", math.nan)), -loss, n_clusters)
            if loss < self.loss:
                self.epoch, self.loss = len(self.history), loss
                self.state = copy_state()
            if not math.isfinite(loss) or len(self.history) - self.epoch >= patience:
                trainer.should_stop = True
            progress(self.history[-1])

        def keep(self, train_elbo: float, valid_elbo: float, n_clusters: int = 0) -> None:
            """Append an epoch to the history."""
            now = time.monotonic()
            self.history.append(
                {
                    "epoch": len(self.history) + 1,
                    "train_elbo": train_elbo,
                    "valid_elbo": valid_elbo,
                    "utilized_clusters": n_clusters,
                    "seconds": now - self.start,
                }
            )
            self.start = now

    return BestState()
