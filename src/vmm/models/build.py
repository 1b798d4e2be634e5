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
    classes: np.ndarray | None = None,
    **options: Any,
) -> None:
    """Give a model the prior with this short name, with its initial values.

    Pseudo-inputs start from training rows drawn without replacement. What is drawn depends on
    `seed`, `trial` and the number of rows only: models of one trial share it. With `classes` it
    depends on these too.

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
    classes : array of int, shape (N,), optional
        Of all rows: pseudo-inputs are drawn from each class alike (:func:`balanced_draw`).
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
        if classes is None:
            rows = draw.choice(train, n_components, replace=False)
        else:
            rows = train[balanced_draw(draw, classes[train], n_components)]
        start = data.batch(torch.as_tensor(rows).to(data.device))
        pseudo_inputs = model.initial_pseudo_inputs(start).cpu()
    generator = torch.Generator().manual_seed(seed_of(seed, trial, "prior"))
    model.prior = cls.initial(model.latent_dim, n_components, pseudo_inputs, generator, **options)


def balanced_draw(draw: np.random.Generator, classes: np.ndarray, n: int) -> np.ndarray:
    """Draw positions without replacement, from each class alike as far as it goes.

    The classes give one each in turn, until `n` are drawn: their numbers differ by one at most,
    but for classes that have no more. Which give one more is chance, larger ones more often.

    Parameters
    ----------
    draw : numpy.random.Generator
    classes : array of int, shape (N,)
        With N at least `n`.
    n : int

    Returns
    -------
    array of int, shape (n,)
    """
    order = draw.permutation(len(classes))
    _, codes, sizes = np.unique(classes[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(codes, kind="stable")
    turn = np.empty_like(order)
    turn[by_class] = np.arange(len(order)) - np.repeat(sizes.cumsum() - sizes, sizes)
    return order[np.argsort(turn, kind="stable")[:n]]
