"""Data as its source gives it, before checks and selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.data.download import Fetched
from vmm.data.features import RawFeatures

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class RawCells:
    """A matrix of counts and the table of its cells.

    Parameters
    ----------
    counts
        N × G matrix of any kind.
    obs
        Table of the N cells; its index names them.
    genes
        G names.
    where
        What the counts are, for messages ("X of my.h5ad").
    file
        Where the table is, for messages.
    hint
        What to do if the counts turn out not to be counts (the end of a sentence).
    notes
        Facts worth a line in the description.
    beside
        What else was counted in the same cells, by the keys of the configuration that name it.
    layers
        Names of all layers beside, where its source has any.
    modality
        Which one they are of a MuData file; "" of all else.
    feature
        What a column is: a gene, a peak or a protein.
    """

    counts: Any
    obs: pd.DataFrame
    genes: Sequence[str]
    where: str
    file: str
    hint: str = ""
    notes: list[str] = field(default_factory=list)
    beside: dict[str, RawFeatures] = field(default_factory=dict)
    layers: Sequence[str] = ()
    modality: str = ""
    feature: str = "gene"


@dataclass
class RawImages:
    """Images and their classes.

    Parameters
    ----------
    x
        N × D, uint8 or float32 in [-1, 1].
    labels
        (N,) int64 codes into `label_names`.
    label_names
        Names of the classes.
    image_shape
        (height, width).
    n_train
        The first so many rows are for training, the others for validation; None: not fixed.
    notes
        Facts worth a line in the description.
    """

    x: np.ndarray
    labels: np.ndarray
    label_names: list[str]
    image_shape: tuple[int, int]
    n_train: int | None = None
    notes: list[str] = field(default_factory=list)


Files = Mapping[str, Fetched]
"""Verified files of a source by their names, in the order of its record."""

Config = Mapping[str, Any]
"""The data set's part of the configuration; keys that are not given are absent."""

Reader = Callable[[Files, Config], RawCells | RawImages]
"""What reads a data set: ``RawCells`` for the kind ``cells``, ``RawImages`` for ``images``."""
