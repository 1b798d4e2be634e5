"""Every registered model keeps the contract with every prior, an outsider's does; faults show."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from vmm.data.covariates import Covariates
from vmm.models.base import LatentVariableModel
from vmm.models.count_vae import CountVAE
from vmm.models.image_vae import ImageVAE
from vmm.models.networks import linear
from vmm.models.records import MODELS, CellNetworks, ImageNetworks, ModelRecord
from vmm.models.tensors import CellTensors
from vmm.numerics.gaussians import DiagonalNormal
from vmm.testing.models import NETWORKS, WIDTH, ModelContract


class TestRegistered(ModelContract):
    @pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
    def record(self, request: pytest.FixtureRequest) -> ModelRecord:
        return request.param


class TestRawCounts(ModelContract):
    """scVI whose encoder sees the counts as they are."""

    @pytest.fixture
    def record(self) -> ModelRecord:
        return MODELS["cells"]

    def networks(self, record: ModelRecord) -> CellNetworks:
        return replace(NETWORKS["cells"], log_counts=False)


class TestCovariates(ModelContract):
    """scVI with all that can be known of cells."""

    chosen: ClassVar = {"dispersion": "gene-batch"}
    sized = True

    @pytest.fixture
    def record(self) -> ModelRecord:
        return MODELS["cells"]

    def networks(self, record: ModelRecord) -> CellNetworks:
        return replace(NETWORKS["cells"], **self.chosen)

    def tensors(self, record: ModelRecord, n_batches: int = 2) -> CellTensors:
        random, rows = np.random.default_rng(0), np.arange(30)
        names = [str(code) for code in range(n_batches)]
        known = Covariates(
            {"sex": (rows // 2 % n_batches, names), "donor": (rows // 3 % n_batches, names)},
            {"age": random.normal(size=30)},
            random.uniform(0.5, 2, 30) if self.sized else None,
        )
        counts = random.poisson(3, (30, WIDTH))
        return CellTensors(counts, rows % n_batches, n_batches, covariates=known)


class TestPoisson(TestCovariates):
    """And with covariates in the decoder only."""

    chosen: ClassVar = {"likelihood": "poisson", "encode_covariates": False}
    sized = False


# ------------------------------------------------------------------------- somebody else's


class FactorAnalysis(LatentVariableModel):
    """x = W z + b + noise of unit variance, with an encoder of one layer."""

    def __init__(self, n_pixels: int, latent_dim: int, generator: torch.Generator | None):
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = linear(n_pixels, 2 * latent_dim, generator)
        self.decoder = linear(latent_dim, n_pixels, generator)

    @classmethod
    def for_data(cls, data, networks, generator):
        return cls(data.pixels.shape[1], networks.n_latent, generator)

    def posterior(self, batch, training=False, noise=None):
        mean, raw = self.encoder(batch).chunk(2, -1)
        return DiagonalNormal(mean, raw.exp())

    def log_likelihood(self, batch, z, training=False):
        return DiagonalNormal(self.decoder(z), torch.ones_like(batch)).log_prob(batch)

    def encode_pseudo_inputs(self, pseudo_inputs):
        return self.posterior(pseudo_inputs)

    def initial_pseudo_inputs(self, batch):
        return batch.clone()


class TestOutsiders(ModelContract):
    @pytest.fixture
    def record(self) -> ModelRecord:
        return ModelRecord("images", "Factors", f"{__name__}:FactorAnalysis", ImageNetworks)


# ------------------------------------------------------------------------- what breaks it


class DrawsFromGlobalState(ImageVAE):
    def posterior(self, batch, training=False, noise=None):
        return super().posterior(batch + 0.1 * torch.randn(batch.shape[-1]))


class DropsOutInEvaluation(CountVAE):
    def posterior(self, batch, training=False, noise=None):
        kept = super().posterior(batch, training, noise)
        scale = 1.0 if noise is None else noise["dropout_0"].mean()
        return DiagonalNormal(kept.mean * scale, kept.scale)


class HalfTheDivergence(ImageVAE):
    def elbo(self, batch, noise, training=False, kl_weight=1.0):
        return super().elbo(batch, noise, training, 0.5 * kl_weight)


class AlwaysTrains(CountVAE):
    def posterior(self, batch, training=False, noise=None):
        return super().posterior(batch, True, noise)


class SumsOverTheBatch(ImageVAE):
    def log_likelihood(self, batch, z, training=False):
        return super().log_likelihood(batch, z).sum()


class CentresTheBatch(ImageVAE):
    def log_likelihood(self, batch, z, training=False):
        return super().log_likelihood(batch - batch.mean(0), z)


class HalfAGradient(CountVAE):
    def log_likelihood(self, batch, z, training=False):
        return super().log_likelihood(batch, 0.5 * z + 0.5 * z.detach(), training)


class StartsFromNothing(ImageVAE):
    def initial_pseudo_inputs(self, batch):
        return torch.zeros_like(batch)


class AParameterForNothing(ImageVAE):
    def __init__(self, *args):
        super().__init__(*args)
        self.idle = nn.Parameter(torch.zeros(1))


class BranchesOnValues(ImageVAE):
    def posterior(self, batch, training=False, noise=None):
        return super().posterior(batch.clamp(-1, 1) if batch.abs().max() > 1 else batch)


class IsNotSaved(ImageVAE):
    def __init__(self, n_pixels, latent_dim, hidden, generator):
        super().__init__(n_pixels, latent_dim, hidden, generator)
        self.shift = float(torch.randn((), generator=generator))

    def decode(self, z):
        return super().decode(z) + self.shift


class IgnoresTheSeed(ImageVAE):
    def __init__(self, n_pixels, latent_dim, hidden, generator):
        super().__init__(n_pixels, latent_dim, hidden, None)


FAULTS = [
    (DrawsFromGlobalState, "test_it_is_a_pure_function_of_noise"),
    (DropsOutInEvaluation, "test_noise_is_of_training_only"),
    (HalfTheDivergence, "test_the_elbo_is_likelihood_minus_kl"),
    (AlwaysTrains, "test_in_evaluation_a_point_is_by_itself"),
    (SumsOverTheBatch, "test_shapes_and_precision"),
    (CentresTheBatch, "test_in_evaluation_a_point_is_by_itself"),
    (HalfAGradient, "test_gradients_by_finite_differences"),
    (StartsFromNothing, "test_initial_pseudo_inputs_stand_for_the_batch"),
    (AParameterForNothing, "test_every_parameter_of_the_networks_has_a_gradient"),
    (BranchesOnValues, "test_it_works_on_the_meta_device"),
    (BranchesOnValues, "test_stacked_is_one_by_one"),
    (IsNotSaved, "test_it_is_saved_and_loaded"),
    (IgnoresTheSeed, "test_networks_are_made_for_data"),
    (IsNotSaved, "test_stacked_is_one_by_one"),
]


def check(test: str, record: ModelRecord) -> None:
    """Run one test of the contract."""
    values = {"record": record, "prior": "gmm", "training": False, "dtype": torch.float64}
    function = getattr(ModelContract(), test)
    function(**{name: values[name] for name in inspect.signature(function).parameters})


@pytest.mark.parametrize(
    ("cls", "test"), FAULTS, ids=lambda value: getattr(value, "__name__", value)
)
def test_faults_are_found(cls: type[LatentVariableModel], test: str) -> None:
    record = MODELS["cells" if issubclass(cls, CountVAE) else "images"]
    check(test, record)
    with pytest.raises((AssertionError, RuntimeError, ValueError)):
        check(test, replace(record, cls=f"{__name__}:{cls.__name__}"))


@pytest.mark.parametrize(
    "change",
    [{"name": "a/b"}, {"cls": "builtins:dict"}, {"networks": dict}, {"networks": ImageNetworks}],
)
def test_wrong_records_are_found(change: dict) -> None:
    with pytest.raises(AssertionError):
        ModelContract().test_the_record_is_complete(replace(MODELS["cells"], **change))
