"""The paper's priors against `torch.distributions` and scipy, in double precision.

What holds for any prior is in the contract.

Every test of values runs over one table: a prior of ours with random parameters, the reference's
view of the same parameters (built here from the raw ones), and samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

import vmm.priors
from vmm.numerics.gaussians import DiagonalNormal, FullRankNormal
from vmm.priors import make_prior
from vmm.priors.hyperpriors import log_dirichlet, log_inverse_gamma, log_wishart, wishart_scale_of
from vmm.priors.mixture import GaussianMixture, VampPriorMixture
from vmm.priors.records import PRIORS
from vmm.priors.standard import StandardNormal
from vmm.priors.vampprior import VampPrior

DATA_DIM = 6
SAMPLES = 23


# -------------------------------------------------------------------------------- references


def draw(seed: int, *shape: int) -> Tensor:
    """Draw standard normal numbers in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def make_encode(kind: str, p: int, scale: float = 0.6) -> Callable:
    """Return a smooth encoder of pseudo-inputs, so that gradients reach them through it."""
    to_mean = draw(1, DATA_DIM, p)
    to_diagonal = 0.3 * draw(2, DATA_DIM, p)
    to_lower = 0.2 * draw(3, DATA_DIM, p * p)

    def encode(u: Tensor) -> FullRankNormal | DiagonalNormal:
        u = u.to(to_mean.dtype)
        mean = 2 * torch.tanh(u @ to_mean)
        diagonal = scale * torch.exp(u @ to_diagonal)
        if kind == "diagonal":
            return DiagonalNormal(mean, diagonal)
        lower = scale * torch.sin(u @ to_lower).reshape(-1, p, p).tril(-1) / math.sqrt(p)
        return FullRankNormal(mean, lower + torch.diag_embed(diagonal))

    return encode


def reference_moments(encode, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return means (K, p) and covariances (K, p, p) of the pseudo-inputs' posteriors."""
    q = encode(u)
    if isinstance(q, DiagonalNormal):
        return q.mean, torch.diag_embed(q.scale**2)
    return q.mean, q.scale_tril @ q.scale_tril.mT


def reference_cholesky(raw: Tensor) -> Tensor:
    """Lower-triangular, softplus diagonal + 1e-5."""
    diagonal = F.softplus(raw.diagonal(dim1=-2, dim2=-1)) + 1e-5
    return raw.tril(-1) + torch.diag_embed(diagonal)


@dataclass
class Reference:
    """An independent computation of everything that the paper says about one prior.

    `weights` (K,), `mean` (K, p), `covariance` S_j (K, p, p), `precision` Λ_j (K, p, p), `alpha`.
    """

    mean: Tensor
    covariance: Tensor
    log_weights: Tensor
    precision: Tensor | None = None
    alpha: Tensor | None = None
    concentration_prior: str = "inverse_gamma"
    wishart_scale: str = "paper"
    dirichlet_process: bool = True

    @classmethod
    def of(cls, prior, encode=None) -> Reference:
        """Read the raw parameters of `prior` and make of them what they stand for."""
        if isinstance(prior, GaussianMixture):
            mean = prior.means
            covariance = torch.zeros(*mean.shape, mean.shape[-1], dtype=mean.dtype)
        else:
            mean, covariance = reference_moments(encode, prior.pseudo_inputs)
        if isinstance(prior, VampPrior):
            k = len(mean)
            return cls(mean, covariance, torch.full((k,), -math.log(k), dtype=mean.dtype))
        lower = reference_cholesky(prior.precision_raw)
        concentration = F.softplus(prior.concentration_raw)
        if prior.concentration_prior == "gamma":  # the published code fits β = 1/α
            concentration = 1 / concentration
        if not prior.dirichlet_process:
            concentration = torch.ones_like(concentration)
        return cls(
            mean,
            covariance,
            prior.weight_logits - prior.weight_logits.logsumexp(0),
            lower @ lower.mT,
            concentration,
            prior.concentration_prior,
            prior.wishart_scale,
            prior.dirichlet_process,
        )

    def components(self, z: Tensor) -> Tensor:
        """Return log N(z; m_j, Λ_j⁻¹ + S_j), without Λ where there is none (N, K)."""
        covariance = self.covariance
        if self.precision is not None:
            covariance = covariance + torch.linalg.inv(self.precision)
        covariance = 0.5 * (covariance + covariance.mT)
        return MultivariateNormal(self.mean, covariance).log_prob(z[:, None])

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log density of the mixture (N,)."""
        return torch.logsumexp(self.log_weights + self.components(z), -1)

    def log_rho(self, z: Tensor) -> Tensor:
        """Return the E-step's unnormalised log responsibilities (N, K)."""
        if self.precision is None:
            return self.log_weights + self.components(z)
        log_normal = MultivariateNormal(self.mean, precision_matrix=self.precision).log_prob(
            z[:, None]
        )
        trace = torch.einsum("kab,kba->k", self.precision, self.covariance)
        return self.log_weights + log_normal - 0.5 * trace

    def log_hyperpriors(self) -> dict[str, float]:
        """Return scipy's log densities of α, π, all Λ_j, and the expected one of all μ_j."""
        k, p = self.mean.shape
        alpha = float(self.alpha)
        weights = self.log_weights.exp().numpy()
        if not self.dirichlet_process:
            log_alpha = 0.0  # α = 1 is given
        elif self.concentration_prior == "gamma":
            log_alpha = scipy.stats.gamma(1.0).logpdf(1 / alpha)
        else:
            log_alpha = scipy.stats.invgamma(1.0, scale=1.0).logpdf(alpha)
        log_pi = 0.0
        if k > 1:
            log_pi = scipy.stats.dirichlet(np.full(k, alpha / k)).logpdf(weights / weights.sum())
        mean = k ** ((1 if self.wishart_scale == "paper" else 2) / p)  # E[Λ] = mean · I
        wishart = scipy.stats.wishart(df=p + 2, scale=mean / (p + 2) * np.eye(p))
        log_lambda = sum(float(wishart.logpdf(m)) for m in self.precision.numpy())
        log_mu = Normal(0.0, 1.0).log_prob(self.mean).sum()
        log_mu = log_mu - 0.5 * torch.einsum("kaa->", self.covariance)
        return {"alpha": log_alpha, "pi": log_pi, "lambda": log_lambda, "mu": float(log_mu)}

    def objective(self, z: Tensor) -> float:
        """Return the M-step's objective."""
        log_rho = self.log_rho(z)
        expected = (torch.softmax(log_rho, -1) * log_rho).sum()
        return float(expected) + sum(self.log_hyperpriors().values())


# ------------------------------------------------------------------------- the table of cases


def randomise(prior, seed: int = 5) -> None:
    """Give a prior random parameters, of the size that training reaches, in double precision."""
    prior.double()
    with torch.no_grad():
        for number, (name, parameter) in enumerate(prior.named_parameters()):
            parameter.copy_(0.8 * draw(seed + number, *parameter.shape))
            if name == "precision_raw":  # well conditioned, so that inverses are exact references
                parameter.copy_(parameter.tril(-1) / prior.latent_dim + parameter.triu())


def make(name: str, k: int, p: int, **options):
    """Return a prior with random parameters and the encoder that it needs (or None)."""
    family, _, kind = name.partition("-")
    encode = None
    if family == "normal":
        prior = StandardNormal(p)
    elif family == "gmm":
        prior = GaussianMixture(p, k, **options)
    else:
        make_one = VampPrior if family == "vampprior" else VampPriorMixture
        prior = make_one(p, draw(4, k, DATA_DIM), **options)
        encode = make_encode(kind, p)
    randomise(prior)
    return prior, encode


MIXTURES = ["gmm", "vmm-full", "vmm-diagonal"]
WITH_COMPONENTS = ["vampprior-full", "vampprior-diagonal", *MIXTURES]
SIZES = [(k, p) for k in (1, 5, 100) for p in (1, 3, 30)]
SMALL = [(1, 1), (5, 3)]


def table(names, sizes=SIZES):
    """Parametrise a test by prior and size."""
    cases = [(name, k, p) for name in names for k, p in sizes]
    return pytest.mark.parametrize(
        ("name", "k", "p"), cases, ids=[f"{n}-K{k}-p{p}" for n, k, p in cases]
    )


def close(ours, expected, rtol=1e-8, atol=1e-8):
    """Assert equality within double precision, whatever the container."""
    ours = torch.as_tensor(ours, dtype=torch.float64).detach()
    expected = torch.as_tensor(expected, dtype=torch.float64).detach()
    torch.testing.assert_close(ours, expected, rtol=rtol, atol=atol)


# ------------------------------------------------------------------------------------ values


@table(WITH_COMPONENTS)
@torch.no_grad()
def test_mixture_density(name, k, p):
    prior, encode = make(name, k, p)
    z = 2 * draw(9, SAMPLES, p)
    log_prob = prior.log_prob(z, encode)
    assert log_prob.shape == (SAMPLES,)
    close(log_prob, Reference.of(prior, encode).log_prob(z))


@table(WITH_COMPONENTS)
@torch.no_grad()
def test_cluster_probabilities_are_softmax_of_log_rho(name, k, p):
    prior, encode = make(name, k, p)
    z = 2 * draw(9, SAMPLES, p)
    ours = prior.cluster_log_probs(z, encode)
    assert ours.shape == (SAMPLES, k)
    close(ours.logsumexp(-1), torch.zeros(SAMPLES))
    close(ours, torch.log_softmax(Reference.of(prior, encode).log_rho(z), -1))


@torch.no_grad()
def test_vmm_responsibilities_are_not_those_of_its_density():
    """The trace term matters: the predictive density's responsibilities differ by much."""
    prior, encode = make("vmm-full", 5, 3)
    z = draw(9, SAMPLES, 3)
    reference = Reference.of(prior, encode)
    predictive = torch.log_softmax(reference.log_weights + reference.components(z), -1)
    ours = prior.cluster_log_probs(z, encode)
    assert (ours.exp() - predictive.exp()).abs().max() > 0.05


@pytest.mark.parametrize("p", [1, 3, 30])
def test_standard_normal(p):
    prior, _ = make("normal", 0, p)
    assert prior.n_components == 0 and prior.latent_dim == p
    z = 3 * draw(9, SAMPLES, p)
    standard = MultivariateNormal(torch.zeros(p).double(), torch.eye(p).double())
    close(prior.log_prob(z), standard.log_prob(z))


@table(MIXTURES)
@torch.no_grad()
def test_parameters_are_transformed(name, k, p):
    prior, encode = make(name, k, p)
    reference = Reference.of(prior, encode)
    lower = prior.precision_cholesky()
    close(lower, lower.tril())
    assert (lower.diagonal(dim1=-2, dim2=-1) > 0).all()
    close(lower @ lower.mT, reference.precision)
    close(prior.log_weights(), reference.log_weights)
    close(prior.concentration(), reference.alpha)


# ------------------------------------------------------------------------------- hyperpriors


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0, 7.0, 1e4])
def test_inverse_gamma(alpha):
    expected = scipy.stats.invgamma(1.0, scale=1.0).logpdf(alpha)
    close(log_inverse_gamma(torch.tensor(alpha, dtype=torch.float64)), expected)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("k", [2, 5, 100])
def test_dirichlet(k, alpha):
    weights = torch.softmax(2 * draw(11, k), 0)
    concentration = torch.tensor(alpha / k, dtype=torch.float64)
    expected = scipy.stats.dirichlet(np.full(k, alpha / k)).logpdf(
        weights.numpy() / weights.numpy().sum()
    )
    close(log_dirichlet(weights.log(), concentration), expected)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 30.0])
def test_dirichlet_of_one_component_is_certain(alpha):
    one = torch.zeros(1, dtype=torch.float64)
    close(log_dirichlet(one, torch.tensor(alpha, dtype=torch.float64)), 0.0)


@pytest.mark.parametrize("p", [1, 3, 30])
@pytest.mark.parametrize("k", [1, 5, 100])
def test_wishart(k, p):
    lower = reference_cholesky(0.7 * draw(12, k, p, p) / math.sqrt(p))
    scale = k ** (1 / p) / (p + 2)
    reference = scipy.stats.wishart(df=p + 2, scale=scale * np.eye(p))
    expected = [float(reference.logpdf(m)) for m in (lower @ lower.mT).numpy()]
    ours = log_wishart(lower, p + 2, scale)
    close(ours.sum(), sum(expected))
    if ours.ndim:
        close(ours, expected)


def test_wishart_is_a_density_over_the_precision_and_not_over_its_factor():
    """For p = 1 it integrates to 1 over Λ, and has the mean K^{1/p} = K that the paper states."""
    k = 5

    def density(precision: float) -> float:
        lower = torch.tensor([[[math.sqrt(precision)]]], dtype=torch.float64)
        return math.exp(float(log_wishart(lower, 3, k / 3).sum()))

    mass, _ = scipy.integrate.quad(density, 0, np.inf, limit=200)
    mean, _ = scipy.integrate.quad(lambda x: x * density(x), 0, np.inf, limit=200)
    assert mass == pytest.approx(1, abs=1e-6)
    assert mean == pytest.approx(k, abs=1e-5)


# --------------------------------------------------------------------------------- the M-step


@pytest.mark.parametrize("wishart_scale", ["paper", "published_code"])
@pytest.mark.parametrize(
    "concentration",
    [
        {"concentration_prior": "inverse_gamma"},
        {"concentration_prior": "gamma"},
        {"dirichlet_process": False},
    ],
    ids=["inverse_gamma", "gamma", "fixed"],
)
@pytest.mark.parametrize("responsibility_gradient", [False, True])
@table(MIXTURES)
@torch.no_grad()
def test_prior_step_loss_is_minus_the_objective_per_sample(
    name, k, p, responsibility_gradient, concentration, wishart_scale
):
    prior, encode = make(
        name,
        k,
        p,
        responsibility_gradient=responsibility_gradient,
        wishart_scale=wishart_scale,
        **concentration,
    )
    z = 2 * draw(9, SAMPLES, p)
    loss = prior.prior_step_loss(z, encode)
    assert loss.ndim == 0
    expected = -Reference.of(prior, encode).objective(z) / SAMPLES
    close(loss, expected, rtol=1e-8, atol=1e-7)


@table(MIXTURES, SMALL)
@torch.no_grad()
def test_hyperpriors_are_not_scaled_with_the_batch(name, k, p):
    """M·loss of a batch repeated twice adds one batch's E-step, and no second hyperprior."""
    prior, encode = make(name, k, p)
    z = 2 * draw(9, SAMPLES, p)
    reference = Reference.of(prior, encode)
    once = SAMPLES * prior.prior_step_loss(z, encode)
    twice = 2 * SAMPLES * prior.prior_step_loss(torch.cat([z, z]), encode)
    log_rho = reference.log_rho(z)
    close(once - twice, (torch.softmax(log_rho, -1) * log_rho).sum(), atol=1e-6)


def loss_gradients(prior, z, encode) -> dict[str, Tensor]:
    """Return the gradient of the prior step's loss for every parameter of ψ."""
    parameters = dict(prior.named_parameters())
    gradients = torch.autograd.grad(prior.prior_step_loss(z, encode), list(parameters.values()))
    return dict(zip(parameters, gradients, strict=True))


@pytest.mark.parametrize("name", MIXTURES)
def test_responsibility_gradient(name):
    """False holds q(c) fixed (the paper's EM); True lets its gradient through: other gradients.

    The reference's two objectives are differentiated here from log ρ itself; the hyperpriors'
    gradient is the same in both, so it cancels in the difference.
    """
    z = 2 * draw(9, SAMPLES, 3)
    gradients, expected = {}, {}
    for through in (False, True):
        prior, encode = make(name, 5, 3, responsibility_gradient=through)
        gradients[through] = loss_gradients(prior, z, encode)
        log_rho = Reference.of(prior, encode).log_rho(z)
        weights = torch.softmax(log_rho, -1)
        objective = -((weights if through else weights.detach()) * log_rho).sum() / SAMPLES
        names = dict(prior.named_parameters())
        values = torch.autograd.grad(objective, list(names.values()), allow_unused=True)
        expected[through] = dict(zip(names, values, strict=True))
    for key in ("weight_logits", "precision_raw", "means", "pseudo_inputs"):
        if key not in gradients[True]:
            continue
        difference = gradients[True][key] - gradients[False][key]
        assert difference.abs().max() > 1e-4, key
        close(difference, expected[True][key] - expected[False][key])


@pytest.mark.parametrize(
    "switches", [{}, {"concentration_prior": "gamma"}, {"wishart_scale": "published_code"}]
)
def test_gradient_with_responsibilities_held_is_the_objectives(switches):
    """Central differences of the objective with q(c) held at the start, term by term by scipy."""
    prior, _ = make("gmm", 5, 3, responsibility_gradient=False, **switches)
    z = 2 * draw(9, SAMPLES, 3)
    held = torch.softmax(Reference.of(prior).log_rho(z), -1).detach()
    ours = loss_gradients(prior, z, None)

    @torch.no_grad()
    def objective() -> float:
        reference = Reference.of(prior)
        expected = float((held * reference.log_rho(z)).sum())
        return -(expected + sum(reference.log_hyperpriors().values())) / SAMPLES

    step = 1e-5
    for key, parameter in prior.named_parameters():
        flat = parameter.data.view(-1)
        for index in range(flat.numel()):
            start = float(flat[index])
            flat[index] = start + step
            above = objective()
            flat[index] = start - step
            below = objective()
            flat[index] = start
            assert float(ours[key].reshape(-1)[index]) == pytest.approx(
                (above - below) / (2 * step), rel=1e-5, abs=1e-6
            ), f"{key}[{index}]"


def test_concentration_priors_differ_as_stated():
    """log InverseGamma(α; 1, 1) = −2 log α − 1/α; log Gamma(1/α; 1, 1) = −1/α: no Jacobian."""
    z = draw(9, SAMPLES, 3)
    values, alphas = {}, {}
    for name in ("inverse_gamma", "gamma"):
        prior, _ = make("gmm", 5, 3, concentration_prior=name)
        with torch.no_grad():  # α = 2 in both: by softplus of α, and of β = 1/α
            value = 2.0 if name == "inverse_gamma" else 0.5
            prior.concentration_raw.fill_(math.log(math.expm1(value)))
        alphas[name] = prior.concentration()
        values[name] = SAMPLES * prior.prior_step_loss(z)
    close(torch.stack(list(alphas.values())), [2.0, 2.0])
    close(values["inverse_gamma"] - values["gamma"], 2 * math.log(2), atol=1e-7)


@pytest.mark.parametrize(("version", "exponent"), [("paper", 1), ("published_code", 2)])
def test_mean_of_the_precisions(version, exponent):
    """Draws of scipy's Wishart with our scale have the mean that each version says."""
    k, p = 100, 10
    scale = wishart_scale_of(k, p, version) * np.eye(p)
    draws = scipy.stats.wishart(df=p + 2, scale=scale).rvs(20_000, random_state=0)
    assert draws.mean(0).trace() / p == pytest.approx(k ** (exponent / p), rel=5e-3)


@pytest.mark.parametrize("name", MIXTURES)
def test_without_a_dirichlet_process_alpha_is_one(name):
    """Never fitted, without a density of its own: π ~ Dirichlet(1/K) is left (scipy's)."""
    k, p = 5, 3
    prior, encode = make(name, k, p, dirichlet_process=False)
    process, _ = make(name, k, p)
    with torch.no_grad():  # α = 1 here too
        process.concentration_raw.fill_(math.log(math.expm1(1.0)))
    z = 2 * draw(9, SAMPLES, p)
    assert prior.concentration().item() == 1 and prior.hyperparameters() == {}
    difference = SAMPLES * (process.prior_step_loss(z, encode) - prior.prior_step_loss(z, encode))
    close(difference, -scipy.stats.invgamma(1.0, scale=1.0).logpdf(1.0), atol=1e-7)
    weights = prior.log_weights().exp().detach().numpy()
    log_pi = scipy.stats.dirichlet(np.full(k, 1 / k)).logpdf(weights / weights.sum())
    reference = Reference.of(prior, encode)
    with torch.no_grad():
        others = [value for key, value in reference.log_hyperpriors().items() if key != "pi"]
        log_rho = reference.log_rho(z)
        expected = (torch.softmax(log_rho, -1) * log_rho).sum() + log_pi + sum(others)
    close(-SAMPLES * prior.prior_step_loss(z, encode), expected, atol=1e-7)
    fitted = {id(parameter) for parameter in prior.empirical_bayes_parameters()}
    left_out = [n for n, parameter in prior.named_parameters() if id(parameter) not in fitted]
    assert left_out == ["concentration_raw"]
    assert prior.state_dict().keys() == process.state_dict().keys(), "saved in the same form"


@pytest.mark.parametrize("switch", ["concentration_prior", "wishart_scale"])
def test_unknown_version_of_a_hyperprior(switch):
    with pytest.raises(ValueError, match=f"{switch} is 'other'; it must be"):
        make("gmm", 5, 3, **{switch: "other"})


# ------------------------------------------------------------------------- limits of the VMM


@torch.no_grad()
def test_vmm_without_posterior_variance_is_the_gmm():
    k, p = 5, 3
    vmm, _ = make("vmm-diagonal", k, p)
    encode = make_encode("diagonal", p, scale=1e-7)
    gmm = GaussianMixture(p, k).double()
    for key in ("weight_logits", "precision_raw", "concentration_raw"):
        getattr(gmm, key).copy_(getattr(vmm, key))
    gmm.means.copy_(encode(vmm.pseudo_inputs).mean)
    z = draw(9, SAMPLES, p)
    close(vmm.log_prob(z, encode), gmm.log_prob(z))
    close(vmm.cluster_log_probs(z, encode), gmm.cluster_log_probs(z))
    close(vmm.prior_step_loss(z, encode), gmm.prior_step_loss(z))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@torch.no_grad()
def test_vmm_of_infinite_precision_and_uniform_weights_is_the_vampprior(kind):
    k, p = 5, 3
    vmm, encode = make(f"vmm-{kind}", k, p)
    vmm.weight_logits.zero_()
    vmm.precision_raw.copy_(1e6 * torch.eye(p))
    vampprior = VampPrior(p, vmm.pseudo_inputs.clone()).double()
    z = draw(9, SAMPLES, p)
    close(vmm.log_prob(z, encode), vampprior.log_prob(z, encode))


# ---------------------------------------------------------------------------------------- KL


def random_posterior(kind: str, n: int, p: int) -> tuple:
    """Return n posteriors of ours and torch's."""
    mean, scale = draw(21, n, p), (0.4 * draw(22, n, p)).exp()
    if kind == "diagonal":
        return DiagonalNormal(mean, scale), Independent(Normal(mean, scale), 1)
    tril = 0.3 * draw(23, n, p, p).tril(-1) + torch.diag_embed(scale)
    return FullRankNormal(mean, tril), MultivariateNormal(mean, scale_tril=tril)


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("p", [1, 3, 30])
def test_kl_of_the_standard_normal_is_analytic(kind, p):
    q, reference = random_posterior(kind, 7, p)
    standard = MultivariateNormal(torch.zeros(p, dtype=torch.float64), torch.eye(p).double())
    if kind == "diagonal":
        reference = MultivariateNormal(reference.mean, torch.diag_embed(reference.variance))
    expected = kl_divergence(reference, standard)
    prior = StandardNormal(p)
    close(prior.kl(q, q.mean), expected)
    close(prior.kl(q, 100 + q.mean), expected)


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("name", WITH_COMPONENTS)
@torch.no_grad()
def test_kl_of_a_mixture_is_one_sample(name, kind):
    """−H(q) − log p(z): exact entropy, sampled cross-entropy."""
    prior, encode = make(name, 5, 3)
    q, reference = random_posterior(kind, 7, 3)
    z = draw(24, 7, 3)
    expected = -reference.entropy() - Reference.of(prior, encode).log_prob(z)
    close(prior.kl(q, z, encode), expected)


@torch.no_grad()
def test_kl_estimate_has_the_divergence_as_its_mean():
    """With K = 1 the divergence is known: the mean of 20 000 estimates is within 4 errors."""
    prior, _ = make("gmm", 1, 3)
    reference = Reference.of(prior)
    p_z = MultivariateNormal(reference.mean[0], precision_matrix=reference.precision[0])
    one, q_one = random_posterior("full", 1, 3)
    n = 20_000
    q = FullRankNormal(one.mean.expand(n, 3), one.scale_tril.expand(n, 3, 3))
    estimates = prior.kl(q, q.rsample(draw(25, n, 3)))
    expected = float(kl_divergence(q_one, p_z))
    error = float(estimates.std()) / math.sqrt(n)
    assert error < 0.05 * expected
    assert float(estimates.mean()) == pytest.approx(expected, abs=4 * error)


# --------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("what", ["log_prob", "cluster_log_probs", "prior_step_loss"])
@table(WITH_COMPONENTS, [(1, 1)])
def test_gradients_of_one_component_by_finite_differences(name, k, p, what):
    if what == "prior_step_loss" and name.startswith("vampprior"):
        assert not make(name, k, p)[0].empirical_bayes_parameters()
        return
    options = {} if name.startswith("vampprior") else {"responsibility_gradient": True}
    prior, encode = make(name, k, p, **options)
    names, values = zip(*prior.named_parameters(), strict=True)
    z = draw(9, 4, p).requires_grad_()
    values = [value.detach().clone().requires_grad_() for value in values]

    class Call(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.prior = prior

        def forward(self, z):
            return getattr(self.prior, what)(z, encode)

    def function(z, *values):
        state = {f"prior.{n}": v for n, v in zip(names, values, strict=True)}
        return torch.func.functional_call(Call(), state, (z,))

    assert torch.autograd.gradcheck(function, (z, *values))


def test_gradients_of_the_hyperpriors():
    alpha = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    logits = draw(31, 4).requires_grad_()
    raw = draw(32, 4, 3, 3).requires_grad_()
    check = torch.autograd.gradcheck
    assert check(log_inverse_gamma, (alpha,))
    assert check(lambda x, a: log_dirichlet(torch.log_softmax(x, 0), a), (logits, alpha))
    assert check(lambda x: log_wishart(reference_cholesky(x), 5, 0.3), (raw,))


# ---------------------------------------------------------------------------- initial values


def test_initial_values_of_the_gmm():
    k, p = 100, 30
    prior = GaussianMixture(p, k, generator=torch.Generator().manual_seed(1))
    close(prior.log_weights(), np.full(k, -math.log(k)), atol=1e-5)
    close(prior.concentration(), 1.0, atol=1e-5)
    close(prior.precision_cholesky(), torch.eye(p).expand(k, p, p), atol=1e-5)
    assert prior.means.shape == (k, p)
    assert scipy.stats.kstest(prior.means.detach().flatten().numpy(), "norm").pvalue > 1e-3
    again = GaussianMixture(p, k, generator=torch.Generator().manual_seed(1))
    other = GaussianMixture(p, k, generator=torch.Generator().manual_seed(2))
    assert torch.equal(prior.means, again.means)
    assert not torch.equal(prior.means, other.means)


def test_initial_values_of_the_vmm():
    u = draw(4, 7, DATA_DIM).float()
    prior = VampPriorMixture(3, u)
    close(prior.pseudo_inputs, u, atol=0)
    close(prior.log_weights(), np.full(7, -math.log(7)), atol=1e-5)
    close(prior.concentration(), 1.0, atol=1e-5)
    close(prior.precision_cholesky(), torch.eye(3).expand(7, 3, 3), atol=1e-5)


def identities(parameters) -> set[int]:
    """Return which tensors these are."""
    return {id(parameter) for parameter in parameters}


def test_who_fits_what():
    """The VampPrior's u joins step (1); the mixtures' ψ is step (3)'s; N(0, I) has nothing."""
    normal, vampprior = make("normal", 0, 3)[0], make("vampprior-full", 5, 3)[0]
    assert normal.variational_parameters() == [] == normal.empirical_bayes_parameters()
    assert identities(vampprior.variational_parameters()) == {id(vampprior.pseudo_inputs)}
    assert vampprior.empirical_bayes_parameters() == []
    for name, location in (("gmm", "means"), ("vmm-full", "pseudo_inputs")):
        prior = make(name, 5, 3)[0]
        keys = ("weight_logits", "precision_raw", "concentration_raw", location)
        assert prior.variational_parameters() == []
        expected = identities(getattr(prior, key) for key in keys)
        assert identities(prior.empirical_bayes_parameters()) == expected
        assert identities(prior.parameters()) == expected


def test_untrained_pseudo_inputs():
    """The published scVI code never trains the VampPrior's pseudo-inputs."""
    prior = VampPrior(3, draw(4, 5, DATA_DIM), train_pseudo_inputs=False)
    assert list(prior.variational_parameters()) == []
    assert not any(parameter.requires_grad for parameter in prior.parameters())
    assert "pseudo_inputs" in prior.state_dict()


@pytest.mark.parametrize("name", PRIORS)
def test_make_prior(name):
    prior = make_prior(name, latent_dim=3, n_components=5, pseudo_inputs=draw(4, 5, DATA_DIM))
    assert type(prior) is getattr(vmm.priors, PRIORS[name].class_name)
    assert prior.latent_dim == 3
    assert prior.n_components == (5 if PRIORS[name].clusters else 0)


def test_make_prior_of_an_unknown_name():
    with pytest.raises(ValueError, match="vampire"):
        make_prior("vampire", latent_dim=3, n_components=5)


# ---------------------------------------------------------------------------- extreme values


def float_encode(mean: Tensor, scale: float) -> Callable:
    """Return an encoder with the given means and one scale, in single precision."""
    return lambda u: DiagonalNormal(mean + 0 * u[:, :1], torch.full_like(mean, scale))


@pytest.mark.parametrize("distance", [0.0, 1e3])
@pytest.mark.parametrize("logit", [0.0, -1e4])
@pytest.mark.parametrize("scale", [1e-4, 1.0])
@pytest.mark.parametrize("family", ["vampprior", "gmm", "vmm"])
def test_extreme_values_stay_finite(family, scale, logit, distance):
    """Single precision: far z, tiny scales, a component of weight zero; values and gradients."""
    k, p = 5, 10
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(k, p, generator=generator)
    encode = float_encode(mean, scale)
    if family == "gmm":
        prior = GaussianMixture(p, k, generator=generator)
    else:
        u = torch.randn(k, DATA_DIM, generator=generator)
        prior = (VampPrior if family == "vampprior" else VampPriorMixture)(p, u)
    with torch.no_grad():
        if family != "vampprior":
            prior.weight_logits[0] = logit
            prior.precision_raw.copy_(torch.eye(p) / scale)
    z = (torch.randn(8, p, generator=generator) + distance).requires_grad_()
    values = [prior.log_prob(z, encode), prior.cluster_log_probs(z, encode).exp()]
    if family != "vampprior":
        values.append(prior.prior_step_loss(z, encode))
    for value in values:
        assert torch.isfinite(value).all()
        prior.zero_grad()
        value.sum().backward(retain_graph=True)
        assert torch.isfinite(z.grad).all()
        for key, parameter in prior.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", WITH_COMPONENTS)
@torch.no_grad()
def test_single_precision(name):
    """At K = 100, p = 30 single precision is within 1e-4 of double, relative to its size."""
    k, p = 100, 30
    prior, encode = make(name, k, p)
    z = 2 * draw(9, SAMPLES, p)
    exact = prior.log_prob(z, encode)

    def encode_float(u):
        q = encode(u.double())
        if isinstance(q, DiagonalNormal):
            return DiagonalNormal(q.mean.float(), q.scale.float())
        return FullRankNormal(q.mean.float(), q.scale_tril.float())

    single = prior.float().log_prob(z.float(), encode_float)
    assert single.dtype == torch.float32
    close(single, exact, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_single_precision_of_narrow_components_far_from_the_origin():
    """One product with L⁻¹ subtracts large numbers: sd 0.01 at distance 30 must still be right."""
    k, p = 5, 10
    mean = 30 * draw(41, k, p)
    prior = GaussianMixture(p, k).double()
    prior.means.copy_(mean)
    prior.precision_raw.copy_(100 * torch.eye(p) + draw(42, k, p, p).tril(-1))
    z = mean + 0.01 * draw(43, k, p)
    exact = Reference.of(prior).log_prob(z)
    single = prior.float().log_prob(z.float())
    close(single, exact, rtol=0, atol=0.05)
