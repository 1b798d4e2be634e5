"""One record a model: which networks stand behind the data of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Likelihood = Literal["zinb", "nb", "poisson"]
Dispersion = Literal["gene", "gene-batch"]


@dataclass(frozen=True)
class ImageNetworks:
    """Sizes of the image VAE: keys of an image set's configuration.

    Attributes
    ----------
    n_latent : int
        Dimension p of the latent space.
    hidden : tuple of int
        Widths of the encoder's layers.
    """

    n_latent: int
    hidden: tuple[int, ...]


@dataclass(frozen=True)
class CellNetworks:
    """What scVI is: keys of a cell set's configuration, and of ``inference``.

    Attributes
    ----------
    n_latent, n_layers, n_hidden : int
        Dimension p of the latent space, number of hidden layers and their width.
    likelihood : {"zinb", "nb", "poisson"}
    log_counts : bool
        Whether the encoder sees log1p of the counts, or the counts as they are.
    dispersion : {"gene", "gene-batch"}
        Whether each gene has one dispersion, or one in each batch.
    encode_covariates : bool
        Whether the encoder is told batch and covariates, as the decoder is.
    """

    n_latent: int
    n_layers: int
    n_hidden: int
    likelihood: Likelihood
    log_counts: bool = True
    dispersion: Dispersion = "gene"
    encode_covariates: bool = True


Networks = ImageNetworks | CellNetworks


@dataclass(frozen=True)
class ModelRecord:
    """A model by the kind of data that it is for.

    Attributes
    ----------
    kind : {"images", "cells"}
    name : str
        In rows of metrics.
    cls : str
        ``"module:class"``, a subclass of :class:`vmm.models.base.LatentVariableModel`.
    networks : type
        What its networks are made by.
    """

    kind: str
    name: str
    cls: str
    networks: type[ImageNetworks] | type[CellNetworks]

    @property
    def module(self) -> str:
        """The module of its class."""
        return self.cls.partition(":")[0]


MODELS: dict[str, ModelRecord] = {
    "images": ModelRecord("images", "VAE", "vmm.models.image_vae:ImageVAE", ImageNetworks),
    "cells": ModelRecord("cells", "scVI", "vmm.models.count_vae:CountVAE", CellNetworks),
}
"""The model of each kind of data."""
