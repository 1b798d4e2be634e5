"""Negative binomials against scvi-tools' distributions and scipy's.

Our parameter is the *inverse dispersion* θ: variance = mean + mean²/θ.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F

from vmm.numerics.counts import count_log_likelihood, log_softplus, poisson_log_likelihood

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


def zinb_log_prob(x, mean, theta, logits=None):
    """Return the log-probability of each count by itself, in the shape of `x`."""
    alone = x[..., None, None]
    log_mean = mean.clamp_min(1e-30).log()[..., None, None]
    log_theta = theta.clamp_min(1e-30).log().expand_as(x)[..., None]
    logits = None if logits is None else logits[..., None, None]
    return count_log_likelihood(alone, log_mean, log_theta, logits).squeeze(-1)


def nb_log_prob(x, mean, theta):
    """The same without dropouts."""
    return zinb_log_prob(x, mean, theta)


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


# ----------------------------------------------- the sum over genes, with its own derivatives


def logs(seed: int, rows: int = N, genes: int = G):
    """Return counts, log mean, log θ and logits, the last three as leaves."""
    x, mean, theta, logits = parameters(seed)
    x = x[:rows, :genes].contiguous()
    leaves = (mean[:rows, :genes].log(), theta[:genes].log(), logits[:rows, :genes])
    return x, [leaf.clone().contiguous().requires_grad_() for leaf in leaves]


def elementwise(x, log_mean, log_theta, logits=None):
    """Return what the sum must be equal to, by formulas that autograd differentiates."""
    log_odds, theta = log_mean - log_theta, log_theta.exp()
    log_coefficient = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    nb = log_coefficient - theta * F.softplus(log_odds) - x * F.softplus(-log_odds)
    if logits is None:
        return nb.sum(-1)
    # log(σ(l) + σ(−l) e^{nb}) and log σ(−l) + nb share −softplus(−l).
    inflated = torch.where(x == 0, F.softplus(nb - logits), nb - logits)
    return (inflated - F.softplus(-logits)).sum(-1)


@pytest.mark.parametrize("zero_inflated", [False, True])
@pytest.mark.parametrize("all_zero", [False, True])
def test_sum_is_that_of_the_elements(zero_inflated, all_zero):
    """Value and gradients, each row with a weight of its own."""
    x, leaves = logs(6)
    if all_zero:
        x = torch.zeros_like(x)
    leaves = leaves if zero_inflated else leaves[:2]
    weight = torch.linspace(-1, 2, N, dtype=torch.float64)
    sums, gradients = [], []
    for function in (count_log_likelihood, elementwise):
        value = function(x, *leaves)
        assert value.shape == (N,)
        sums.append(value.detach())
        gradients.append(torch.autograd.grad(value @ weight, leaves))
    torch.testing.assert_close(*sums, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(*gradients, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_derivatives_of_the_sum_are_its_finite_differences(zero_inflated):
    x, leaves = logs(7, rows=5, genes=4)
    x[0], x[1] = 0, 3
    leaves = leaves if zero_inflated else leaves[:2]
    assert torch.autograd.gradcheck(lambda *inputs: count_log_likelihood(x, *inputs), leaves)


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_extreme_values_of_the_sum(zero_inflated):
    """Single precision, as in training: finite, with the elements' gradients."""
    grid = [
        [float(value) for value in point]
        for point in itertools.product((0, 1, 1e6), (-14, 0, 14), (-9, 0, 9), (-30, 0, 30))
    ]
    count, log_mean, log_theta, logits = torch.tensor(grid).T.contiguous()[:, None]
    leaves = [log_mean, log_theta[0], logits][: 3 if zero_inflated else 2]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    doubles = [leaf.detach().double().requires_grad_() for leaf in leaves]
    exact = elementwise(count.double(), *doubles)
    value = count_log_likelihood(count, *leaves)
    assert torch.isfinite(value).all()
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)
    ours = torch.autograd.grad(value.sum(), leaves)
    theirs = torch.autograd.grad(exact.sum(), doubles)
    for single, double in zip(ours, theirs, strict=True):
        assert torch.isfinite(single).all()
        torch.testing.assert_close(single.double(), double, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("in_dims", [(0, 0, 0), (1, 0, 0), (None, 0, 0), (0, 0, None)])
@pytest.mark.parametrize("zero_inflated", [False, True])
def test_many_at_once_are_one_by_one(zero_inflated, in_dims):
    """Under `torch.func.vmap`, each with its own θ: values and gradients, also where one input
    is shared or mapped along another dimension."""
    sets = [logs(seed, rows=6, genes=5) for seed in (8, 9, 10)]
    dims = (in_dims[0], in_dims[1], in_dims[2], 0)[: 4 if zero_inflated else 3]
    given = [[x, *leaves] for x, leaves in sets]
    stacked = [
        of[0].detach() if dim is None else torch.stack([t.detach() for t in of], dim)
        for of, dim in zip(zip(*given, strict=True), dims, strict=False)
    ]
    for value in stacked[1:]:
        value.requires_grad_()
    weight = torch.linspace(-1, 2, 18, dtype=torch.float64).reshape(3, 6)
    values = torch.func.vmap(count_log_likelihood, dims)(*stacked)
    gradients = torch.autograd.grad((values * weight).sum(), stacked[1:])
    singles = [
        torch.unbind(t, d) if d is not None else [t] * 3 for t, d in zip(stacked, dims, strict=True)
    ]
    one_by_one = torch.stack([elementwise(*inputs) for inputs in zip(*singles, strict=True)])
    torch.testing.assert_close(values, one_by_one, rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad((one_by_one * weight).sum(), stacked[1:])
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


# ------------------------------------------------------------- a dispersion for each cell


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_a_dispersion_of_each_gene_in_each_cell(zero_inflated):
    """Values and gradients of each row are those of the row with its own θ; under vmap too."""
    x, leaves = logs(11, rows=5, genes=4)
    leaves = [leaves[0], leaves[0].detach().flip(0).mul(0.3).requires_grad_(), *leaves[2:]]
    leaves = leaves[: 3 if zero_inflated else 2]
    weight = torch.linspace(-1, 2, 5, dtype=torch.float64)
    rows = [
        elementwise(
            x[i : i + 1], *(leaf[i : i + 1] if n != 1 else leaf[i] for n, leaf in enumerate(leaves))
        )
        for i in range(5)
    ]
    expected = torch.cat(rows)
    value = count_log_likelihood(x, *leaves)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    theirs = torch.autograd.grad(expected @ weight, leaves)
    for function in (count_log_likelihood, stacked_once):
        ours = torch.autograd.grad(function(x, *leaves) @ weight, leaves)
        for own, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-10)


def stacked_once(*inputs):
    """Return the log-likelihood of one set of cells as of a stack."""
    return torch.func.vmap(count_log_likelihood)(*(value[None] for value in inputs))[0]


# ---------------------------------------------------------------------------------- Poisson


def test_poisson_is_that_of_scipy():
    counts, mean, *_ = parameters(12)
    expected = scipy.stats.poisson.logpmf(counts.numpy(), mean.numpy()).sum(1)
    ours = poisson_log_likelihood(counts, mean.log())
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12)


def test_log_softplus_where_softplus_is_too_small():
    x = torch.tensor([-1e4, -200, -20.1, -19.9, -1, 0, 3, 200], requires_grad=True)
    value = log_softplus(x)
    exact = x.detach().double()
    exact = torch.where(exact < -30, exact, F.softplus(exact.clamp_min(-30)).log())
    torch.testing.assert_close(value.detach().double(), exact, rtol=1e-6, atol=1e-7)
    (slope,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(slope).all()
    torch.testing.assert_close(slope[:4], torch.ones(4), rtol=1e-6, atol=0)
