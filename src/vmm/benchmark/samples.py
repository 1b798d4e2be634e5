"""A trained model read again, and samples from its prior."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vmm.benchmark.jobs import read_split
from vmm.benchmark.ours import build_model
from vmm.benchmark.spec import Spec
from vmm.data.containers import CellData, ImageData, load
from vmm.device import claimed
from vmm.io import atomic, read_arrays, read_json
from vmm.models.base import LatentVariableModel
from vmm.models.tensors import ImageTensors, Tensors, to_tensors
from vmm.numerics.products import float32_products
from vmm.numerics.seeds import seed_of
from vmm.tensor_files import read_tensors

SAMPLES_PER_CLUSTER = 10


def read_spec(folder: str | Path) -> Spec:
    """Return the specification of the model in a folder."""
    return Spec.of(read_json(Path(folder) / "run.json", "spec")["spec"])


def load_model(
    folder: str | Path,
    data_path: str | Path,
    split_path: str | Path,
    device: str | torch.device = "cpu",
) -> tuple[LatentVariableModel, CellData | ImageData, Tensors]:
    """Return the trained model of a folder, with its data prepared and on the device."""
    data = load(data_path)
    tensors = to_tensors(data, device)
    model = build_model(read_spec(folder), tensors, read_split(split_path)[0], data.labels)
    model.load_state_dict(read_tensors(Path(folder) / "weights.pt", tensors.device))
    return model, data, tensors


@torch.no_grad()
@float32_products()
def prior_samples(
    folder: str | Path,
    data_path: str | Path,
    split_path: str | Path,
    out: str | Path,
    device: str = "auto",
) -> None:
    """Write prior-predictive samples of the clusters that an image model utilises.

    Parameters
    ----------
    folder : path
        A model's folder.
    data_path, split_path : path
    out : path
        An ``.npz`` with, for the J utilised clusters sorted by descending weight: cluster (J,),
        weight (J,) π_j, n_samples (J,) = round(10 π_j / max π), samples (J, 10, D) decoder means in
        [−1, 1] of draws from the component, members (J, D) the most probable image of the
        data, image_shape (2,).
    device : str
    """
    spec = read_spec(folder)
    with claimed(device) as where:
        model, data, tensors = load_model(folder, data_path, split_path, where)
        assert isinstance(data, ImageData) and isinstance(tensors, ImageTensors)
        probabilities = read_arrays(Path(folder) / "latent.npz", "cluster_probs")["cluster_probs"]
        weights = model.prior.log_weights().exp().cpu().numpy()
        used = np.unique(probabilities.argmax(1))
        used = used[np.argsort(-weights[used], kind="stable")]
        generator = torch.Generator(tensors.device)
        generator.manual_seed(seed_of(spec.seed, spec.job.trial, "samples"))
        shape = (len(used) * SAMPLES_PER_CLUSTER, model.latent_dim)
        noise = torch.randn(shape, generator=generator, device=tensors.device)
        component = torch.as_tensor(used, device=tensors.device)
        component = component.repeat_interleave(SAMPLES_PER_CLUSTER)
        z = model.prior.sample_component(component, noise, model.encode_pseudo_inputs)
        members = torch.as_tensor(probabilities[:, used].argmax(0), device=tensors.device)
        with atomic(out) as temporary:
            np.savez_compressed(
                temporary,
                cluster=used,
                weight=weights[used],
                n_samples=np.rint(10 * weights[used] / weights[used].max()).astype(np.int64),
                samples=model.decode(z).reshape(len(used), SAMPLES_PER_CLUSTER, -1).cpu().numpy(),
                members=tensors.batch(members).cpu().numpy(),
                image_shape=np.array(data.image_shape, dtype=np.int64),
            )
