"""The posteriors' Gaussians against `torch.distributions`."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from vmm.numerics.gaussians import DiagonalNormal, FullRankNormal


class Case(NamedTuple):
    """One Gaussian twice: ours, and an independent reference."""

    ours: FullRankNormal | DiagonalNormal
    reference: Distribution
    noise: torch.Tensor


def make_case(kind: str, shape: tuple[int, ...], p: int, dtype=torch.float64) -> Case:
    """Draw a Gaussian of batch shape `shape` and dimension `p`."""
    generator = torch.Generator().manual_seed(17 * p + len(shape))

    def draw(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)

    mean, noise = 3 * draw(*shape, p), draw(*shape, p)
    if kind == "diagonal":
        scale = draw(*shape, p).exp()
        return Case(DiagonalNormal(mean, scale), Independent(Normal(mean, scale), 1), noise)
    lower = 0.7 * draw(*shape, p, p).tril(-1) / math.sqrt(p)
    scale_tril = lower + torch.diag_embed((0.7 * draw(*shape, p)).exp())
    return Case(
        FullRankNormal(mean, scale_tril), MultivariateNormal(mean, scale_tril=scale_tril), noise
    )


CASES = [
    (kind, shape, p)
    for kind in ("full", "diagonal")
    for shape in ((), (7,), (2, 3))
    for p in (1, 3, 30)
]


@pytest.fixture(params=CASES, ids=lambda c: f"{c[0]}-{'x'.join(map(str, c[1])) or 'one'}-p{c[2]}")
def case(request) -> Case:
    return make_case(*request.param)


def test_log_prob(case):
    z = case.reference.rsample()
    torch.testing.assert_close(
        case.ours.log_prob(z), case.reference.log_prob(z), rtol=1e-9, atol=1e-9
    )


def test_entropy(case):
    expected = case.reference.entropy()
    assert case.ours.entropy().shape == expected.shape
    torch.testing.assert_close(case.ours.entropy(), expected, rtol=1e-10, atol=1e-10)


def test_covariance(case):
    if isinstance(case.reference, MultivariateNormal):
        expected = case.reference.covariance_matrix
    else:
        expected = torch.diag_embed(case.reference.variance)
    torch.testing.assert_close(case.ours.covariance(), expected, rtol=1e-10, atol=1e-12)


def test_rsample_moves_the_noise_by_mean_and_scale(case):
    """A sample is mean + L noise; whitening it with the reference's factor gives the noise back."""
    z = case.ours.rsample(case.noise)
    if isinstance(case.reference, MultivariateNormal):
        residual = (z - case.reference.mean).unsqueeze(-1)
        tril = torch.linalg.cholesky(case.reference.covariance_matrix)
        whitened = torch.linalg.solve_triangular(tril, residual, upper=False).squeeze(-1)
    else:
        whitened = (z - case.reference.mean) / case.reference.stddev
    torch.testing.assert_close(whitened, case.noise, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_many_samples_of_one_gaussian(kind):
    """Noise with extra leading dimensions gives that many samples, with the right moments."""
    case = make_case(kind, (), 3)
    noise = torch.randn(40_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    z = case.ours.rsample(noise)
    covariance = case.ours.covariance()
    error = covariance.diagonal().sqrt() / math.sqrt(len(noise))
    assert ((z.mean(0) - case.ours.mean).abs() < 4.5 * error).all()
    assert (torch.cov(z.T) - covariance).abs().max() < 0.05 * covariance.diagonal().max()


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("what", ["log_prob", "entropy", "rsample"])
def test_gradients(kind, what):
    """Finite differences in float64 agree with the gradient with respect to every parameter."""
    case = make_case(kind, (4,), 3)
    other = case.reference.scale_tril if kind == "full" else case.reference.stddev
    mean = case.reference.mean.clone().requires_grad_()
    other = other.clone().requires_grad_()
    z = case.noise.clone().requires_grad_()
    make = FullRankNormal if kind == "full" else DiagonalNormal

    def function(mean, other, z):
        q = make(mean, other.tril() if kind == "full" else other)
        return q.entropy() if what == "entropy" else getattr(q, what)(z)

    assert torch.autograd.gradcheck(function, (mean, other, z))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_extreme_values_in_single_precision(kind, scale):
    """Scales of 1e-4 and samples 1e3 away: finite, and equal to float64 within rounding."""
    p = 10
    mean = torch.zeros(3, p)
    z = torch.full((3, p), 1e3)
    if kind == "diagonal":
        q = DiagonalNormal(mean, torch.full((3, p), scale))
    else:
        q = FullRankNormal(mean, scale * torch.eye(p).expand(3, p, p))
    exact = -0.5 * p * (1e3 / scale) ** 2 - p * math.log(scale) - 0.5 * p * math.log(2 * math.pi)
    torch.testing.assert_close(q.log_prob(z), torch.full((3,), exact), rtol=1e-5, atol=0)
    entropy = p * (0.5 * math.log(2 * math.pi * math.e) + math.log(scale))
    torch.testing.assert_close(q.entropy(), torch.full((3,), entropy), rtol=1e-5, atol=1e-5)
