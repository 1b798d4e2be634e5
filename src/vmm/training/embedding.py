"""What a trained model says of its data: ELBO, embedding, clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vmm.models.base import LatentVariableModel, encode_once
from vmm.models.tensors import Tensors
from vmm.numerics.products import float32_products

EVALUATION_ROWS = 1024
"""Images or cells evaluated at once: bounds memory, changes no result."""


@torch.no_grad()
@float32_products()
def evaluate(
    model: LatentVariableModel,
    data: Tensors,
    index: np.ndarray | Tensor,
    seed: int = 0,
    kl_weight: float = 1.0,
) -> tuple[float, np.ndarray | None]:
    """Return the mean ELBO (nats) and the clusters (n,) of the rows of `index`.

    The noise depends on `seed` only, so that epochs are compared with the same noise.
    """
    parts = evaluation_parts(data, index, model.latent_dim, seed)
    total, *clusters = evaluated(model, data, parts, kl_weight)
    return float(total) / len(index), clusters[0].cpu().numpy() if clusters else None


def evaluation_parts(
    data: Tensors, index: np.ndarray | Tensor, latent_dim: int, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """Return the rows of `index` and their noise, in the parts that are evaluated at once."""
    generator = torch.Generator(data.device).manual_seed(seed)
    rows = torch.as_tensor(index, device=data.device).split(EVALUATION_ROWS)
    shapes = [(len(part), latent_dim) for part in rows]
    noise = [torch.randn(s, generator=generator, device=data.device) for s in shapes]
    return list(zip(rows, noise, strict=True))


@torch.no_grad()
def evaluated(
    model: LatentVariableModel,
    data: Tensors,
    parts: Sequence[tuple[Tensor, Tensor]],
    kl_weight: float = 1.0,
) -> list[Tensor]:
    """Return the sum of the ELBO, in double precision, and the clusters (n,) if there are any.

    A pure function of tensors: it can be mapped over stacked models, and recorded.

    Parameters
    ----------
    model : LatentVariableModel
    data : ImageTensors or CellTensors
    parts : sequence of (torch.Tensor, torch.Tensor)
        See :func:`evaluation_parts`.
    kl_weight : float
    """
    encode = encode_once(model)
    total: float | Tensor = 0.0
    clusters = []
    for rows, noise in parts:
        batch = data.batch(rows)
        q = model.posterior(batch)
        z = q.rsample(noise)
        elbo = model.log_likelihood(batch, z)
        if kl_weight:
            elbo = elbo - kl_weight * model.prior.kl(q, z, encode)
        total = total + elbo.double().sum()
        if model.prior.n_components:
            point = z if model.cluster_by_sample else q.mean
            clusters.append(model.prior.cluster_log_probs(point, encode).argmax(-1))
    assert isinstance(total, Tensor), "there are parts"
    return [total, torch.cat(clusters)] if clusters else [total]


@torch.no_grad()
@float32_products()
def embed(
    model: LatentVariableModel, data: Tensors, seed: int = 0, sample: bool | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the means of q(z|x) and the cluster probabilities of all rows.

    Parameters
    ----------
    model : LatentVariableModel
    data : ImageTensors or CellTensors
    seed : int
        Of the noise, where clusters are those of a sample.
    sample : bool, optional
        Whether cluster probabilities are those of a sample of z or of its mean; by default as the
        paper's published code: a sample for images, the mean for cells.

    Returns
    -------
    embedding : array of float32, shape (N, p)
    cluster_probs : array of float32, shape (N, K), or None
        None where the prior does not cluster.
    """
    generator = torch.Generator(data.device).manual_seed(seed)
    sample = model.cluster_by_sample if sample is None else sample
    encode = encode_once(model)
    means, probabilities = [], []
    for rows in torch.arange(len(data), device=data.device).split(EVALUATION_ROWS):
        q = model.posterior(data.batch(rows))
        means.append(q.mean)
        if model.prior.n_components:
            noise = torch.randn(q.mean.shape, generator=generator, device=data.device)
            point = q.rsample(noise) if sample else q.mean
            probabilities.append(model.prior.cluster_log_probs(point, encode).exp())
    embedding = torch.cat(means).cpu().numpy()
    return embedding, torch.cat(probabilities).cpu().numpy() if probabilities else None
