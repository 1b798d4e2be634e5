"""What the parts of the model know of the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from scvi.model.base import BaseModelClass as Whole

    from vmm.scvi.module import Module
else:
    Whole = object  # the model itself inherits from it, last


class ModelPart(Whole):
    """A part of :class:`vmm.scvi.model.SCVI`, of which it knows these attributes.

    `cluster_order_` (K,) are the components of the prior in the order of `cluster_names_`.
    `best_epoch_` is the epoch that training kept, from 1. `training_settings_` says how it was
    trained last: of :class:`vmm.training.settings.Settings`, but for the seed, and the part that
    was validated on. `n_reference_batches_` and `n_reference_categories_` are what the model had as
    the reference of a query, `n_categories_` those of each covariate. `_prior` is the short name of
    the prior.
    """

    module: Module
    cluster_order_: np.ndarray | None
    cluster_names_: list[str] | None
    best_epoch_: int
    n_batches_: int
    n_reference_batches_: int | None
    n_categories_: tuple[int, ...]
    n_reference_categories_: tuple[int, ...]
    training_settings_: dict[str, Any] | None
    _prior: str
    _seed: int
