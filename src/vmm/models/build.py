"""From a specification to a model with its prior."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch

from vmm.data.splits import check_starts
from vmm.models.base import LatentVariableModel
from vmm.models.image_vae import ImageVAE
from vmm.models.scvi import SCVI
from vmm.names import PRIORS
from vmm.priors import make_prior
from vmm.tensors import CellTensors, Tensors


def seed_of(seed: int, trial: int, purpose: str) -> int:
    """Return the seed of one purpose ("network", "prior", "training", …) within one trial.

    It depends on nothing else, so that all models of a trial start from the same network.
    """
    sequence = np.random.SeedSequence([seed, trial, zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1, dtype=np.uint32)[0])


def build_model(spec: dict[str, Any], data: Tensors, train: np.ndarray) -> LatentVariableModel:
    """Return the untrained model of a specification, on the device of `data`.

    Parameters
    ----------
    spec : dict
        Keys: model ("VAE", "VaDE", "scVI"), prior (a class name in :mod:`vmm.priors`), trial, seed,
        latent_dim, n_components, the switches of the prior, and hidden (images) or n_layers,
        n_hidden, likelihood (cells).
    data : ImageTensors or CellTensors
    train : array of int
        Rows from which pseudo-inputs are drawn without replacement.

    Raises
    ------
    InputError
        If there are fewer training rows than pseudo-inputs.
    """
    seed, trial = spec["seed"], spec["trial"]
    network = torch.Generator().manual_seed(seed_of(seed, trial, "network"))
    if isinstance(data, CellTensors):
        model: LatentVariableModel = SCVI(
            data.counts.shape[1],
            data.n_batches,
            spec["latent_dim"],
            spec["n_layers"],
            spec["n_hidden"],
            spec["likelihood"],
            generator=network,
        )
    else:
        model = ImageVAE(
            data.pixels.shape[1], spec["latent_dim"], tuple(spec["hidden"]), generator=network
        )
    names = {class_name: name for name, class_name in PRIORS.items()}
    name = "vade" if spec["model"] == "VaDE" else names[spec["prior"]]
    n_components = spec["n_components"]
    pseudo_inputs = None
    if name == "vade":
        check_starts(spec["dataset"], len(train), "vade_clusters", n_components)
    if name in ("vampprior", "vmm"):
        check_starts(spec["dataset"], len(train), "n_components", n_components)
        draw = np.random.default_rng(seed_of(seed, trial, "pseudo-inputs"))
        rows = torch.as_tensor(draw.choice(train, n_components, replace=False))
        pseudo_inputs = model.initial_pseudo_inputs(data.batch(rows.to(data.device))).cpu()
    model.prior = make_prior(
        name,
        spec["latent_dim"],
        n_components,
        pseudo_inputs,
        torch.Generator().manual_seed(seed_of(seed, trial, "prior")),
        **{key: spec[key] for key in SWITCHES if key in spec},
    )
    return model.to(data.device)


SWITCHES = (
    "responsibility_gradient",
    "concentration_prior",
    "wishart_scale",
    "train_pseudo_inputs",
)
"""The documented departures of the paper's published code that concern training."""
