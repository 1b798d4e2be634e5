"""The scvi-tools baseline: its own SCVI model, trained with the paper's settings; others too."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.spec import Spec
from vmm.benchmark.trained import Trained
from vmm.data.containers import CellData
from vmm.data.covariates import SIZE_FACTOR, column_of
from vmm.models.records import CellNetworks
from vmm.numerics.seeds import seed_of
from vmm.training.settings import FitResult, Row

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module


def train_scvi_tools(
    data: CellData,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    specs: Sequence[Spec],
    folder: Path,
    device: torch.device,
    progress: Sequence[Callable[[Row], None]],
    cuda_graph: bool = False,
) -> list[Trained]:
    """Train ``scvi.model.SCVI`` for each trial; as :func:`vmm.benchmark.ours.train_ours`.

    There are no checkpoints, and no CUDA graphs.
    """
    return train_each(scvi_model, data, splits, specs, device, progress)


def train_each(
    build: Callable[[CellData, Spec], Any],
    data: CellData,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    specs: Sequence[Spec],
    device: torch.device,
    progress: Sequence[Callable[[Row], None]],
    refine: Callable[[Any, CellData, dict[str, Any]], Any] | None = None,
) -> list[Trained]:
    """Train a model of scvi-tools for each trial, one after another.

    No KL warm-up, no weight decay, Adam eps 1e-7, early stopping on the validation ELBO, the best
    epoch restored (none: the initial state); all else as scvi-tools has it. Its status is
    "diverged" where the library met NaN.

    Parameters
    ----------
    build : callable
        Makes the model from the cells and the specification.
    refine : callable, optional
        Takes the trained model, the cells, and how it was trained; returns another that goes on
        from it, trained.
    """
    each = zip(splits, specs, progress, strict=True)
    return [_train_one(build, refine, data, *rows, spec, device, show) for rows, spec, show in each]


def _train_one(
    build: Callable[[CellData, Spec], Any],
    refine: Callable[[Any, CellData, dict[str, Any]], Any] | None,
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
    batch_size = spec.batch_size
    assert batch_size is not None
    model = build(data, spec)
    best = _best_state_callback(model.module, progress)
    shared: dict[str, Any] = dict(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        batch_size=batch_size,
        datasplitter_kwargs={
            "external_indexing": [np.asarray(train), np.asarray(valid), np.array([], dtype=int)],
            # The library's batch normalisation refuses a last batch of one cell.
            "drop_last": len(train) % batch_size == 1,
        },
        plan_kwargs={
            "lr": spec.learning_rate,
            "eps": 1e-7,
            "weight_decay": 0.0,
            "n_epochs_kl_warmup": None,
        },
        enable_progress_bar=False,
    )
    try:
        model.train(
            max_epochs=spec.max_epochs,
            early_stopping=True,
            early_stopping_monitor="elbo_validation",
            early_stopping_patience=spec.patience,
            check_val_every_n_epoch=1,
            callbacks=[best],
            **shared,
        )
        finite = all(np.isfinite(row["valid_elbo"]) for row in best.history)
    except ValueError as error:
        if "found invalid values" not in str(error):  # what torch.distributions says of NaN
            raise
        finite = False
        model.is_trained_ = True
        best.keep(math.nan, math.nan)
    model.module.load_state_dict(best.state)
    if finite and refine is not None:
        model = refine(model, data, shared)
    model.module.eval()
    embedding = model.get_latent_representation().astype(np.float32)
    result = FitResult("ok" if finite else "diverged", best.history, best.epoch)
    weights = {name: value.detach().cpu() for name, value in model.module.state_dict().items()}
    return Trained(result, weights, embedding)


def scvi_model(data: CellData, spec: Spec, cls: Any = None, **options: Any) -> Any:
    """Return an untrained ``scvi.model.SCVI``, or another class with the same arguments.

    Parameters
    ----------
    data : CellData
    spec : Spec
    cls : type, optional
    **options
        In place of the specification's own.
    """
    import scvi

    cls = cls or scvi.model.SCVI
    adata, networks = data.to_anndata(), spec.networks
    assert isinstance(networks, CellNetworks)
    has_size = data.covariates.size_factor is not None
    size = {"size_factor_key": SIZE_FACTOR} if has_size else {}
    cls.setup_anndata(adata, batch_key="batch", **covariate_keys(data), **size)
    sizes = {key: getattr(networks, key) for key in ("n_hidden", "n_latent", "n_layers")}
    own = {
        "gene_likelihood": networks.likelihood,
        "dispersion": networks.dispersion,
        "log_variational": networks.log_counts,
        **(spec.options or {}),
    }
    return cls(adata, **sizes, **(own | options))


def covariate_keys(data: CellData) -> dict[str, list[str] | None]:
    """Return the covariates of ``data.to_anndata()`` as ``setup_anndata`` takes them."""
    known = data.covariates
    return {
        "categorical_covariate_keys": [*map(column_of, known.categorical)] or None,
        "continuous_covariate_keys": [*map(column_of, known.continuous)] or None,
    }


def _best_state_callback(module: Module, progress: Callable[[Row], None]):
    """Return a Lightning callback that keeps the weights of the best validation ELBO in memory."""
    import time

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
            self.keep(-float(metrics.get("elbo_train", math.nan)), -loss)
            if loss < self.loss:
                self.epoch, self.loss = len(self.history), loss
                self.state = copy_state()
            progress(self.history[-1])

        def keep(self, train_elbo: float, valid_elbo: float) -> None:
            """Append an epoch to the history."""
            now = time.monotonic()
            self.history.append(
                {
                    "epoch": len(self.history) + 1,
                    "train_elbo": train_elbo,
                    "valid_elbo": valid_elbo,
                    "utilized_clusters": 0,
                    "seconds": now - self.start,
                }
            )
            self.start = now

    return BestState()
