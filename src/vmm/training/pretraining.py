"""Training without the KL, for priors that are started from samples of the trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vmm.models.base import LatentVariableModel
from vmm.models.tensors import Tensors
from vmm.numerics.products import float32_products
from vmm.training.embedding import EVALUATION_ROWS
from vmm.training.settings import Settings
from vmm.training.stacked import fit_all


def pretrain(
    models: Sequence[LatentVariableModel],
    data: Tensors,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: Sequence[Settings],
    checkpoint: str | Path | None = None,
) -> None:
    """Pre-train models whose prior asks for it, and start their priors from samples of z.

    Parameters
    ----------
    models, splits, settings
        Of trainings at once; see :func:`vmm.training.stacked.fit_all`. The settings are those of
        the training that follows.
    data : ImageTensors or CellTensors
    checkpoint : path, optional
    """
    asked = models[0].prior.pretraining(settings[0].batch_size)
    if asked is None:
        return
    without_kl = [
        replace(
            own,
            learning_rate=asked.learning_rate,
            max_epochs=asked.epochs,
            patience=None,
            monitor="none",
            kl_weight=0.0,
        )
        for own in settings
    ]
    fit_all(models, data, splits, without_kl, checkpoint=checkpoint)
    for model, (train, _), own in zip(models, splits, settings, strict=True):
        model.prior.start_from(_samples(model, data, train, own.seed), own.seed)


@torch.no_grad()
@float32_products()
def _samples(
    model: LatentVariableModel, data: Tensors, rows: np.ndarray, seed: int
) -> torch.Tensor:
    """Return a sample of z for each row, shape (n, p)."""
    generator = torch.Generator(data.device).manual_seed(seed)
    samples = []
    for part in torch.as_tensor(rows, device=data.device).split(EVALUATION_ROWS):
        q = model.posterior(data.batch(part))
        noise = torch.randn(q.mean.shape, generator=generator, device=data.device)
        samples.append(q.rsample(noise))
    return torch.cat(samples)
