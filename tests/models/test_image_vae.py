"""The image VAE and VaDE against `torch.distributions` and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from vmm.models.image_vae import ImageVAE
from vmm.numerics.gaussians import DiagonalNormal, FullRankNormal
from vmm.priors import make_prior
from vmm.priors.vade import VaDEMixture

D, P, K, N = 12, 3, 4, 9
HIDDEN = (10, 8, 14)


def draw(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def make_model(prior: str, seed: int = 0) -> ImageVAE:
    """Return a small model in double precision, with parameters away from their initial values."""
    generator = torch.Generator().manual_seed(seed)
    model = ImageVAE(D, P, HIDDEN, generator)
    model.prior = make_prior(prior, P, K, model.initial_pseudo_inputs(images(K).float()), generator)
    model.double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.add_(0.2 * draw(100 + number, *parameter.shape))
    return model


def images(n: int = N) -> Tensor:
    return torch.tanh(draw(1, n, D))


def noise(n: int = N) -> dict[str, Tensor]:
    return {"latent": draw(2, n, P)}


def relu_layers(network: nn.Module, x: Tensor) -> Tensor:
    """Run a network's linear layers by hand, ReLU between them."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    for layer in layers[:-1]:
        x = (x @ layer.weight.T + layer.bias).clamp(min=0)
    return x @ layers[-1].weight.T + layers[-1].bias


def close(ours, expected, rtol=1e-8, atol=1e-8):
    torch.testing.assert_close(ours.detach(), expected.detach(), rtol=rtol, atol=atol)


# ---------------------------------------------------------------------------------- networks


def test_the_papers_architecture():
    """784-500-500-2000 and back, p = 10: mean and 55 entries of a Cholesky factor."""
    model = ImageVAE(784, 10, generator=torch.Generator().manual_seed(0))

    def sizes(network):
        return [
            (m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)
        ]

    assert sizes(model.encoder) == [(784, 500), (500, 500), (500, 2000), (2000, 65)]
    assert sizes(model.decoder) == [(10, 2000), (2000, 500), (500, 500), (500, 784)]
    assert not any(isinstance(m, nn.BatchNorm1d | nn.Dropout) for m in model.modules())

    for layer in (m for m in model.modules() if isinstance(m, nn.Linear)):
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))  # Glorot-uniform
        largest = float(layer.weight.detach().abs().max())
        assert 0.99 * bound < largest <= bound * (1 + 1e-6)
        assert float(layer.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert not layer.bias.any()


@torch.no_grad()
def test_posterior_is_full_rank_and_uses_every_output():
    model = make_model("normal")
    q = model.posterior(images())
    assert isinstance(q, FullRankNormal)
    assert q.mean.shape == (N, P) and q.scale_tril.shape == (N, P, P)
    close(q.scale_tril, q.scale_tril.tril())
    assert (q.scale_tril.diagonal(dim1=-2, dim2=-1) > 0).all()

    outputs = relu_layers(model.encoder, images())
    assert outputs.shape == (N, P + P * (P + 1) // 2)
    numbers = torch.cat([q.mean, q.scale_tril.tril(-1).flatten(1)], -1)
    linear = torch.stack([numbers[0][numbers[0] != 0]])
    # The mean and the entries below the diagonal are outputs as they are ...
    for value in linear[0]:
        assert (outputs[0] - value).abs().min() < 1e-10
    # ... and the others become the diagonal by softplus + 1e-5.
    diagonal = q.scale_tril[0].diagonal()
    for value in diagonal:
        assert (F.softplus(outputs[0]) + 1e-5 - value).abs().min() < 1e-10
    distances = (outputs[0][:, None] - linear).abs().min(1).values
    assert int((distances < 1e-10).sum()) == P + P * (P - 1) // 2


@torch.no_grad()
def test_likelihood_is_normal_with_one_scale():
    model = make_model("normal")
    z = draw(3, N, P)
    mean = relu_layers(model.decoder, z)
    scale = F.softplus(model.scale_raw)
    expected = Independent(Normal(mean, scale), 1).log_prob(images())
    close(model.decode(z), mean)
    close(model.log_likelihood(images(), z), expected)


def test_initial_scale_is_one():
    assert ImageVAE(D, P, HIDDEN).scale().item() == pytest.approx(1, abs=1e-6)


# -------------------------------------------------------------------------------------- ELBO


def parts(model: ImageVAE, x: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, MultivariateNormal]:
    """Return the sample z, log p(x|z), and torch's posterior."""
    ours = model.posterior(x)
    q = MultivariateNormal(ours.mean, scale_tril=ours.scale_tril)
    z = q.mean + (ours.scale_tril @ epsilon.unsqueeze(-1)).squeeze(-1)
    scale = F.softplus(model.scale_raw)
    log_likelihood = Independent(Normal(relu_layers(model.decoder, z), scale), 1).log_prob(x)
    return z, log_likelihood, q


@torch.no_grad()
def test_elbo_of_the_standard_normal_is_closed_form():
    model = make_model("normal")
    _, log_likelihood, q = parts(model, images(), noise()["latent"])
    standard = MultivariateNormal(torch.zeros(P).double(), torch.eye(P).double())
    expected = log_likelihood - kl_divergence(q, standard)
    assert model.elbo(images(), noise()).shape == (N,)
    close(model.elbo(images(), noise()), expected)


@torch.no_grad()
def test_elbo_of_the_vampprior():
    """log p(x|z) + H(q) + log 1/K Σ_j q(z; g(u_j)), u_j through the same encoder."""
    model = make_model("vampprior")
    z, log_likelihood, q = parts(model, images(), noise()["latent"])
    pseudo = model.posterior(model.prior.pseudo_inputs)
    components = MultivariateNormal(pseudo.mean, scale_tril=pseudo.scale_tril)
    log_prior = components.log_prob(z[:, None]).logsumexp(-1) - math.log(K)
    close(model.elbo(images(), noise()), log_likelihood + q.entropy() + log_prior)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gmm", "vmm"])
def test_elbo_of_the_mixtures(name):
    model = make_model(name)
    prior = model.prior
    z, log_likelihood, q = parts(model, images(), noise()["latent"])
    raw = prior.precision_raw
    lower = raw.tril(-1) + torch.diag_embed(F.softplus(raw.diagonal(dim1=-2, dim2=-1)) + 1e-5)
    covariance = torch.linalg.inv(lower @ lower.mT)
    if name == "gmm":
        mean = prior.means
    else:
        pseudo = model.posterior(prior.pseudo_inputs)
        mean, covariance = pseudo.mean, covariance + pseudo.scale_tril @ pseudo.scale_tril.mT
    components = MultivariateNormal(mean, covariance).log_prob(z[:, None])
    log_prior = (components + torch.log_softmax(prior.weight_logits, 0)).logsumexp(-1)
    close(model.elbo(images(), noise()), log_likelihood + q.entropy() + log_prior)


def test_initial_pseudo_inputs_are_the_images():
    model = ImageVAE(D, P, HIDDEN)
    u = model.initial_pseudo_inputs(images(K).float())
    close(u, images(K).float(), atol=0)
    close(model.encode_pseudo_inputs(u).mean, model.posterior(images(K).float()).mean)


# -------------------------------------------------------------------------------------- VaDE


def make_vade(k: int, p: int = P) -> VaDEMixture:
    prior = VaDEMixture(p, k, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for number, parameter in enumerate(prior.parameters()):
            parameter.add_(0.5 * draw(60 + number, *parameter.shape))
    return prior


def vade_components(prior: VaDEMixture) -> MultivariateNormal:
    raw = prior.precision_raw.detach()
    lower = raw.tril(-1) + torch.diag_embed(F.softplus(raw.diagonal(dim1=-2, dim2=-1)) + 1e-5)
    return MultivariateNormal(prior.means.detach(), precision_matrix=lower @ lower.mT)


def posteriors(kind: str, n: int, p: int = P):
    """Return n posteriors, ours and torch's."""
    mean, scale = draw(70, n, p), (0.4 * draw(71, n, p)).exp()
    if kind == "diagonal":
        return DiagonalNormal(mean, scale), MultivariateNormal(mean, torch.diag_embed(scale**2))
    tril = 0.3 * draw(72, n, p, p).tril(-1) + torch.diag_embed(scale)
    return FullRankNormal(mean, tril), MultivariateNormal(mean, scale_tril=tril)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_vade_of_one_component_has_the_closed_form(kind):
    prior = make_vade(1)
    q, reference = posteriors(kind, N)
    expected = kl_divergence(reference, vade_components(prior))
    close(prior.kl(q, draw(73, N, P)), expected)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_vade_kl_against_torch(kind):
    """Σ_j q(c=j) [KL(q ‖ N_j) + log q(c=j) − log π_j] with q(c) of the sample z."""
    prior = make_vade(K)
    q, reference = posteriors(kind, N)
    z = draw(73, N, P)
    components = vade_components(prior)
    log_weights = torch.log_softmax(prior.weight_logits, 0)
    log_q = torch.log_softmax(log_weights + components.log_prob(z[:, None]), -1)
    divergences = kl_divergence(
        MultivariateNormal(reference.mean[:, None], reference.covariance_matrix[:, None]),
        components,
    )
    expected = (log_q.exp() * (divergences + log_q - log_weights)).sum(-1)
    close(prior.kl(q, z), expected)


@torch.no_grad()
def test_vade_kl_by_brute_force():
    """With q(c) given, the KL is E over c and z of log q(z) q(c) / (p(z|c) p(c)): 200 000 draws."""
    prior = make_vade(K)
    q, reference = posteriors("full", 1)
    z0 = draw(73, 1, P)
    components = vade_components(prior)
    log_weights = torch.log_softmax(prior.weight_logits, 0)
    log_q = torch.log_softmax(log_weights + components.log_prob(z0), -1)
    n = 200_000
    rng = np.random.default_rng(0)
    c = torch.as_tensor(rng.choice(K, n, p=log_q.exp().numpy() / log_q.exp().numpy().sum()))
    z = reference.mean + draw(74, n, P) @ reference.scale_tril[0].T
    log_joint = torch.stack(
        [
            MultivariateNormal(components.mean[j], components.covariance_matrix[j]).log_prob(z)
            for j in range(K)
        ],
        -1,
    )
    log_p = log_joint.gather(-1, c[:, None]).squeeze(-1) + log_weights[c]
    terms = reference.log_prob(z) + log_q[c] - log_p
    error = float(terms.std()) / math.sqrt(n)
    assert error < 0.02
    assert float(prior.kl(q, z0)) == pytest.approx(float(terms.mean()), abs=4.5 * error)


def test_vade_fits_its_prior_with_the_networks():
    prior = make_vade(K)
    expected = {id(prior.weight_logits), id(prior.means), id(prior.precision_raw)}
    assert {id(p) for p in prior.variational_parameters()} == expected
    assert prior.empirical_bayes_parameters() == []


def test_vade_starts_from_a_fitted_mixture():
    """π, μ, Λ: scikit-learn's full-covariance mixture (reg_covar 1e-3) of the samples."""
    rng = np.random.default_rng(3)
    centres = np.array([[4.0, 0, 0], [-4, 0, 0], [0, 5, 0]])
    mixing = np.array([[0.5, 0, 0], [0.2, 0.3, 0], [0, 0.1, 0.4]])
    sizes = [600, 300, 100]
    z = np.concatenate(
        [
            c + rng.normal(size=(n, 3)) @ mixing.T * (j + 1)
            for j, (c, n) in enumerate(zip(centres, sizes, strict=True))
        ]
    )
    prior = VaDEMixture(3, 3)
    prior.start_from(torch.as_tensor(z, dtype=torch.float32), 0)
    order = prior.log_weights().argsort(descending=True)
    weights = prior.log_weights().exp()[order].detach().numpy()
    np.testing.assert_allclose(weights, [0.6, 0.3, 0.1], atol=5e-3)
    lower = prior.precision_cholesky()[order].detach().double()
    covariance = torch.linalg.inv(lower @ lower.mT).numpy()
    start = 0
    for j, n in enumerate(sizes):
        points = z[start : start + n]
        start += n
        mean = prior.means[order[j]].detach().numpy()
        np.testing.assert_allclose(mean, points.mean(0), atol=0.1)
        expected = np.cov(points.T, bias=True) + 1e-3 * np.eye(3)
        np.testing.assert_allclose(covariance[j], expected, rtol=0.1, atol=0.05)
