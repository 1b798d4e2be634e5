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

    Attributes
    ----------
    module : Module
        Networks and prior.
    cluster_order_ : array of int, shape (K,), or None
        Components of the prior in the order of `cluster_names_`.
    cluster_names_ : list of str, or None
    best_epoch_ : int
        The epoch that training kept, from 1.
    training_settings_ : dict or None
        How it was trained last: of :class:`vmm.training.settings.Settings`, but for the seed, and
        the part that was validated on.
    _prior, _seed : str, int
        Short name of the prior, and the seed.
    n_batches_, n_reference_batches_ : int
        Batches that the model has, and had as the reference of a query (else None).
    n_categories_, n_reference_categories_ : tuple of int
        The same of the categories of each covariate.
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
