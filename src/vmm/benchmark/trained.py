"""What training makes of one model of the grid, whoever made the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vmm.training.settings import FitResult

if TYPE_CHECKING:
    from torch import Tensor


class Trained(NamedTuple):
    """A trained model and what it says of its data.

    Attributes
    ----------
    result : FitResult
    weights : dict of torch.Tensor
        Of the best epoch, on the CPU.
    embedding : array of float32, shape (N, p)
        Means of q(z|x).
    cluster_probs : array of float32, shape (N, K), or None
        None where the prior does not cluster.
    networks : dict, optional
        Sizes and likelihood by the configuration's keys, as a model that may have had its own has
        them.
    """

    result: FitResult
    weights: dict[str, Tensor]
    embedding: np.ndarray
    cluster_probs: np.ndarray | None = None
    networks: dict[str, Any] | None = None

    @property
    def latent(self) -> dict[str, np.ndarray]:
        """Embedding and, if there are any, cluster probabilities by their names."""
        latent = {"embedding": self.embedding}
        return (
            latent if self.cluster_probs is None else latent | {"cluster_probs": self.cluster_probs}
        )
