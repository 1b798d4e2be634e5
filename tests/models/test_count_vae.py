"""scVI by hand: every number of a forward pass from the weights, in numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmm.data.covariates import Covariates
from vmm.errors import InputError
from vmm.models.count_vae import CountVAE
from vmm.models.tensors import CellBatch, CellTensors
from vmm.numerics.gaussians import DiagonalNormal
from vmm.priors import PRIORS, make_prior

N, G, B, P, H, K = 11, 7, 3, 4, 9, 5


def make_cells(n: int = N, seed: int = 0) -> CellBatch:
    rng = np.random.default_rng(seed)
    counts = torch.as_tensor(rng.negative_binomial(1.0, 0.1, (n, G)), dtype=torch.float64)
    counts[:, 0] += 1  # no empty cell
    return CellBatch(counts, F.one_hot(torch.arange(n) % B, B).double(), counts.sum(-1))


def told(cells: CellBatch, covariates: Tensor) -> CellBatch:
    """Return the cells with other covariates."""
    return CellBatch(cells.counts, covariates, cells.library)


def make_model(
    prior: str = "normal",
    likelihood: str = "zinb",
    n_layers: int = 2,
    perturb: bool = True,
    log_counts: bool = True,
) -> CountVAE:
    """Return a small model in double precision, with nothing left at 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    model = CountVAE(G, B, P, n_layers, H, likelihood, log_counts=log_counts, generator=generator)
    cells = make_cells(K, seed=1)
    model.prior = make_prior(prior, P, K, model.initial_pseudo_inputs(cells), generator)
    model.double()
    if perturb:
        rng = np.random.default_rng(2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.as_tensor(rng.normal(0, 0.2, tuple(parameter.shape))))
            for module in model.modules():
                if isinstance(module, nn.BatchNorm1d):
                    module.running_mean.copy_(torch.as_tensor(rng.normal(0, 0.3, H)))
                    module.running_var.copy_(torch.as_tensor(rng.uniform(0.5, 2, H)))
    return model


def norms(model: CountVAE) -> list[nn.BatchNorm1d]:
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]


def noise_of(model: CountVAE, epsilon) -> dict[str, Tensor]:
    """Return the noise of a step whose latent noise is `epsilon`."""
    noise = model.draw_noise(len(epsilon), torch.Generator().manual_seed(0), "cpu")
    return {k: v.double() for k, v in noise.items()} | {"latent": torch.as_tensor(epsilon)}


def statistics(model: CountVAE) -> list[np.ndarray]:
    """Return copies of all running statistics."""
    return [t.numpy().copy() for n in norms(model) for t in (n.running_mean, n.running_var)]


def layer_by_hand(layer: nn.Module, x: np.ndarray, training: bool) -> np.ndarray:
    """Linear, BatchNorm with eps 1e-3, ReLU."""
    linear = next(m for m in layer.modules() if isinstance(m, nn.Linear))
    norm = next(m for m in layer.modules() if isinstance(m, nn.BatchNorm1d))
    x = x @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    mean = x.mean(0) if training else norm.running_mean.numpy()
    var = x.var(0) if training else norm.running_var.numpy()
    x = (x - mean) / np.sqrt(var + 1e-3) * norm.weight.detach().numpy()
    return np.maximum(x + norm.bias.detach().numpy(), 0)


def head_by_hand(head: nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ head.weight.detach().numpy().T + head.bias.detach().numpy()


def encode_by_hand(
    model: CountVAE, cells: CellBatch, training=False
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of q (no dropout)."""
    counts = cells.counts.numpy()
    seen = np.log1p(counts) if model.log_counts else counts
    hidden = np.concatenate([seen, cells.covariates.numpy()], 1)
    for layer in model.encoder:
        hidden = layer_by_hand(layer, hidden, training)
    output = head_by_hand(model.encoder_head, hidden)
    return output[:, :P], np.logaddexp(0, output[:, P:])


def decode_by_hand(model: CountVAE, z: np.ndarray, cells: CellBatch, training=False):
    """Return the mean of the counts and the dropout logits."""
    hidden = np.concatenate([z, cells.covariates.numpy()], 1)
    for layer in model.decoder:
        hidden = layer_by_hand(layer, hidden, training)
    output = head_by_hand(model.decoder_head, hidden)
    library = cells.counts.numpy().sum(1, keepdims=True)
    return scipy.special.softmax(output[:, :G], -1) * library, output[:, G:]


def log_likelihood_by_hand(model: CountVAE, cells: CellBatch, z: np.ndarray, training=False):
    """Return scipy's log p(x|z, s)."""
    mean, logits = decode_by_hand(model, z, cells, training)
    theta = np.exp(model.log_inverse_dispersion.detach().numpy())
    x = cells.counts.numpy()
    log_nb = scipy.stats.nbinom.logpmf(x, theta, theta / (theta + mean))
    if model.likelihood == "nb":
        return log_nb.sum(1)
    log_kept = scipy.special.log_expit(-logits) + log_nb
    return np.where(x == 0, np.logaddexp(scipy.special.log_expit(logits), log_kept), log_kept).sum(
        1
    )


# ---------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("likelihood", ["zinb", "nb"])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_architecture(likelihood, n_layers):
    model = CountVAE(G, B, P, n_layers, H, likelihood)
    linears = [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)]
    n_outputs = 2 * G if likelihood == "zinb" else G
    middle = [(H, H)] * (n_layers - 1)
    expected = [(G + B, H), *middle, (H, 2 * P), (P + B, H), *middle, (H, n_outputs)]
    assert sorted(linears) == sorted(expected)
    assert len(norms(model)) == 2 * n_layers
    assert all((norm.eps, norm.momentum) == (1e-3, 0.01) for norm in norms(model))
    assert model.log_inverse_dispersion.shape == (G,)
    assert not model.log_inverse_dispersion.any(), "the inverse dispersion is initially 1"


def test_initial_weights_are_glorot_uniform():
    model = CountVAE(200, 2, 10, 2, 128, generator=torch.Generator().manual_seed(0))
    for layer in (m for m in model.modules() if isinstance(m, nn.Linear)):
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.99 * bound < float(layer.weight.detach().abs().max()) <= bound * (1 + 1e-6)
        assert not layer.bias.any()
    for norm in norms(model):
        assert (norm.weight == 1).all() and not norm.bias.any()


def test_unknown_likelihood():
    with pytest.raises(InputError, match="likelihood is 'normal'; it must be 'zinb', 'nb' or 'poi"):
        CountVAE(G, B, likelihood="normal")
    with pytest.raises(InputError, match="dispersion is 'gene-cell'; it must be 'gene' or 'gene-"):
        CountVAE(G, B, dispersion="gene-cell")
    with pytest.raises(InputError, match="'gene-batch', but the Poisson distribution has none"):
        CountVAE(G, B, likelihood="poisson", dispersion="gene-batch")


# ------------------------------------------------------------------------------ forward pass


@torch.no_grad()
@pytest.mark.parametrize("log_counts", [True, False])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_posterior(n_layers, training, log_counts):
    model, cells = make_model(n_layers=n_layers, log_counts=log_counts), make_cells()
    mean, scale = encode_by_hand(model, cells, training)
    q = model.posterior(cells, training=training)
    assert isinstance(q, DiagonalNormal)
    np.testing.assert_allclose(q.mean.numpy(), mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(q.scale.numpy(), scale, rtol=0, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize(("log_counts", "seen"), [(True, math.log(8)), (False, 7.0)])
def test_what_the_encoder_sees(log_counts, seen):
    """Seven counts of a gene as log 8 or as 7, also where a pseudo-input has them."""
    model = make_model(n_layers=1, log_counts=log_counts)
    inputs = []
    model.encoder[0].linear.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    counts = torch.full((1, G), 7.0).double()
    batch = CellBatch(counts, torch.eye(B)[:1].double(), counts.sum(-1))
    model.posterior(batch)
    model.encode_pseudo_inputs(model.initial_pseudo_inputs(batch))
    for given in inputs:
        torch.testing.assert_close(given[0, :G], torch.full((G,), seen).double())
    assert inputs[0][0, G:].tolist() == [1, 0, 0]


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("likelihood", ["zinb", "nb"])
def test_log_likelihood(likelihood, training):
    model, cells = make_model(likelihood=likelihood), make_cells()
    z = np.random.default_rng(3).normal(size=(N, P))
    expected = log_likelihood_by_hand(model, cells, z, training)
    ours = model.log_likelihood(cells, torch.as_tensor(z), training=training)
    assert ours.shape == (N,)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6, atol=1e-5)


@torch.no_grad()
def test_mean_is_softmax_times_library():
    model, cells = make_model(), make_cells()
    z = np.random.default_rng(3).normal(size=(N, P))
    library = cells.counts.sum(-1)
    log_mean, logits = model.decode(torch.as_tensor(z), cells.covariates, library)
    expected, expected_logits = decode_by_hand(model, z, cells)
    np.testing.assert_allclose(log_mean.exp().numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(logits.numpy(), expected_logits, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_mean.exp().sum(-1), library, rtol=1e-9)


@torch.no_grad()
def test_the_batch_enters_encoder_and_decoder():
    """Another batch is another column of the first weights, in both networks."""
    model, cells = make_model(n_layers=1), make_cells()
    z = torch.zeros(N, P, dtype=torch.float64)
    other = told(cells, cells.covariates.roll(1, 1))
    assert (model.posterior(cells).mean - model.posterior(other).mean).abs().max() > 1e-3
    library = cells.counts.sum(-1)
    means = [model.decode(z, c.covariates, library)[0] for c in (cells, other)]
    assert (means[0] - means[1]).abs().max() > 1e-3
    # Equal z and batch: equal expression, in whatever cell.
    close = torch.testing.assert_close
    close(means[0][0] - library[0].log(), means[0][B] - library[B].log())


@torch.no_grad()
def test_running_statistics_move_by_one_percent():
    model, cells = make_model(n_layers=1), make_cells()
    encoder = model.encoder[0]
    norm = next(m for m in encoder.modules() if isinstance(m, nn.BatchNorm1d))
    linear = next(m for m in encoder.modules() if isinstance(m, nn.Linear))
    inputs = np.concatenate([np.log1p(cells.counts.numpy()), cells.covariates.numpy()], 1)
    before = norm.running_mean.numpy().copy(), norm.running_var.numpy().copy()
    hidden = head_by_hand(linear, inputs)
    model.posterior(cells, training=True)
    expected = 0.99 * before[0] + 0.01 * hidden.mean(0)
    np.testing.assert_allclose(norm.running_mean.numpy(), expected, rtol=1e-9)
    expected = 0.99 * before[1] + 0.01 * hidden.var(0, ddof=1)
    np.testing.assert_allclose(norm.running_var.numpy(), expected, rtol=1e-9)


@torch.no_grad()
def test_dropout_acts_in_the_encoder_only_and_in_training_only():
    model, cells = make_model(n_layers=1), make_cells(512)
    generator = torch.Generator().manual_seed(0)
    noise = model.draw_noise(512, generator, "cpu")
    evaluated = model.posterior(cells, training=False, noise=noise)
    torch.testing.assert_close(evaluated.mean, model.posterior(cells).mean, rtol=0, atol=0)

    dropped = model.posterior(cells, training=True, noise=noise).mean
    kept = model.posterior(cells, training=True).mean
    assert (dropped - kept).abs().max() > 1e-3
    seen = []
    handle = model.encoder_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.posterior(cells, training=True)
    model.posterior(cells, training=True, noise=noise)
    handle.remove()
    active = seen[0] > 0
    ratio = (seen[1] / seen[0])[active]
    zeros = ratio == 0
    torch.testing.assert_close(ratio[~zeros], torch.full_like(ratio[~zeros], 1 / 0.9))
    assert float(zeros.double().mean()) == pytest.approx(0.1, abs=0.02)

    z = torch.zeros(512, P, dtype=torch.float64)
    library = cells.counts.sum(-1)
    first = model.decode(z + 0.1, cells.covariates, library, training=True)[0]
    second = model.decode(z + 0.1, cells.covariates, library, training=True)[0]
    torch.testing.assert_close(first, second, rtol=0, atol=0)


# -------------------------------------------------------------------------------------- ELBO


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("likelihood", ["zinb", "nb"])
def test_elbo_of_the_standard_normal(likelihood, training):
    """log p(x|z) − ½ Σ (m² + s² − 1 − 2 log s), closed form."""
    model, cells = make_model(likelihood=likelihood), make_cells()
    epsilon = np.random.default_rng(4).normal(size=(N, P))
    mean, scale = encode_by_hand(model, cells, training)
    z = mean + scale * epsilon
    expected = log_likelihood_by_hand(model, cells, z, training)
    expected = expected - 0.5 * (mean**2 + scale**2 - 1 - 2 * np.log(scale)).sum(1)
    for layer in model.encoder:
        layer.dropout = 0.0
    ours = model.elbo(cells, noise_of(model, epsilon), training=training)
    assert ours.shape == (N,)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", ["vampprior", "gmm", "vmm"])
def test_elbo_of_the_mixtures(name):
    """log p(x|z) + H(q) + log p(z), the prior's density tested elsewhere."""
    model, cells = make_model(name), make_cells()
    epsilon = torch.as_tensor(np.random.default_rng(4).normal(size=(N, P)))
    q = model.posterior(cells)
    z = q.mean + q.scale * epsilon
    entropy = (0.5 * math.log(2 * math.pi * math.e) + q.scale.log()).sum(-1)
    log_likelihood = torch.as_tensor(log_likelihood_by_hand(model, cells, z.numpy()))
    expected = log_likelihood + entropy + model.prior.log_prob(z, model.encode_pseudo_inputs)
    ours = model.elbo(cells, noise_of(model, epsilon))
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-5)


# ----------------------------------------------------------------------------- pseudo-inputs


@torch.no_grad()
def test_initial_pseudo_inputs_are_cells_with_an_even_batch():
    model, cells = make_model(), make_cells(K)
    u = model.initial_pseudo_inputs(cells)
    assert u.shape == (K, G + B)
    torch.testing.assert_close(F.softplus(u[:, :G]) - 1, cells.counts, rtol=1e-6, atol=1e-6)
    even = torch.full((K, B), 1 / B, dtype=torch.float64)
    torch.testing.assert_close(u[:, G:].softmax(-1), even)
    mean, scale = encode_by_hand(model, told(cells, even))
    q = model.encode_pseudo_inputs(u)
    np.testing.assert_allclose(q.mean.numpy(), mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(q.scale.numpy(), scale, rtol=1e-5, atol=2e-5)


@torch.no_grad()
def test_pseudo_inputs_of_real_counts_in_single_precision():
    """Counts up to 1e5 survive the inverse softplus."""
    model = make_model().float()
    counts = torch.tensor([[0.0, 1, 2, 30, 88, 1000, 1e5]])
    u = model.initial_pseudo_inputs(CellBatch(counts, torch.eye(B)[:1], counts.sum(-1)))
    torch.testing.assert_close(F.softplus(u[:, :G]) - 1, counts, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("log_counts", [True, False])
def test_trained_pseudo_inputs_are_encoded_by_softplus_and_softmax(log_counts):
    model = make_model(log_counts=log_counts)
    u = torch.as_tensor(np.random.default_rng(5).normal(2, 2, (K, G + B)))
    counts = torch.as_tensor(np.logaddexp(0, u[:, :G].numpy()) - 1)
    covariates = torch.as_tensor(scipy.special.softmax(u[:, G:].numpy(), -1))
    mean, _ = encode_by_hand(model, CellBatch(counts, covariates, counts.sum(-1)))
    np.testing.assert_allclose(model.encode_pseudo_inputs(u).mean.numpy(), mean, rtol=1e-8)


@pytest.mark.parametrize("name", ["vampprior", "vmm"])
def test_pseudo_inputs_are_always_encoded_in_evaluation_mode(name):
    """Whatever the module's mode and the batch's: no dropout, running statistics read only."""
    model = make_model(name)
    u = model.prior.pseudo_inputs
    model.train()
    before = statistics(model)
    first, second = model.encode_pseudo_inputs(u), model.encode_pseudo_inputs(u)
    assert torch.equal(first.mean, second.mean)
    for a, b in zip(before, statistics(model), strict=True):
        np.testing.assert_array_equal(a, b)
    # One pseudo-input's code does not depend on the others, as it would by batch statistics.
    torch.testing.assert_close(model.encode_pseudo_inputs(u[:1]).mean, first.mean[:1])


@pytest.mark.parametrize("name", ["vampprior", "vmm"])
def test_a_training_step_reads_running_statistics_for_the_pseudo_inputs(name):
    """The statistics after an ELBO in training mode are those that the batch alone leaves."""
    model, alone = make_model(name), make_model("normal")
    alone.load_state_dict(
        {k: v for k, v in model.state_dict().items() if "prior." not in k}, strict=False
    )
    noise = noise_of(model, np.random.default_rng(4).normal(size=(N, P)))
    model.elbo(make_cells(), noise, training=True)
    alone.elbo(make_cells(), noise, training=True)
    for a, b in zip(statistics(model), statistics(alone), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [-30.0, -200.0, 200.0, 1e5])
def test_extreme_pseudo_inputs_stay_finite(value):
    """Training may drive a free parameter far: softplus − 1 → −1 must not become log 0."""
    model = make_model("vmm").float()
    with torch.no_grad():
        model.prior.pseudo_inputs[:, 0] = value
    q = model.encode_pseudo_inputs(model.prior.pseudo_inputs)
    assert torch.isfinite(q.mean).all() and torch.isfinite(q.scale).all()
    q.mean.sum().backward()
    assert torch.isfinite(model.prior.pseudo_inputs.grad).all()


# -------------------------------------------------------------------------------- covariates


def make_informed(likelihood="zinb", dispersion="gene-batch", size_factors=True, encoded=True):
    """Return a model of two categorical covariates and one continuous, and cells that have them."""
    rng = np.random.default_rng(6)
    model = CountVAE(
        G, B, P, 2, H, likelihood, n_categories=(2, 3), n_continuous=1, dispersion=dispersion,
        size_factors=size_factors, encode_covariates=encoded,
        generator=torch.Generator().manual_seed(0),
    ).double()  # fmt: skip
    for parameter in model.parameters():
        parameter.data.add_(torch.as_tensor(rng.normal(0, 0.2, tuple(parameter.shape))))
    cells = make_cells()
    one_hot = [F.one_hot(torch.arange(N) % n, n) for n in (2, 3)]
    numbers = torch.as_tensor(rng.normal(size=(N, 1)))
    covariates = torch.cat([numbers, *one_hot, cells.covariates], -1)
    library = torch.as_tensor(rng.uniform(0.2, 3, N)) if size_factors else cells.library
    return model, CellBatch(cells.counts, covariates, library)


@torch.no_grad()
@pytest.mark.parametrize("likelihood", ["zinb", "nb", "poisson"])
@pytest.mark.parametrize("size_factors", [True, False])
def test_log_likelihood_with_covariates(likelihood, size_factors):
    """Size factor × softplus for the mean, and a dispersion of the cell's batch."""
    dispersion = "gene" if likelihood == "poisson" else "gene-batch"
    model, cells = make_informed(likelihood, dispersion, size_factors)
    z = np.random.default_rng(3).normal(size=(N, P))
    hidden = np.concatenate([z, cells.covariates.numpy()], 1)
    for layer in model.decoder:
        hidden = layer_by_hand(layer, hidden, False)
    output = head_by_hand(model.decoder_head, hidden)
    raw, logits, x = output[:, :G], output[:, G:], cells.counts.numpy()
    scale = np.logaddexp(0, raw) if size_factors else scipy.special.softmax(raw, -1)
    mean = scale * cells.library.numpy()[:, None]
    if likelihood == "poisson":
        expected = scipy.stats.poisson.logpmf(x, mean)
    else:
        theta = model.log_inverse_dispersion.detach().exp().numpy()[np.arange(N) % B]
        expected = scipy.stats.nbinom.logpmf(x, theta, theta / (theta + mean))
    if likelihood == "zinb":
        kept = scipy.special.log_expit(-logits) + expected
        either = np.logaddexp(scipy.special.log_expit(logits), kept)
        expected = np.where(x == 0, either, kept)
    ours = model.log_likelihood(cells, torch.as_tensor(z))
    np.testing.assert_allclose(ours.numpy(), expected.sum(1), rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_pseudo_inputs_have_shares_of_categories_and_free_numbers():
    model, cells = make_informed()
    u = model.initial_pseudo_inputs(cells)
    assert u.shape == (N, G + 1 + 2 + 3 + B)
    expected = torch.cat([cells.covariates[:, :1], torch.zeros(N, 2 + 3 + B)], -1)
    assert torch.equal(u[:, G:], expected)
    u = torch.as_tensor(np.random.default_rng(5).normal(2, 2, (K, G + 1 + 2 + 3 + B)))
    shares = [scipy.special.softmax(part.numpy(), -1) for part in u[:, G + 1 :].split([2, 3, B], 1)]
    counts = torch.as_tensor(np.logaddexp(0, u[:, :G].numpy()) - 1)
    covariates = torch.as_tensor(np.concatenate([u[:, G : G + 1].numpy(), *shares], 1))
    mean, _ = encode_by_hand(model, CellBatch(counts, covariates, counts.sum(-1)))
    np.testing.assert_allclose(model.encode_pseudo_inputs(u).mean.numpy(), mean, rtol=1e-8)


@torch.no_grad()
def test_an_encoder_without_covariates():
    """Neither cells nor pseudo-inputs have any there; the decoder still gets them."""
    model, cells = make_informed(encoded=False)
    assert model.encoder[0].linear.in_features == G
    assert model.decoder[0].linear.in_features == P + 1 + 2 + 3 + B
    u = model.initial_pseudo_inputs(cells)
    assert u.shape == (N, G)
    other = told(cells, cells.covariates.roll(1, 0))
    q = model.posterior(cells)
    assert torch.equal(q.mean, model.posterior(other).mean)
    torch.testing.assert_close(model.encode_pseudo_inputs(u).mean, q.mean, rtol=1e-6, atol=1e-6)
    means = [model.decode(q.mean, c.covariates, c.library)[0] for c in (cells, other)]
    assert (means[0] - means[1]).abs().max() > 1e-3


# ---------------------------------------------------------------------------- extreme values


@pytest.mark.parametrize("likelihood", ["zinb", "nb"])
@pytest.mark.parametrize("prior", PRIORS)
def test_extreme_cells_stay_finite(likelihood, prior):
    """An empty cell, a cell of one gene, a count of 1e6: single precision, value and gradients."""
    model = make_model(prior, likelihood).float()
    counts = torch.zeros(4, G)
    counts[1, 0], counts[2, 1], counts[3] = 1, 1e6, 1e4
    cells = CellBatch(counts, torch.eye(B)[torch.tensor([0, 1, 2, 0])], counts.sum(-1))
    elbo = model.elbo(cells, model.draw_noise(4, None, "cpu"), training=True)
    assert torch.isfinite(elbo).all()
    elbo.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


# ------------------------------------------------------------------------ data on the device


@pytest.mark.parametrize("largest", [1, 255, 256, 40_000, 1_000_000])
def test_counts_survive_the_smallest_type_that_holds_them(largest):
    """Counts are kept in 8 or 16 bits where they fit; no count changes, at any boundary."""
    import scipy.sparse

    rng = np.random.default_rng(0)
    dense = rng.integers(0, 3, (20, G))
    dense[3, 2] = largest
    codes = np.arange(20) % B
    index = torch.tensor([3, 0, 19])
    for counts in (scipy.sparse.csr_matrix(dense.astype(np.float32)), dense):
        cells = CellTensors(counts, codes, B).batch(index)
        np.testing.assert_array_equal(cells.counts.numpy(), dense[index.numpy()])
        np.testing.assert_array_equal(cells.covariates.numpy(), np.eye(B)[codes[index.numpy()]])


def test_covariates_of_a_batch():
    """Numbers, then categories and batch one-hot; the size factor in place of the library size."""
    rng = np.random.default_rng(0)
    counts, codes, sex = rng.poisson(3, (20, G)), np.arange(20) % B, np.arange(20) // 3 % 2
    age, factor = rng.normal(size=20), rng.uniform(0.5, 2, 20)
    known = Covariates({"sex": (sex, ["f", "m"])}, {"age": age})
    cells = CellTensors(counts, codes, B, covariates=known)
    index = torch.tensor([3, 0, 19])
    batch = cells.batch(index)
    rows = index.numpy()
    expected = np.concatenate([age[rows, None], np.eye(2)[sex[rows]], np.eye(B)[codes[rows]]], 1)
    np.testing.assert_allclose(batch.covariates.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(batch.library.numpy(), counts[rows].sum(1))
    scaled = CellTensors(counts, codes, B, covariates=Covariates(size_factor=factor)).batch(index)
    np.testing.assert_allclose(scaled.library.numpy(), factor[rows], rtol=1e-6)
    assert scaled.covariates.shape == (3, B)


def test_the_total_tells_covariates_apart():
    """Also which cell has which: a checkpoint belongs to one of them."""
    counts, codes = np.ones((4, 2)), np.zeros(4, dtype=int)
    sex, age = np.array([0, 1, 0, 1]), np.array([1.0, 2.0, 3.0, 4.0])

    def total(**known) -> int:
        return CellTensors(counts, codes, 1, covariates=Covariates(**known)).total()

    plain = CellTensors(counts, codes, 1).total()
    names = ["f", "m"]
    totals = [
        plain,
        total(categorical={"sex": (sex, names)}),
        total(categorical={"sex": (sex[::-1].copy(), names)}),
        total(continuous={"age": age}),
        total(continuous={"age": age[::-1].copy()}),
        total(size_factor=age),
        total(continuous={"age": age}, size_factor=age),
    ]
    assert plain == total() == 8
    assert len({*totals[:5], totals[6]}) == 6 and all(0 <= value < 2**64 for value in totals)


def test_counts_do_not_change_the_model_when_a_tensor_is_reused():
    """Encoding must not write into the batch it is given."""
    model, cells = make_model(), make_cells()
    copy: Tensor = cells.counts.clone()
    model.elbo(cells, noise_of(model, np.zeros((N, P))), training=True)
    assert torch.equal(copy, cells.counts)
