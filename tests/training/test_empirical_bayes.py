"""The Empirical Bayes step for models that are none of ours."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from vmm.numerics.gaussians import as_normal
from vmm.priors import make_prior
from vmm.training import EmpiricalBayes


def encode(u):
    """Encode by a distribution of PyTorch, with weights that nothing may move."""
    return Normal(u @ WEIGHTS, (0.1 * u[:, :2]).exp())


WEIGHTS = torch.randn(5, 2, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.fixture
def z(generator):
    return torch.randn(16, 2, generator=generator)


def prior_of(name: str, generator):
    inputs = torch.randn(4, 5, generator=generator) if name in ("vmm", "vampprior") else None
    return make_prior(name, 2, 4, inputs, generator)


@pytest.mark.parametrize("name", ["gmm", "vmm"])
def test_a_step_is_one_of_adam_on_psi_alone(name, z, generator):
    prior = prior_of(name, generator)
    empirical_bayes = EmpiricalBayes(prior, rate=0.01)
    before = [p.detach().clone() for p in prior.empirical_bayes_parameters()]
    loss = prior.prior_step_loss(z, encode)
    gradients = torch.autograd.grad(loss, prior.empirical_bayes_parameters())
    empirical_bayes(z.requires_grad_(), encode)
    for old, new, gradient in zip(
        before, prior.empirical_bayes_parameters(), gradients, strict=True
    ):
        step = -0.01 * gradient / (gradient.abs() + 1e-7)  # Adam's first
        torch.testing.assert_close(new.detach() - old, step, rtol=1e-3, atol=1e-6)
    assert z.grad is None
    assert WEIGHTS.grad is None


@pytest.mark.parametrize("name", ["normal", "vampprior"])
def test_a_prior_without_such_parameters_stays(name, z, generator):
    prior = prior_of(name, generator)
    before = {key: value.clone() for key, value in prior.state_dict().items()}
    empirical_bayes = EmpiricalBayes(prior, rate=0.01)
    empirical_bayes(z, encode)
    with empirical_bayes.held_fixed():
        assert all(torch.equal(before[key], value) for key, value in prior.state_dict().items())
    assert empirical_bayes.rate == 0


def test_frozen_parameters_stay_frozen(z, generator):
    prior = prior_of("gmm", generator).requires_grad_(False)
    empirical_bayes = EmpiricalBayes(prior, rate=0.01)
    with empirical_bayes.held_fixed():
        empirical_bayes(z)
    assert not any(p.requires_grad for p in prior.parameters())


def test_held_fixed_is_for_the_step_of_the_networks(z, generator):
    prior = prior_of("vmm", generator)
    empirical_bayes = EmpiricalBayes(prior, rate=0.01)
    with empirical_bayes.held_fixed():
        prior.log_prob(z, encode).sum().backward()
    assert all(p.grad is None for p in prior.empirical_bayes_parameters())
    assert all(p.requires_grad for p in prior.empirical_bayes_parameters())
    WEIGHTS.grad = None


def test_the_rate_may_be_changed(generator):
    empirical_bayes = EmpiricalBayes(prior_of("gmm", generator), rate=0.01)
    empirical_bayes.rate = 0.002
    assert empirical_bayes.rate == 0.002


@pytest.mark.parametrize("name", ["normal", "gmm", "vmm", "vampprior"])
def test_kl_of_a_distribution_of_pytorch(name, z, generator):
    prior = prior_of(name, generator)
    mean, scale = z - 0.3, (0.2 * z).exp()
    tril = torch.diag_embed(scale)
    ours = prior.kl(as_normal(Normal(mean, scale)), z, encode)
    for q in (Normal(mean, scale), Independent(Normal(mean, scale), 1)):
        torch.testing.assert_close(prior.kl(q, z, encode), ours)
    full = prior.kl(MultivariateNormal(mean, scale_tril=tril), z, encode)
    torch.testing.assert_close(full, ours)
    with pytest.raises(TypeError, match="Laplace"):
        prior.kl(torch.distributions.Laplace(mean, scale), z, encode)
