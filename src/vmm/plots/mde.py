"""Figures 3, 6, 7, 8: minimum-distortion embeddings (MDE) of latent representations."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from vmm.errors import InputError
from vmm.lazy import without_torchvision

N_NEIGHBOURS = 15
"""Neighbours that attract a cell, fewer where there are not as many cells."""
REPULSIVE_FRACTION = 0.7
"""Repelling pairs as a fraction of attracting ones."""
EXACT_LIMIT = 50_000
"""Up to this many cells neighbours are searched exactly."""


def compute_mde(embedding: np.ndarray, seed: int) -> np.ndarray:
    """Lay cells (N, p) out in the plane, (N, 2), so that neighbours in `embedding` stay neighbours.

    A standardised neighbour-preserving MDE [1]_ with the settings that scvi-tools documented for
    its users: centred, with identity covariance. Same input and seed give the same bits on the same
    machine: the start is random from `seed`, as are the pairs that repel one another, torch runs on
    one thread, and the layout, which is defined only up to a rotation and reflection, is turned
    onto the first two principal components of `embedding`. The global random states and torch's
    number of threads are left as they were.

    References
    ----------
    .. [1] Agrawal, Ali & Boyd, *Minimum-Distortion Embedding*, Foundations and Trends in Machine
       Learning 14(3), 2021.
    """
    embedding = np.ascontiguousarray(embedding, dtype=np.float32)
    if embedding.ndim != 2 or len(embedding) < 4 or not np.isfinite(embedding).all():
        raise InputError(
            f"an MDE needs a finite embedding of at least 4 cells, got shape {embedding.shape} "
            f"with {int((~np.isfinite(embedding)).sum())} values that are not finite"
        )
    pymde, torch = without_torchvision("pymde"), importlib.import_module("torch")
    with _quiet_torch(torch):
        pymde.seed(int(seed))
        problem = pymde.preserve_neighbors(
            torch.from_numpy(embedding),
            embedding_dim=2,
            constraint=pymde.Standardized(),
            repulsive_fraction=REPULSIVE_FRACTION,
            n_neighbors=min(N_NEIGHBOURS, len(embedding) - 2),
            knn_method="exact" if len(embedding) <= EXACT_LIMIT else "approximate",
            init="random",
            device="cpu",
        )
        coordinates = problem.embed(verbose=False).numpy()
    return align(coordinates, _principal_components(embedding))


def mde_coordinates(embeddings: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Lay out several embeddings of the same cells, turned so that they can be compared.

    Each is computed by :func:`compute_mde`; all are then rotated and reflected, which changes no
    distance, to agree with the last one as well as they can.

    Parameters
    ----------
    embeddings
        ``{row label: (N, p)}``, in the order of the figure's rows.
    seed
        Used for each.

    Returns
    -------
    dict
        ``{row label: (N, 2)}`` in the same order.
    """
    layouts = {name: compute_mde(embedding, seed) for name, embedding in embeddings.items()}
    reference = layouts[list(layouts)[-1]]
    return {name: align(layout, reference) for name, layout in layouts.items()}


def align(coordinates: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rotate and reflect centred `coordinates` (N, 2) to be closest to `reference` (N, 2).

    The orthogonal Procrustes problem: with U S Vᵀ = coordinatesᵀ reference, the rotation is U Vᵀ.
    """
    coordinates = coordinates - coordinates.mean(axis=0)
    reference = reference - reference.mean(axis=0)
    u, _, vt = np.linalg.svd(coordinates.T.astype(float) @ reference.astype(float))
    return (coordinates @ (u @ vt)).astype(np.float32)


def _principal_components(embedding: np.ndarray) -> np.ndarray:
    """First two principal components (N, 2), signs such that the skew is positive."""
    centred = embedding.astype(float) - embedding.mean(axis=0, dtype=float)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    scores = centred @ vectors[:, ::-1][:, :2]
    if scores.shape[1] < 2:
        scores = np.column_stack([scores, np.zeros(len(scores))])
    skew = (scores**3).sum(axis=0)
    return scores * np.where(skew < 0, -1.0, 1.0)


@contextmanager
def _quiet_torch(torch: ModuleType) -> Iterator[None]:
    """Use one torch thread, and put threads and the random states back afterwards."""
    threads, state = torch.get_num_threads(), np.random.get_state()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        np.random.set_state(state)
