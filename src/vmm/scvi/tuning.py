"""Batch size and prior learning ratio chosen without labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from vmm.errors import InputError
from vmm.numerics.products import Precision, float32_products
from vmm.priors.records import PRIORS
from vmm.progress import say
from vmm.scvi.options import device_of, number, positive, whole
from vmm.scvi.stability import StabilityMixin
from vmm.scvi.threads import cpu_threads
from vmm.training.choice import Tuning, choose
from vmm.training.settings import Settings

if TYPE_CHECKING:
    from anndata import AnnData

VALIDATED = 0.1
"""Part of the cells that each training is validated on, as by default."""


class TuningMixin(StabilityMixin):
    """A search that looks at no label."""

    @classmethod
    def tune(
        cls,
        adata: AnnData,
        batch_sizes: Sequence[int] = (128, 256, 512),
        prior_learning_ratios: Sequence[float] = (1, 2.5, 5, 10),
        n_seeds: int = 5,
        max_epochs: int = 10_000,
        learning_rate: float = 4e-4,
        early_stopping_patience: int = 100,
        precision: Precision = "float32",
        cuda_graph: bool = True,
        sleep_below: float = 0.1,
        accelerator: str = "auto",
        devices: int | str = "auto",
        enable_progress_bar: bool = True,
        **model_options: Any,
    ) -> Tuning:
        """Choose batch size and prior learning ratio by likelihood and stability.

        For each setting of a grid the model is trained with several seeds at once. Of the settings
        whose validation ELBO is as good as the best one's, up to a standard error of the
        difference over seeds, the one is chosen whose clusters agree best between seeds (mean
        adjusted Rand index of each two). Settings by which any seed finds one cluster only do not
        count: one cluster always agrees with itself. No label is looked at.

        Parameters
        ----------
        adata : anndata.AnnData
            Registered by :meth:`setup_anndata`.
        batch_sizes, prior_learning_ratios : sequence
            The grid; those of the paper by default.
        n_seeds : int
            Trainings of each setting, at least 2.
        max_epochs, learning_rate, early_stopping_patience, precision, cuda_graph, sleep_below
            As for :meth:`train`.
        accelerator, devices, enable_progress_bar
            As for :meth:`train`.
        **model_options
            Of :class:`vmm.SCVI`, such as ``n_latent``; the seeds are those from ``seed`` on.

        Returns
        -------
        Tuning

        Raises
        ------
        InputError
            If the grid is empty, or no setting gives clusters.

        Examples
        --------
        >>> found = vmm.SCVI.tune(adata)
        >>> model = vmm.SCVI(adata)
        >>> model.train(**found.options)
        """
        sizes = sorted({whole(size, "batch_sizes", 2) for size in batch_sizes})
        ratios = sorted({positive(r, "prior_learning_ratios") for r in prior_learning_ratios})
        if not sizes or not ratios:
            raise InputError("`batch_sizes` and `prior_learning_ratios` must have a value each.")
        n_seeds = whole(n_seeds, "n_seeds", 2)
        model = cls(adata, **model_options)
        if not model.module.prior.n_components:
            raise InputError(f"prior={model._prior!r} has no clusters, whose stability could tell.")
        if not PRIORS[model._prior].empirical_bayes:
            ratios = ratios[:1]  # without effect
        device = device_of(accelerator, devices)
        seeds = [model._seed + i for i in range(n_seeds)]
        found = []
        with cpu_threads(model.threads), float32_products():
            for size, ratio in product(sizes, ratios):
                settings = Settings(
                    learning_rate=positive(learning_rate, "learning_rate"),
                    batch_size=size,
                    max_epochs=whole(max_epochs, "max_epochs", 1),
                    prior_learning_ratio=ratio,
                    patience=whole(early_stopping_patience, "early_stopping_patience", 1),
                    precision=precision,
                    cuda_graph=cuda_graph,
                    sleep_below=number(sleep_below, "sleep_below"),
                )
                label = f"Batch size {size}, prior learning ratio {ratio:g}"
                if enable_progress_bar:
                    say(f"{label}: {n_seeds} seeds")
                trained = model._train_seeds(
                    seeds, VALIDATED, settings, device, label if enable_progress_bar else None
                )
                found.append((size, ratio, trained))
        return choose(found, seeds)
