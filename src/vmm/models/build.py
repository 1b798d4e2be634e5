"""The prior that a training starts from, in networks that are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vmm.data.splits import check_starts
from vmm.models.base import LatentVariableModel
from vmm.models.tensors import Tensors
from vmm.numerics.seeds import seed_of
from vmm.priors import prior_class
from vmm.priors.records import PRIORS


def start_prior(
    model: LatentVariableModel,
    name: str,
    n_components: int,
    data: Tensors,
    train: np.ndarray,
    seed: int,
    trial: int = 0,
    dataset: str = "the data set",
    **options: Any,
) -> None:
    """Give a model the prior with this short name, with its initial values.

    Pseudo-inputs start from training rows drawn without replacement. What is drawn depends on
    `seed`, `trial` and the number of rows only: models of one trial share it.

    Parameters
    ----------
    model : LatentVariableModel
        On any device; its prior comes to the CPU.
    name : str
        A key of :data:`vmm.priors.records.PRIORS`.
    n_components : int
    data : ImageTensors or CellTensors
    train : array of int
        Rows to draw from.
    seed, trial : int
    dataset : str
        Its name, for messages.
    **options
        Of the prior's class.

    Raises
    ------
    ValueError
        If there is no such prior.
    InputError
        If there are fewer training rows than the prior starts from.
    """
    cls, pseudo_inputs = prior_class(name), None
    if cls.starts_from_data:
        key = PRIORS[name].n_components_key
        check_starts(dataset, len(train), key, n_components)
    if cls.has_pseudo_inputs:
        draw = np.random.default_rng(seed_of(seed, trial, "pseudo-inputs"))
        rows = torch.as_tensor(draw.choice(train, n_components, replace=False))
        pseudo_inputs = model.initial_pseudo_inputs(data.batch(rows.to(data.device))).cpu()
    generator = torch.Generator().manual_seed(seed_of(seed, trial, "prior"))
    model.prior = cls.initial(model.latent_dim, n_components, pseudo_inputs, generator, **options)
