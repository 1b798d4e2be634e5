"""Our models trained: any prior in the model of the data's kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from vmm.benchmark.spec import Spec
from vmm.benchmark.trained import Trained
from vmm.data.containers import CellData, ImageData
from vmm.lazy import resolve
from vmm.models.base import LatentVariableModel
from vmm.models.build import start_prior
from vmm.models.records import MODELS
from vmm.models.tensors import Tensors, to_tensors
from vmm.numerics.products import float32_products
from vmm.numerics.seeds import seed_of
from vmm.training.embedding import embed
from vmm.training.pretraining import pretrain
from vmm.training.settings import FitResult, Row, Settings
from vmm.training.stacked import fit_all


@float32_products()
def train_ours(
    data: CellData | ImageData,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    specs: Sequence[Spec],
    folder: Path,
    device: torch.device,
    progress: Sequence[Callable[[Row], None]],
    cuda_graph: bool = True,
) -> list[Trained]:
    """Train trials of one model at once.

    Parameters
    ----------
    data : CellData or ImageData
    splits : sequence of (array of int, array of int)
        Training and validation rows of each trial.
    specs : sequence of Spec
        Of each trial; they differ in nothing but the trial.
    folder : path
        Of the checkpoints, which are resumed from.
    device : torch.device
    progress : sequence of callable
        For each trial, called with the row of each epoch.
    cuda_graph : bool
        See :class:`vmm.training.settings.Settings`.
    """
    tensors = to_tensors(data, device)
    models = [
        build_model(spec, tensors, train, data.labels)
        for spec, (train, _) in zip(specs, splits, strict=True)
    ]
    settings = [training_settings(spec, cuda_graph) for spec in specs]
    pretrain(models, tensors, splits, settings, folder / "checkpoint-pretraining.pt")
    results = fit_all(
        models,
        tensors,
        splits,
        settings,
        data.labels,
        checkpoint=folder / "checkpoint.pt",
        progress=progress,
    )
    return [
        _embedded(model, result, tensors, own.seed)
        for model, result, own in zip(models, results, settings, strict=True)
    ]


def build_model(
    spec: Spec, data: Tensors, train: np.ndarray, labels: np.ndarray | None = None
) -> LatentVariableModel:
    """Return the untrained model of a specification, on the device of `data`.

    Parameters
    ----------
    spec : Spec
        Of one of our models.
    data : ImageTensors or CellTensors
    train : array of int
        Rows from which pseudo-inputs are drawn without replacement.
    labels : array of int, shape (N,), optional
        True classes of all rows; needed, and looked at, where the specification balances
        pseudo-inputs over them.

    Raises
    ------
    InputError
        If there are fewer training rows than the prior has components to start from them.
    """
    seed, trial, ours = spec.seed, spec.job.trial, spec.ours
    assert ours is not None
    if ours.balanced_pseudo_inputs and labels is None:
        raise TypeError("balanced_pseudo_inputs is true, which needs labels")
    network = torch.Generator().manual_seed(seed_of(seed, trial, "network"))
    model: LatentVariableModel = resolve(MODELS[spec.job.kind].cls).for_data(
        data, spec.networks, network
    )
    start_prior(
        model,
        ours.name,
        ours.n_components or 0,
        data,
        train,
        seed,
        trial,
        spec.job.dataset,
        classes=labels if ours.balanced_pseudo_inputs else None,
        **ours.options,
    )
    return model.to(data.device)


def training_settings(spec: Spec, cuda_graph: bool = True) -> Settings:
    """Return how a specification's model is trained."""
    if spec.batch_size is None:
        raise TypeError(f"{spec.job.dataset}: the batch size is left to tuning, which has not run")
    return Settings(
        learning_rate=spec.learning_rate,
        batch_size=spec.batch_size,
        max_epochs=spec.max_epochs,
        prior_learning_ratio=spec.prior_learning_ratio or 1.0,
        patience=spec.patience,
        monitor=spec.monitor,
        seed=seed_of(spec.seed, spec.job.trial, "training"),
        precision=spec.precision or "float32",
        cuda_graph=cuda_graph,
        sleep_below=spec.sleep_below or 0.0,
    )


def _embedded(model: LatentVariableModel, result: FitResult, data: Tensors, seed: int) -> Trained:
    embedding, cluster_probs = embed(model, data, seed)
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    return Trained(result, weights, embedding, cluster_probs)
