"""The scvi-tools baseline: its own SCVI model, trained with the paper's settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.data.containers import CellData
from vmm.training import FitResult

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def train_scvi_tools(
    data: CellData,
    train: np.ndarray,
    valid: np.ndarray,
    spec: dict[str, Any],
    seed: int,
    device: str,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> tuple[FitResult, np.ndarray, dict[str, Tensor]]:
    """Train ``scvi.model.SCVI`` and restore its best epoch (none: its initial state).

    No KL warm-up, no weight decay, Adam eps 1e-7, early stopping on the validation ELBO; all else
    as scvi-tools has it.

    Parameters
    ----------
    data : CellData
    train, valid : array of int
        The split.
    spec : dict
        n_layers, n_hidden, latent_dim, likelihood, learning_rate, batch_size, max_epochs, patience.
    seed : int
    device : {"cpu", "cuda"}
    progress : callable, optional
        Called with the row of each epoch.

    Returns
    -------
    result : FitResult
        With the status "diverged" where the library met NaN.
    embedding : array of float32, shape (N, p)
        Mean of q(z|x).
    state : dict of torch.Tensor
        Weights of the best epoch.
    """
    import scvi

    scvi.settings.seed = seed
    scvi.settings.verbosity = 30
    adata = data.to_anndata()
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
    model = scvi.model.SCVI(
        adata,
        n_hidden=spec["n_hidden"],
        n_latent=spec["latent_dim"],
        n_layers=spec["n_layers"],
        gene_likelihood=spec["likelihood"],
    )
    best = _best_state_callback(model.module, progress)
    settings = dict(
        max_epochs=spec["max_epochs"],
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        batch_size=spec["batch_size"],
        early_stopping=True,
        early_stopping_monitor="elbo_validation",
        early_stopping_patience=spec["patience"],
        check_val_every_n_epoch=1,
        datasplitter_kwargs={
            "external_indexing": [np.asarray(train), np.asarray(valid), np.array([], dtype=int)]
        },
        plan_kwargs={
            "lr": spec["learning_rate"],
            "eps": 1e-7,
            "weight_decay": 0.0,
            "n_epochs_kl_warmup": None,
        },
        callbacks=[best],
        enable_progress_bar=False,
    )
    try:
        model.train(**settings)
        finite = all(np.isfinite(row["valid_elbo"]) for row in best.history)
    except ValueError as error:
        if "found invalid values" not in str(error):  # what torch.distributions says of NaN
            raise
        finite = False
        model.is_trained_ = True
        best.keep(math.nan, math.nan)
    model.module.load_state_dict(best.state)
    model.module.eval()
    embedding = model.get_latent_representation().astype(np.float32)
    result = FitResult("ok" if finite else "diverged", best.history, best.epoch)
    return result, embedding, best.state


def _best_state_callback(module: Module, progress: Callable[[dict[str, float]], None] | None):
    """Return a Lightning callback that keeps the weights of the best validation ELBO in memory."""
    import time

    from lightning.pytorch.callbacks import Callback

    def copy_state() -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in module.state_dict().items()}

    class BestState(Callback):
        def __init__(self) -> None:
            self.history: list[dict[str, float]] = []
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
            if progress is not None:
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
