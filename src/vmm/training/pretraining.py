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
from vmm.tensor_files import write_tensors
from vmm.training.checkpoint import read_checkpoint
from vmm.training.embedding import EVALUATION_ROWS
from vmm.training.loop import Trainer
from vmm.training.settings import Settings
from vmm.training.stacked import fit_all

STARTED = "started"
"""Key of a checkpoint: the models after their pre-training."""


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
        Holds the state of the pre-training and, when that is over, the models as they start: done
        again after an interruption, on another GPU perhaps, it would end with other last digits,
        and the training's own checkpoint would be of another training.
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
    path = None if checkpoint is None else Path(checkpoint)
    # Of the models as they are now: training changes them.
    marks = [
        Trainer(model, data, *split, own).fingerprint
        for model, split, own in zip(models, splits, without_kl, strict=True)
    ]
    if path is not None:
        saved = read_checkpoint(path, marks, data.device)
        if saved is None:
            path.unlink(missing_ok=True)  # and is not complained of again
        elif STARTED in saved:
            for model, state in zip(models, saved[STARTED], strict=True):
                model.load_state_dict(state)
            return
    fit_all(models, data, splits, without_kl, checkpoint=path)
    for model, (train, _), own in zip(models, splits, settings, strict=True):
        model.prior.start_from(_samples(model, data, train, own.seed), own.seed)
    if path is not None:
        states = [model.state_dict() for model in models]
        write_tensors(path, {"fingerprint": marks, STARTED: states})


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
