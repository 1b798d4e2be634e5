"""Negative binomials against scvi-tools' distributions and scipy's.

Our parameter is the *inverse dispersion* θ: variance = mean + mean²/θ.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from vmm.counts import nb_log_prob, zinb_log_prob

N, G = 40, 25


@pytest.fixture(scope="module")
def scvi_distributions():
    """Import scvi-tools once: it takes some 18 seconds."""
    return pytest.importorskip("scvi.distributions", reason="scvi-tools is not installed")


def parameters(seed: int = 0, dtype=torch.float64):
    """Counts and parameters of real data's order: means of 0.01 to 100, theta of 0.05 to 50."""
    rng = np.random.default_rng(seed)
    mean = np.exp(rng.uniform(np.log(0.01), np.log(100), (N, G)))
    theta = np.exp(rng.uniform(np.log(0.05), np.log(50), G))
    counts = rng.poisson(rng.gamma(theta, mean / theta))
    logits = rng.normal(0, 3, (N, G))
    return tuple(torch.as_tensor(a, dtype=dtype) for a in (counts, mean, theta, logits))


def scipy_nb(x, mean, theta):
    """Return scipy's log pmf: `n` successes with probability θ / (θ + mean)."""
    return scipy.stats.nbinom.logpmf(x, theta, theta / (theta + mean))


def scipy_zinb(x, mean, theta, logits):
    """Return log(π·[x = 0] + (1 − π)·NB), the dropout's probability π = expit(logits)."""
    log_dropout = scipy.special.log_expit(logits)
    log_kept = scipy.special.log_expit(-logits) + scipy_nb(x, mean, theta)
    return np.where(x == 0, np.logaddexp(log_dropout, log_kept), log_kept)


def test_nb_is_scipys():
    x, mean, theta, _ = parameters()
    expected = scipy_nb(x.numpy(), mean.numpy(), theta.numpy())
    ours = nb_log_prob(x, mean, theta)
    assert ours.shape == (N, G)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_zinb_is_scipys():
    x, mean, theta, logits = parameters()
    assert (x == 0).any() and (x > 0).any()
    expected = scipy_zinb(x.numpy(), mean.numpy(), theta.numpy(), logits.numpy())
    ours = zinb_log_prob(x, mean, theta, logits)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_nb_is_scvis(scvi_distributions):
    x, mean, theta, _ = parameters(1)
    reference = scvi_distributions.NegativeBinomial(mu=mean, theta=theta.expand_as(mean))
    torch.testing.assert_close(
        nb_log_prob(x, mean, theta), reference.log_prob(x), rtol=1e-5, atol=1e-5
    )


def test_zinb_is_scvis(scvi_distributions):
    x, mean, theta, logits = parameters(1)
    reference = scvi_distributions.ZeroInflatedNegativeBinomial(
        mu=mean, theta=theta.expand_as(mean), zi_logits=logits
    )
    torch.testing.assert_close(
        zinb_log_prob(x, mean, theta, logits), reference.log_prob(x), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("theta", [0.3, 5.0])
def test_probabilities_sum_to_one_and_have_the_stated_moments(theta):
    x = torch.arange(0, 4000, dtype=torch.float64)
    mean, logit = 7.0, -0.4
    one = torch.ones_like(x)
    nb = nb_log_prob(x, mean * one, theta * one).exp()
    zinb = zinb_log_prob(x, mean * one, theta * one, logit * one).exp()
    kept = 1 - scipy.special.expit(logit)
    assert nb.sum().item() == pytest.approx(1, abs=1e-6)
    assert zinb.sum().item() == pytest.approx(1, abs=1e-6)
    assert (nb * x).sum().item() == pytest.approx(mean, rel=1e-5)
    assert (nb * (x - mean) ** 2).sum().item() == pytest.approx(mean + mean**2 / theta, rel=1e-4)
    assert (zinb * x).sum().item() == pytest.approx(kept * mean, rel=1e-5)


def test_zinb_without_dropout_is_nb_and_with_it_only_zeros():
    x, mean, theta, _ = parameters(2)
    nb = nb_log_prob(x, mean, theta)
    torch.testing.assert_close(
        zinb_log_prob(x, mean, theta, torch.full_like(mean, -60.0)), nb, rtol=1e-9, atol=1e-9
    )
    dropped = zinb_log_prob(x, mean, theta, torch.full_like(mean, 60.0))
    torch.testing.assert_close(dropped[x == 0], torch.zeros_like(dropped[x == 0]))
    torch.testing.assert_close(dropped[x > 0], nb[x > 0] - 60, rtol=1e-9, atol=1e-9)


def test_large_theta_is_poisson():
    x, mean, _, _ = parameters(3)
    expected = torch.distributions.Poisson(mean).log_prob(x)
    ours = nb_log_prob(x, mean, torch.full((G,), 1e9, dtype=torch.float64))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)


EXTREMES = [
    (count, mean, theta)
    for count in (0.0, 1.0, 1e6)
    for mean in (1e-6, 1.0, 1e6)
    for theta in (1e-4, 1.0, 1e4)
]


@pytest.mark.parametrize(("count", "mean", "theta"), EXTREMES)
def test_extreme_values(count, mean, theta):
    """Single precision: finite value and gradients; double precision: scipy's value.

    The densities may clamp by 1e-8, as scvi-tools does, which is seen where mean or θ is tiny.
    """
    exact = scipy_nb(count, mean, theta)
    double = [torch.tensor([[v]], dtype=torch.float64) for v in (count, mean, theta)]
    np.testing.assert_allclose(nb_log_prob(*double).item(), exact, rtol=1e-3, atol=1e-3)

    for logit in (-30.0, 0.0, 30.0):
        x = torch.tensor([[count]])
        leaves = [torch.tensor([[v]], requires_grad=True) for v in (mean, theta, logit)]
        for value in (nb_log_prob(x, *leaves[:2]), zinb_log_prob(x, *leaves)):
            assert torch.isfinite(value).all()
            value.sum().backward()
        assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


def test_no_expression_at_all_is_finite():
    """A mean that underflowed to 0 must not make a training step NaN."""
    x = torch.tensor([[0.0, 3.0]])
    mean = torch.zeros(1, 2, requires_grad=True)
    theta = torch.ones(2, requires_grad=True)
    logits = torch.zeros(1, 2, requires_grad=True)
    for value in (nb_log_prob(x, mean, theta), zinb_log_prob(x, mean, theta, logits)):
        assert torch.isfinite(value).all()
        value.sum().backward()
    assert torch.isfinite(mean.grad).all() and torch.isfinite(theta.grad).all()
    assert nb_log_prob(x, mean, theta)[0, 0].item() == pytest.approx(0, abs=1e-5)


def test_single_precision_agrees_with_double():
    """Counts up to 1e5: a few roundings of the largest term, log Γ(x + 1), are lost."""
    x, mean, theta, logits = parameters(4)
    x, mean = 100 * x, 100 * mean
    exact = zinb_log_prob(x, mean, theta, logits)
    single = zinb_log_prob(x.float(), mean.float(), theta.float(), logits.float())
    rounding = torch.finfo(torch.float32).eps * (1 + torch.lgamma(x + 1) + x)
    assert ((single.double() - exact).abs() < 4 * rounding + 1e-4).all()


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_gradients(zero_inflated):
    x, mean, theta, logits = (t[:4, :3] if t.ndim == 2 else t[:3] for t in parameters(5))
    x = x.clone()
    x[0], x[1] = 0, 5
    leaves = [mean.clone().requires_grad_(), theta.clone().requires_grad_()]
    if zero_inflated:
        leaves.append(logits.clone().requires_grad_())
    function = zinb_log_prob if zero_inflated else nb_log_prob
    assert torch.autograd.gradcheck(lambda *inputs: function(x, *inputs), leaves)
