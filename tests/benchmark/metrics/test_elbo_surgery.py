"""ELBO surgery against a linear-Gaussian model whose every term is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from metric_names import ELBO_METRICS
from scipy import stats
from torch import Tensor

from vmm.benchmark.metrics.aggregate_posterior import AggregatePosterior
from vmm.benchmark.metrics.elbo_surgery import elbo_surgery
from vmm.errors import InputError
from vmm.models.image_vae import ImageVAE
from vmm.numerics.gaussians import DiagonalNormal, FullRankNormal, Normal
from vmm.priors import make_prior
from vmm.priors.standard import StandardNormal

N_PIXELS, N_LATENT, N_IMAGES = 3, 2, 12


class LinearGaussian:
    """x = W z + b + σ ε, z ~ N(0, I); q(z|x) is the exact posterior, or it shifted and widened."""

    def __init__(self, shift: float = 0.0, widen: float = 1.0, diagonal: bool = False):
        generator = np.random.default_rng(1)
        self.weights = generator.normal(size=(N_PIXELS, N_LATENT))
        self.offset = generator.normal(size=N_PIXELS)
        self.sigma = 0.7
        self.prior = StandardNormal(N_LATENT)
        precision = np.eye(N_LATENT) + self.weights.T @ self.weights / self.sigma**2
        self.gain = np.linalg.solve(precision, self.weights.T) / self.sigma**2
        self.covariance = widen**2 * np.linalg.inv(precision)
        if diagonal:
            self.covariance = np.diag(np.diag(self.covariance))
        self.diagonal, self.shift = diagonal, shift

    def mean(self, x: np.ndarray) -> np.ndarray:
        return (x - self.offset) @ self.gain.T + self.shift

    def posterior(self, batch: Tensor) -> Normal:
        mean = torch.as_tensor(self.mean(batch.double().numpy())).float()
        if self.diagonal:
            scale = torch.as_tensor(np.sqrt(np.diag(self.covariance))).float()
            return DiagonalNormal(mean, scale.expand(len(mean), -1))
        tril = torch.as_tensor(np.linalg.cholesky(self.covariance)).float()
        return FullRankNormal(mean, tril.expand(len(mean), -1, -1))

    def log_likelihood(self, batch: Tensor, z: Tensor) -> Tensor:
        predicted = z.double() @ torch.as_tensor(self.weights).T + torch.as_tensor(self.offset)
        noise = torch.distributions.Normal(0.0, self.sigma, validate_args=False)
        return noise.log_prob(batch.double() - predicted).sum(-1).float()

    def encode_pseudo_inputs(self, pseudo_inputs: Tensor) -> Normal:
        raise AssertionError("N(0, I) has no pseudo-inputs")

    def data(self) -> np.ndarray:
        generator = np.random.default_rng(2)
        z = generator.normal(size=(N_IMAGES, N_LATENT))
        noise = generator.normal(size=(N_IMAGES, N_PIXELS))
        return z @ self.weights.T + self.offset + self.sigma * noise

    def exact(self, x: np.ndarray) -> dict[str, float]:
        """All terms: in closed form, KL(q(z)||p(z)) by integration over a fine grid."""
        identity = np.eye(N_PIXELS) * self.sigma**2
        mean, cov = self.mean(x), self.covariance
        evidence = stats.multivariate_normal(
            self.offset, self.weights @ self.weights.T + identity
        ).logpdf(x)
        predictive = stats.multivariate_normal(
            np.zeros(N_PIXELS), self.weights @ cov @ self.weights.T + identity
        ).logpdf(x - mean @ self.weights.T - self.offset)
        residual = x - mean @ self.weights.T - self.offset
        spread = np.trace(self.weights @ cov @ self.weights.T)
        expected_square = (residual**2).sum(1) + spread
        distortion = -0.5 * (
            expected_square / self.sigma**2 + N_PIXELS * math.log(2 * math.pi * self.sigma**2)
        )
        log_det = np.linalg.slogdet(cov)[1]
        rate = 0.5 * (np.trace(cov) + (mean**2).sum(1) - N_LATENT - log_det)
        marginal = self._integrate(mean)
        values = [predictive, evidence, distortion, rate, marginal, rate.mean() - marginal]
        return dict(zip(ELBO_METRICS, [float(np.mean(value)) for value in values], strict=True))

    def _integrate(self, means: np.ndarray) -> float:
        axis, step = np.linspace(-7, 7, 701, retstep=True)
        grid = np.stack(np.meshgrid(axis, axis), axis=-1)
        density = np.mean(
            [stats.multivariate_normal(mean, self.covariance).pdf(grid) for mean in means], axis=0
        )
        prior = stats.multivariate_normal(np.zeros(N_LATENT), np.eye(N_LATENT)).logpdf(grid)
        mass = density * step**2
        assert mass.sum() == pytest.approx(1, abs=1e-4)
        return float(np.sum(mass * (np.log(np.maximum(density, 1e-300)) - prior)))


def _surgery(model: LinearGaussian, generator: torch.Generator, n_samples: int) -> dict:
    x = torch.as_tensor(model.data()).float()
    return elbo_surgery(model, [x[:5], x[5:6], x[6:]], n_samples, generator)


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 0.02),
        ({"shift": 0.15, "widen": 1.2}, 0.03),
        ({"shift": -0.1, "widen": 1.1, "diagonal": True}, 0.03),
    ],
)
def test_every_term_of_a_linear_gaussian_model(options, tolerance, generator):
    model = LinearGaussian(**options)
    exact = model.exact(model.data())
    # 20 copies of the data leave every term as it is, and are cheaper than 20 times the samples
    x = torch.as_tensor(np.tile(model.data(), (20, 1))).float()
    estimate = elbo_surgery(model, x.split(90), 300, generator)
    assert list(estimate) == ELBO_METRICS
    for metric in ELBO_METRICS:
        assert estimate[metric] == pytest.approx(exact[metric], abs=tolerance), metric
    # the terms differ from one another by much more than the tolerance
    assert np.diff(sorted(exact.values())).min() > 3 * tolerance


def test_importance_weights_are_exact_under_the_exact_posterior(generator):
    model = LinearGaussian()
    estimate = _surgery(model, generator, n_samples=1)
    evidence = model.exact(model.data())["log p(x)"]
    assert estimate["log p(x)"] == pytest.approx(evidence, abs=1e-5)


def test_distortion_and_rate_make_an_elbo_below_the_evidence(generator):
    estimate = _surgery(LinearGaussian(shift=0.3, widen=1.5), generator, n_samples=300)
    elbo = estimate["E_q[log p(x|z)]"] - estimate["KL(q(z|x)||p(z))"]
    assert elbo < estimate["log p(x)"]
    assert estimate["E_q[log p(x|z)]"] < estimate["log p(x|x)"]


def test_information_reaches_log_n_for_disjoint_posteriors(generator):
    model = LinearGaussian(widen=1e-3)
    estimate = _surgery(model, generator, n_samples=20)
    assert estimate["I[z;n]"] == pytest.approx(math.log(N_IMAGES), abs=1e-6)
    assert estimate["I[z;n]"] <= math.log(N_IMAGES) + 1e-9


def _normals(full_rank: bool, n: int, p: int, generator: torch.Generator) -> Normal:
    mean = 2 * torch.randn(n, p, generator=generator)
    scale = 0.02 + torch.rand(n, p, generator=generator)
    if not full_rank:
        return DiagonalNormal(mean, scale)
    unit = torch.eye(p) + 0.15 * torch.randn(n, p, p, generator=generator).tril(-1)
    return FullRankNormal(mean, scale.unsqueeze(-1) * unit)


def _reference(q: Normal) -> torch.distributions.Distribution:
    mean = q.mean.double()
    if isinstance(q, FullRankNormal):
        components = torch.distributions.MultivariateNormal(mean, scale_tril=q.scale_tril.double())
    else:
        normal = torch.distributions.Normal(mean, q.scale.double())
        components = torch.distributions.Independent(normal, 1)
    weights = torch.distributions.Categorical(logits=torch.zeros(len(mean)).double())
    return torch.distributions.MixtureSameFamily(weights, components)


@pytest.mark.parametrize("full_rank", [True, False])
@pytest.mark.parametrize(("n", "p"), [(1, 1), (7, 3), (40, 30)])
@pytest.mark.parametrize("max_elements", [1, 1000, 2**23])
def test_aggregate_posterior_against_torch_distributions(full_rank, n, p, max_elements, generator):
    q = _normals(full_rank, n, p, generator)
    z = torch.cat([q.mean, 3 * torch.randn(5, p, generator=generator)])
    aggregate = AggregatePosterior([_rows(q, 0, 1), _rows(q, 1, n)], max_elements)
    reference = _reference(q)
    torch.testing.assert_close(
        aggregate.log_prob(z), reference.log_prob(z.double()), rtol=1e-9, atol=1e-7
    )
    index = torch.arange(len(z)) % n
    own = reference.component_distribution.log_prob(z.double().unsqueeze(1))
    torch.testing.assert_close(
        aggregate.component_log_prob(z, index), own[torch.arange(len(z)), index]
    )


def _rows(q: Normal, start: int, stop: int) -> Normal:
    scale = q.scale_tril if isinstance(q, FullRankNormal) else q.scale
    return type(q)(q.mean[start:stop], scale[start:stop])


def test_narrow_posteriors_far_from_zero_keep_their_digits(generator):
    q = _normals(True, 20, 10, generator)
    narrow = FullRankNormal(q.mean + 50, 1e-3 * q.scale_tril)
    z = narrow.rsample(torch.randn(20, 10, generator=generator))
    torch.testing.assert_close(
        AggregatePosterior([narrow]).log_prob(z),
        _reference(narrow).log_prob(z.double()),
        rtol=0,
        atol=1e-3,
    )


def test_chunks_do_not_change_the_numbers(generator):
    model = LinearGaussian()
    x = torch.as_tensor(model.data()).float()
    results = [
        elbo_surgery(model, [x], 10, torch.Generator().manual_seed(3), max_elements=elements)
        for elements in (1, 50, 2**23)
    ]
    for metric in ELBO_METRICS:
        assert results[0][metric] == pytest.approx(results[2][metric], abs=1e-10)
        assert results[1][metric] == pytest.approx(results[2][metric], abs=1e-10)


@pytest.mark.parametrize("prior", ["normal", "vampprior", "gmm", "vmm"])
def test_with_the_image_model_and_every_prior(prior, generator):
    model = ImageVAE(20, 3, hidden=(16,), generator=generator)
    x = torch.rand(50, 20, generator=generator) * 2 - 1
    model.prior = make_prior(prior, 3, 4, pseudo_inputs=x[:4].clone(), generator=generator)
    terms = elbo_surgery(model, x.split(20), 400, generator)
    with torch.no_grad():
        q = model.posterior(x)
        z = q.rsample(torch.randn(400, 50, 3, generator=generator))
        kl = torch.stack([model.prior.kl(q, s, model.encode_pseudo_inputs) for s in z])
        likelihood = torch.stack([model.log_likelihood(x, s) for s in z])
    assert terms["KL(q(z|x)||p(z))"] == pytest.approx(kl.mean().item(), abs=0.05)
    assert terms["E_q[log p(x|z)]"] == pytest.approx(likelihood.mean().item(), abs=0.1)
    assert 0 < terms["I[z;n]"] < math.log(50)


def test_a_diverged_model_gives_nan_not_an_exception(generator):
    model = LinearGaussian()
    model.shift = math.nan
    assert all(math.isnan(value) for value in _surgery(model, generator, 2).values())


@pytest.mark.parametrize(("batches", "n_samples"), [([], 10), ([torch.zeros(2, 3)], 0)])
def test_nothing_to_estimate_from(batches, n_samples):
    with pytest.raises(InputError, match="at least one observation and one sample"):
        elbo_surgery(LinearGaussian(), batches, n_samples)
