"""Every registered prior keeps the contract, an outsider's does; and what breaks it is found."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vmm.numerics.gaussians import DiagonalNormal
from vmm.priors.base import Prior
from vmm.priors.mixture import GaussianMixture
from vmm.priors.records import PRIORS, PriorRecord
from vmm.testing.priors import PriorContract, diagonal


class TestRegistered(PriorContract):
    @pytest.fixture(params=PRIORS.values(), ids=PRIORS.keys())
    def record(self, request: pytest.FixtureRequest) -> PriorRecord:
        return request.param


# ------------------------------------------------------------------------- somebody else's


class OneNormal(Prior):
    """N(m, s² I), fitted with the VAE."""

    def __init__(self, latent_dim: int, start: float = 0.0):
        super().__init__(latent_dim)
        self.mean = nn.Parameter(torch.full((latent_dim,), start))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))

    def normal(self) -> DiagonalNormal:
        return DiagonalNormal(self.mean, self.log_scale.exp())

    def log_prob(self, z: Tensor, encode=None) -> Tensor:
        return self.normal().log_prob(z)

    def log_weights(self) -> Tensor:
        return self.mean.new_zeros(1)

    def moments(self, encode=None) -> tuple[Tensor, Tensor]:
        return self.mean.unsqueeze(0), self.normal().covariance().unsqueeze(0)

    def variational_parameters(self) -> list[nn.Parameter]:
        return [self.mean, self.log_scale]


ONE = PriorRecord(
    "outsiders",
    f"{__name__}:OneNormal",
    "N(m, s²)",
    "#123456",
    "One.",
    clusters=False,
    options=("start",),
)


class TestOutsiders(PriorContract):
    @pytest.fixture
    def record(self) -> PriorRecord:
        return ONE


# ------------------------------------------------------------------------- what breaks it


class Broken(GaussianMixture):
    """A mixture that is given one of the faults below."""


class TooDense(Broken):
    def log_prob(self, z, encode=None):
        return super().log_prob(z) + 1e-3


class OtherWeights(Broken):
    def log_weights(self):
        return self.weight_logits.log_softmax(0).sort().values

    def log_prob(self, z, encode=None):
        own = self.weight_logits.log_softmax(0)
        return (own + self.component_log_prob(z)).logsumexp(-1)


class WideSamples(Broken):
    def sample_component(self, component, noise, encode=None):
        return super().sample_component(component, 1.2 * noise)


class WideMoments(Broken):
    def moments(self, encode=None):
        means, covariances = super().moments()
        return means, 1.2 * covariances


class NotNormalised(Broken):
    def cluster_log_probs(self, z, encode=None):
        return self.expected_log_joint(z)


class NoEntropy(Broken):
    def kl(self, q, z, encode=None):
        return -self.log_prob(z)


class HalfAGradient(Broken):
    def log_prob(self, z, encode=None):
        return 0.5 * super().log_prob(z).detach() + 0.5 * super().log_prob(z)


class BranchesOnValues(Broken):
    def log_prob(self, z, encode=None):
        return super().log_prob(z) if bool((z < 1e9).all()) else z.sum(-1)


class Overflows(Broken):
    def log_prob(self, z, encode=None):
        return (self.log_weights().exp() * self.component_log_prob(z).exp()).sum(-1).log()


class DrawsFromGlobalState(Broken):
    def log_prob(self, z, encode=None):
        return super().log_prob(z) + 0 * torch.randn(())


class ChangesItsInput(Broken):
    def cluster_log_probs(self, z, encode=None):
        with torch.no_grad():
            self.means.add_(0.1)
        return super().cluster_log_probs(z)


class FitsNothing(Broken):
    def empirical_bayes_parameters(self):
        return []


class FitsTwice(Broken):
    def variational_parameters(self):
        return [self.means]


class KeepsWhatItHas(Broken):
    def state_dict(self, *args, **options):
        return {k: v for k, v in super().state_dict(*args, **options).items() if k != "means"}

    def load_state_dict(self, state, strict=True):
        return super().load_state_dict(state, strict=False)


class ReadsTensors(Broken):
    def hyperparameters(self):
        return {"concentration": self.concentration()}


class StepsUpwards(Broken):
    def prior_step_loss(self, z, encode=None):
        loss = super().prior_step_loss(z)
        return 2 * loss.detach() - loss


FAULTS = [
    (TooDense, "test_the_density_in_one_dimension"),
    (TooDense, "test_the_density_in_two_dimensions"),
    (OtherWeights, "test_the_density_in_one_dimension"),
    (OtherWeights, "test_the_density_in_four_dimensions"),
    (WideSamples, "test_the_density_in_one_dimension"),
    (WideSamples, "test_the_density_in_four_dimensions"),
    (WideSamples, "test_samples_have_the_moments"),
    (WideMoments, "test_the_density_in_one_dimension"),
    (WideMoments, "test_the_density_in_four_dimensions"),
    (NotNormalised, "test_weights_and_cluster_probabilities_sum_to_one"),
    (NoEntropy, "test_kl_is_the_divergence_on_average"),
    (HalfAGradient, "test_gradients_by_finite_differences"),
    (BranchesOnValues, "test_it_works_on_the_meta_device"),
    (BranchesOnValues, "test_stacked_is_one_by_one"),
    (Overflows, "test_far_away_all_is_finite"),
    (DrawsFromGlobalState, "test_it_is_a_pure_function"),
    (ChangesItsInput, "test_it_is_a_pure_function"),
    (FitsNothing, "test_each_parameter_is_fitted_by_one_step"),
    (FitsNothing, "test_the_record_says_what_the_class_does"),
    (FitsTwice, "test_each_parameter_is_fitted_by_one_step"),
    (KeepsWhatItHas, "test_it_is_saved_and_loaded"),
    (ReadsTensors, "test_hyperparameters_can_be_read"),
    (StepsUpwards, "test_the_prior_step_is_for_those_that_have_one"),
]


def check(test: str, record: PriorRecord) -> None:
    """Run one test of the contract."""
    function = getattr(PriorContract(), test)
    values = {"record": record, "family": diagonal, "dtype": torch.float64}
    function(**{name: values[name] for name in inspect.signature(function).parameters})


@pytest.mark.parametrize(
    ("cls", "test"), FAULTS, ids=lambda value: getattr(value, "__name__", value)
)
def test_faults_are_found(cls: type[Prior], test: str) -> None:
    record = replace(PRIORS["gmm"], name="broken", cls=f"{__name__}:Broken")
    check(test, record)
    with pytest.raises((AssertionError, RuntimeError)):
        check(test, replace(record, cls=f"{__name__}:{cls.__name__}"))


WRONG_RECORDS = {
    "test_the_record_is_complete": [
        {"name": "vmm"}, {"name": "a/b"}, {"label": " "}, {"colour": "red"}, {"about": "Two"},
        {"kinds": ("texts",)}, {"kinds": ()}, {"cls": "builtins:dict"},
    ],
    "test_the_record_says_what_the_class_does": [
        {"clusters": True}, {"has_pseudo_inputs": True}, {"starts_from_data": True},
        {"empirical_bayes": True},
    ],
    "test_options_are_those_of_the_class": [{"options": ("stop",)}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("test", "change"), [(test, c) for test, changes in WRONG_RECORDS.items() for c in changes]
)
def test_wrong_records_are_found(test: str, change: dict) -> None:
    check(test, ONE)
    with pytest.raises(AssertionError):
        check(test, replace(ONE, **change))
