"""How to train, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from vmm.numerics.products import Precision

Row = dict[str, float]
"""An epoch of a training's history."""


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    learning_rate : float
        Rate γ₁ of the variational steps.
    batch_size : int
        M. An incomplete last batch is left out (another one every epoch), since the prior's
        weight against the likelihood depends on M.
    max_epochs : int
    prior_learning_ratio : float
        γ₂ / γ₁.
    patience : int, optional
        Stop after so many epochs without a better `monitor`; without it, never.
    monitor : {"elbo", "unmerged_nmi", "none"}
        The validation metric whose best epoch is kept; with "none", the last epoch is.
    seed : int
        Of the order of the batches and of all noise.
    kl_weight : float
        0 leaves the prior out of the variational steps.
    epsilon : float
        Adam's.
    precision : {"float32", "tf32", "bf16"}
        Of the networks' matrix products in training; all else is float32, and so is validation.
    cuda_graph : bool
        On a GPU, record the step once and replay it; results are the same.
    sleep_below : float
        A component of a mixture that has less than this part of one training point is not computed
        until it is wanted again (:mod:`vmm.training.sleep`); with 0 all always are.
    """

    learning_rate: float
    batch_size: int
    max_epochs: int
    prior_learning_ratio: float = 1.0
    patience: int | None = None
    monitor: Literal["elbo", "unmerged_nmi", "none"] = "elbo"
    seed: int = 0
    kl_weight: float = 1.0
    epsilon: float = 1e-7
    precision: Precision = "float32"
    cuda_graph: bool = True
    sleep_below: float = 0.0


@dataclass
class FitResult:
    """What came of a training; the model holds the state of the best epoch.

    Attributes
    ----------
    status : {"ok", "diverged", "interrupted"}
        "diverged": NaN or infinity was met; the model holds its last finite state.
        "interrupted": by Ctrl-C, where `fit` was asked to keep what there was.
    history : list of dict
        A row an epoch: epoch, train_elbo, valid_elbo, utilized_clusters, seconds and, where it is
        monitored, valid_unmerged_nmi.
    best_epoch : int
        The epoch whose state the model holds, from 1; 0 for the initial state.
    """

    status: str
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
