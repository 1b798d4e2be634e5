"""Training plans of scvi-tools with the Empirical Bayes step beside."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vmm.errors import InputError
from vmm.models.base import encode_once
from vmm.training.empirical_bayes import EmpiricalBayes

if TYPE_CHECKING:
    from vmm.scvi_tools.module import PriorModule

    class Plan:
        """What a plan of the library has."""

        module: PriorModule
        lr: float
        trainer: Any
        log: Any
        configure_optimizers: Any
        on_train_start: Any
        training_step: Any
        on_train_batch_end: Any
        on_train_epoch_end: Any

        def __init__(self, module: Any, **options: Any) -> None: ...
else:
    Plan = object  # the library's plan is inherited from beside


ONE_DEVICE = (
    "a model with a prior of vmm is trained on one device; leave out `strategy`, and give one of "
    "the `devices`"
)


class PriorPlan(Plan):
    """What is added to a training plan: after each of its steps one of Empirical Bayes.

    The second optimiser is apart from the library's: whatever these are, and whether Lightning
    steps them or the plan, ψ is in none of them.

    Parameters
    ----------
    module : PriorModule
    prior_learning_ratio : float
        Rate of the second optimiser, relative to that of the first as it is at the time.
    start_prior : callable, optional
        Is given the training cells before the first step.
    **options
        Of the library's plan.
    """

    def __init__(
        self,
        module: Any,
        *,
        prior_learning_ratio: float = 5.0,
        start_prior: Callable[[np.ndarray], None] | None = None,
        **options: Any,
    ):
        super().__init__(module, **options)
        self.prior_learning_ratio = prior_learning_ratio
        self.start_prior = start_prior
        self.utilized: list[Tensor] = []
        """Clusters of the cells of this epoch, a tensor a batch."""

    def configure_optimizers(self) -> Any:
        """Return the library's optimisers, which get no ψ, and make the second one."""
        self.empirical_bayes = EmpiricalBayes(self.module.prior, self.lr)
        with self.empirical_bayes.held_fixed():
            return super().configure_optimizers()

    def on_train_start(self) -> None:
        """Start the prior from training cells."""
        super().on_train_start()
        if self.trainer.world_size > 1:
            raise InputError(ONE_DEVICE)
        if self.start_prior is not None:
            self.start_prior(self.trainer.datamodule.train_idx)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Any:
        """Take step (1), or compute its loss, with ψ fixed."""
        with self.empirical_bayes.held_fixed():
            return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Take the steps (2) and (3): z from the updated posterior, and one step on ψ."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        module = self.module
        if not module.prior.n_components:
            return
        with torch.no_grad():
            q = module.posterior(batch)
            z = q.rsample(torch.randn_like(q.mean))
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.empirical_bayes.rate = self.prior_learning_ratio * rate
        self.empirical_bayes(z, module.encode_pseudo_inputs)
        with torch.no_grad():
            found = module.prior.cluster_log_probs(q.mean, encode_once(module))
        self.utilized.append(found.argmax(-1).unique())

    def on_train_epoch_end(self) -> None:
        """Log the number of clusters that training cells were assigned to."""
        super().on_train_epoch_end()
        if self.utilized:
            self.log("utilized_clusters", float(len(torch.cat(self.utilized).unique())))
            self.utilized.clear()


@cache
def plan_with_prior(library: type) -> type:
    """Return a plan of the library with the Empirical Bayes step."""
    return type(f"{library.__name__}WithPrior", (PriorPlan, library), {"__doc__": library.__doc__})
