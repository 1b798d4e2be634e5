"""Deep clustering of images by ClustPy: DEC, IDEC, DipDECK.

With the layers, rate, batch size and split of the others, all else as in ClustPy.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.spec import Spec
from vmm.benchmark.trained import Trained, one_after_another
from vmm.data.containers import ImageData
from vmm.errors import InputError
from vmm.lazy import without_torchvision
from vmm.models.records import ImageNetworks
from vmm.models.tensors import ImageTensors
from vmm.numerics.seeds import global_seed, seed_of
from vmm.progress import shown_on, stream
from vmm.training.settings import FitResult, Row

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PRETRAINING = 100
"""Epochs of the autoencoder alone, ClustPy's default."""
MOST_CLUSTERS = 35
"""What DipDECK merges clusters from, ClustPy's default."""


class _Batches:
    """Rows of images in batches, as ClustPy takes them; `after` is called after each epoch."""

    def __init__(
        self,
        tensors: ImageTensors,
        rows: np.ndarray,
        batch_size: int,
        seed: int | None = None,
        after: Callable[[], None] = lambda: None,
    ):
        import torch

        self.tensors, self.batch_size, self.after = tensors, batch_size, after
        self.dataset = torch.as_tensor(rows, device=tensors.device)
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[list[Tensor]]:
        import torch

        places = torch.arange(len(self.dataset))
        if self.generator is not None:
            places = torch.randperm(len(places), generator=self.generator)
        for some in places.to(self.dataset.device).split(self.batch_size):
            yield [some, self.tensors.batch(self.dataset[some])]
        self.after()


def _train_one(
    cls: str,
    epochs: int,
    data: ImageData,
    train: np.ndarray,
    valid: np.ndarray,
    spec: Spec,
    device: torch.device,
    progress: Callable[[Row], None],
) -> Trained:
    """Train a class of ClustPy on the training rows, for so many epochs of clustering.

    All rows then go to the nearest centre in the embedding. There is no early stopping, and an
    epoch's row has no ELBO, for there is none.
    """
    import torch

    record = METHODS["images"][spec.job.method]
    if record.unmet:
        raise InputError(f"the method {record.name} {record.unmet}")
    tensors = ImageTensors(data.x, device)
    algorithm = getattr(without_torchvision("clustpy.deep"), cls)
    networks = without_torchvision("clustpy.deep.neural_networks")
    sizes, batch_size = spec.networks, spec.batch_size
    assert isinstance(sizes, ImageNetworks) and batch_size is not None
    seed = seed_of(spec.seed, spec.job.trial, "training")
    history: list[Row] = []
    start = time.monotonic()

    def after() -> None:
        nonlocal start
        if not all(value.isfinite().all() for value in network.parameters()):
            raise FloatingPointError
        now = time.monotonic()
        history.append({"epoch": len(history) + 1, "seconds": now - start})
        start = now
        progress(history[-1])

    pretraining, clustering = _lengths(epochs, spec.max_epochs)
    with (
        global_seed(seed),
        shown_on(stream()),  # and nothing but our progress
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        layers = [tensors.pixels.shape[1], *sizes.hidden, sizes.n_latent]
        network = networks.FeedforwardAutoencoder(layers, work_on_copy=False, random_state=seed)
        initial = {name: value.clone() for name, value in network.state_dict().items()}
        model = algorithm(
            spec.options["vade_clusters"] if spec.options else min(MOST_CLUSTERS, len(train)),
            batch_size=batch_size,
            pretrain_optimizer_params={"lr": 10 * spec.learning_rate},
            clustering_optimizer_params={"lr": spec.learning_rate},
            pretrain_epochs=pretraining,
            clustering_epochs=clustering,
            neural_network=network,
            embedding_size=sizes.n_latent,
            custom_dataloaders=(
                _Batches(tensors, train, batch_size, seed, after),
                _Batches(tensors, train, batch_size),
            ),
            device=tensors.device,
            random_state=seed,
        )
        status = "ok"
        try:
            model.fit(tensors.batch(torch.as_tensor(train, device=tensors.device)).cpu().numpy())
        except FloatingPointError:
            status = "diverged"
            network.load_state_dict(initial)
        with torch.no_grad():
            every = _Batches(tensors, np.arange(len(tensors)), batch_size)
            embedding = torch.cat([network.encode(images).cpu() for _, images in every])
            centres = _centres(model, network) if status == "ok" else embedding.mean(0)[None]
    weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    probabilities = _probabilities(embedding, centres)
    result = FitResult(status, history, len(history))
    return Trained(result, weights | {"centres": centres}, embedding.numpy(), probabilities)


def _lengths(epochs: int, most: int) -> tuple[int, int]:
    """Return the epochs of both parts: in the same proportion where they are limited."""
    shorter = min(1.0, most / (PRETRAINING + epochs))
    first = max(1, round(PRETRAINING * shorter))
    return first, max(1, round((PRETRAINING + epochs) * shorter) - first)


def _centres(model: Any, network: Any) -> Tensor:
    """Return the centres in the embedding, shape (K, p); those of DipDECK are images."""
    import torch

    if hasattr(model, "dec_cluster_centers_"):
        return torch.as_tensor(model.dec_cluster_centers_).float()
    images = torch.as_tensor(model.cluster_centers_).float()
    return network.encode(images.to(next(network.parameters()).device)).cpu()


def _probabilities(embedding: Tensor, centres: Tensor) -> np.ndarray:
    """Return Student's t of one degree of freedom at each centre, normalised (Xie et al. 2016)."""
    weights = 1 / (1 + (embedding[:, None] - centres).square().sum(2))
    return (weights / weights.sum(1, keepdim=True)).numpy()


train_dec = one_after_another(partial(_train_one, "DEC", 150))
train_idec = one_after_another(partial(_train_one, "IDEC", 150))
train_dipdeck = one_after_another(partial(_train_one, "DipDECK", 50))
"""Epochs of clustering are ClustPy's defaults; DipDECK's are those after each merge."""
