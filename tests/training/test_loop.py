"""Algorithm 1: who moves in which step, where it converges to, and what interrupts it."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import trainings
from torch import Tensor
from trainings import (
    KINDS,
    MIXTURES,
    PRIORS,
    SETTINGS,
    TRAIN,
    VALID,
    K,
    Killed,
    P,
    assert_same,
    changed,
    finite,
    killer,
    make_data,
    make_model,
    noise_for,
    poison,
    run,
    snapshot,
    without_seconds,
)

import vmm.training
import vmm.training.embedding
import vmm.training.loop
import vmm.training.steps
from vmm.errors import InputError
from vmm.models.base import LatentVariableModel
from vmm.models.tensors import ImageTensors
from vmm.numerics.gaussians import DiagonalNormal
from vmm.priors import make_prior
from vmm.training.embedding import embed, evaluate
from vmm.training.loop import fit
from vmm.training.settings import Settings
from vmm.training.steps import prior_step, variational_step

# ---------------------------------------------------------------------------- the three steps


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_step_1_moves_the_networks_and_not_the_prior(kind, prior):
    """Only the VampPrior's pseudo-inputs move with the networks."""
    model = make_model(kind, prior)
    data, _ = make_data(kind)
    before = snapshot(model)
    optimizer = torch.optim.Adam(model.variational_parameters(), lr=1e-2, eps=1e-7)
    elbo = variational_step(model, optimizer, data.batch(torch.arange(20)), noise_for(model, 20))
    assert elbo.ndim == 0 and not elbo.requires_grad
    moved = changed(before, snapshot(model))
    networks = {name for name, _ in model.named_parameters() if not name.startswith("prior.")}
    assert networks <= moved
    expected = {"prior.pseudo_inputs"} if prior == "vampprior" else set()
    assert {name for name in moved if name.startswith("prior.")} == expected


@pytest.mark.parametrize("prior", MIXTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_step_3_moves_the_prior_and_nothing_else(kind, prior):
    """φ, θ and the batch normalisation's running statistics are the same to the bit."""
    model = make_model(kind, prior)
    data, _ = make_data(kind)
    model.train()
    before = snapshot(model)
    psi = model.prior.empirical_bayes_parameters()
    optimizer = torch.optim.Adam(psi, lr=1e-2, eps=1e-7)
    noise = torch.randn(20, P, generator=torch.Generator().manual_seed(1))
    prior_step(model, optimizer, data.batch(torch.arange(20)), noise)
    moved = changed(before, snapshot(model))
    assert moved == {name for name, _ in model.named_parameters() if name.startswith("prior.")}
    assert all(p.grad is None for p in model.parameters() if not any(p is q for q in psi))


@pytest.mark.parametrize("prior", ["vampprior", "vmm"])
@pytest.mark.parametrize("kind", KINDS)
def test_step_1_descends_the_whole_gradient(kind, prior):
    """With plain descent of rate 1 the networks move by the ELBO's gradient, g(u; φ)'s part too."""
    data, _ = make_data(kind)
    batch = data.batch(torch.arange(20))
    model, twin = make_model(kind, prior).double(), make_model(kind, prior).double()
    batch = batch.double() if kind == "image" else type(batch)(*(t.double() for t in batch))
    noise = {k: v.double() for k, v in noise_for(model, 20).items()}
    weights = dict(twin.encoder.named_parameters())
    values = list(weights.values())
    full = torch.autograd.grad(twin.elbo(batch, noise, training=True).mean(), values)
    with torch.no_grad():
        held = twin.encode_pseudo_inputs(twin.prior.pseudo_inputs)
    twin.encode_pseudo_inputs = lambda u: held
    partial = torch.autograd.grad(twin.elbo(batch, noise, training=True).mean(), values)

    optimizer = torch.optim.SGD(model.variational_parameters(), lr=1.0)
    variational_step(model, optimizer, batch, noise)
    ours = dict(model.encoder.named_parameters())
    for name, whole, part in zip(weights, full, partial, strict=True):
        moved = (ours[name] - weights[name]).detach()
        torch.testing.assert_close(moved, whole, rtol=1e-7, atol=1e-10)
        if whole.abs().max() > 1e-8:  # a bias before batch normalisation has almost none
            assert (whole - part).abs().max() > 1e-7


@pytest.mark.parametrize("kind", KINDS)
def test_step_3_samples_from_the_updated_posterior_in_evaluation_mode(kind):
    """Algorithm 1: z of step (3) is from q after step (1), with no dropout and no statistics."""
    model = make_model(kind, "vmm")
    data, _ = make_data(kind)
    seen = []
    loss = model.prior.prior_step_loss

    def spy(z, encode=None):
        seen.append((z.clone(), snapshot(model)))
        return loss(z, encode)

    model.prior.prior_step_loss = spy
    steps = []
    step = vmm.training.steps.variational_step

    def spy_step(model, optimizer, batch, *rest):
        value = step(model, optimizer, batch, *rest)
        steps.append((batch, snapshot(model)))
        return value

    noises = []
    draw = vmm.training.steps.prior_step

    def spy_prior_step(model, optimizer, batch, noise):
        noises.append(noise)
        assert batch is steps[-1][0], "step (3) is on the batch of step (1)"
        return draw(model, optimizer, batch, noise)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vmm.training.steps, "variational_step", spy_step)
        patch.setattr(vmm.training.steps, "prior_step", spy_prior_step)
        fit(model, data, TRAIN, VALID, replace(SETTINGS, max_epochs=2))
    assert len(seen) == len(steps) == 2 * (len(TRAIN) // 20)
    twin = make_model(kind, "vmm")
    for (z, at_step_3), (batch, after_step_1), noise in zip(seen, steps, noises, strict=True):
        assert_same(at_step_3, after_step_1)
        assert not z.requires_grad
        twin.load_state_dict(after_step_1)
        torch.testing.assert_close(z, twin.posterior(batch).rsample(noise).detach())
    assert len({float(noise.sum()) for noise in noises}) == len(noises), "fresh noise every step"


@pytest.mark.parametrize("prior", MIXTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_learning_rates(kind, prior):
    """Adam's first step is its rate: γ₁ for the networks, γ₂ = γ₁ × ratio for ψ."""
    settings = replace(SETTINGS, learning_rate=1e-3, batch_size=100, max_epochs=1)
    model = make_model(kind, prior)
    data, _ = make_data(kind)
    before = snapshot(model)
    fit(model, data, TRAIN, VALID, settings)
    for name, parameter in model.named_parameters():
        if name.endswith("linear.bias"):
            continue  # batch normalisation follows: no gradient but rounding
        rate = 2.5e-3 if name.startswith("prior.") else 1e-3
        moved = (parameter.detach() - before[name]).abs()
        assert float(moved.max()) == pytest.approx(rate, rel=2e-2), name


@pytest.mark.parametrize("prior", ["normal", "vampprior"])
def test_priors_without_empirical_bayes_have_only_step_1(prior, monkeypatch):
    monkeypatch.setattr(
        vmm.training.steps, "prior_step", lambda *_: pytest.fail("there is no step (3)")
    )
    model, result = run("image", prior)
    assert result.status == "ok"
    if prior == "vampprior":
        start = make_model("image", prior).prior.pseudo_inputs
        assert (model.prior.pseudo_inputs - start).abs().max() > 1e-3


def test_untrained_pseudo_inputs_stay(capsys):
    model = make_model("cells", "vampprior", train_pseudo_inputs=False)
    data, _ = make_data("cells")
    before = model.prior.pseudo_inputs.detach().clone()
    fit(model, data, TRAIN, VALID, SETTINGS)
    assert torch.equal(model.prior.pseudo_inputs, before)


@pytest.mark.parametrize("prior", MIXTURES)
def test_without_a_dirichlet_process_alpha_stays(prior):
    """All else of ψ is fitted."""
    model = make_model("cells", prior, dirichlet_process=False)
    data, _ = make_data("cells")
    before = snapshot(model)
    fit(model, data, TRAIN, VALID, SETTINGS)
    parameters = {name for name, _ in model.named_parameters()}
    assert parameters - changed(before, snapshot(model)) == {"prior.concentration_raw"}


def test_without_kl_weight_there_is_no_prior_step_and_no_kl(monkeypatch):
    """VaDE's pre-training: only the reconstruction is fitted."""
    monkeypatch.setattr(
        vmm.training.steps, "prior_step", lambda *_: pytest.fail("there is no step (3)")
    )
    model = make_model("image", "gmm")
    data, _ = make_data("image")
    before = snapshot(model)
    fit(model, data, TRAIN, VALID, replace(SETTINGS, kl_weight=0.0))
    moved = changed(before, snapshot(model))
    assert not any(name.startswith("prior.") for name in moved)


# ------------------------------------------------------------------------------------ batches


def test_batches_are_fresh_orders_of_the_training_rows(monkeypatch):
    """Five batches of 20 distinct training rows an epoch; never a validation row; new orders."""
    data, _ = make_data("image")
    model = make_model("image", "normal")
    steps: list[Tensor] = []
    step = vmm.training.steps.variational_step
    monkeypatch.setattr(
        vmm.training.steps,
        "variational_step",
        lambda model, optimizer, batch, *rest: (
            steps.append(batch.clone()) or step(model, optimizer, batch, *rest)
        ),
    )
    train = np.random.default_rng(1).permutation(120)[:107]
    fit(model, data, train, np.setdiff1d(np.arange(120), train), replace(SETTINGS, max_epochs=3))
    pixels = data.batch(torch.arange(120))
    rows = [[int((pixels == x).all(1).nonzero()) for x in batch] for batch in steps]
    assert [len(r) for r in rows] == [20] * 15
    epochs = [[i for batch in rows[start : start + 5] for i in batch] for start in (0, 5, 10)]
    for epoch in epochs:
        assert len(set(epoch)) == 100 and set(epoch) <= set(train.tolist())
    assert epochs[0] != epochs[1] != epochs[2]
    assert set(epochs[0]) != set(epochs[1]), "the rows left out change from epoch to epoch"


def test_a_batch_larger_than_the_data_is_all_the_data():
    _, result = run("cells", "vmm", replace(SETTINGS, batch_size=1024))
    assert result.status == "ok" and len(result.history) == 5


# ------------------------------------------------------------------------- EM on a known mixture


class FixedLatents(LatentVariableModel):
    """A model whose posterior is its input, to run step (3) alone on fixed z."""

    def __init__(self, spread: float):
        super().__init__()
        self.latent_dim, self.spread = 2, spread

    def posterior(self, batch, training=False, noise=None):
        return DiagonalNormal(batch, torch.full_like(batch, 1e-6))

    def encode_pseudo_inputs(self, pseudo_inputs):
        return DiagonalNormal(pseudo_inputs, torch.full_like(pseudo_inputs, self.spread))


@pytest.mark.parametrize("responsibility_gradient", [False, True])
@pytest.mark.parametrize("name", MIXTURES)
def test_em_recovers_a_known_mixture(name, responsibility_gradient):
    """Three separated components out of K = 10: assignments, and the posterior modes by hand.

    With n_j points of (weighted) mean x̄_j and scatter C_j about m_j, the stationary points are
    m_j = (n_j Λ_j + I)⁻¹ n_j Λ_j x̄_j, Λ_j⁻¹ = (C_j + n_j S_j + I/s) / (n_j + 1) with
    s = K^{1/p}/(p+2), and π_j ∝ n_j + α/K − 1. They hold where q(c) is held; a gradient through
    q(c) moves them little, as the components are far apart.
    """
    generator = torch.Generator().manual_seed(4)
    centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    labels = torch.tensor([0] * 500 + [1] * 300 + [2] * 200)
    z = centres[labels] + 0.15 * torch.randn(1000, 2, generator=generator)
    k, p, spread = 10, 2, 0.05 if name == "vmm" else 0.0
    u = z[torch.randperm(1000, generator=generator)[:k]]
    model = FixedLatents(spread)
    model.prior = prior = make_prior(
        name, p, k, u, generator, responsibility_gradient=responsibility_gradient
    )
    optimizer = torch.optim.Adam(prior.empirical_bayes_parameters(), lr=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1200)
    for _ in range(1200):
        prior_step(model, optimizer, z, torch.zeros_like(z))
        schedule.step()

    with torch.no_grad():
        log_probs = prior.cluster_log_probs(z, model.encode_pseudo_inputs)
        clusters = log_probs.argmax(-1)
        used = [int(clusters[labels == j].mode().values) for j in range(3)]
        assert len(set(used)) == 3
        assert torch.equal(clusters, torch.tensor(used)[labels]), "every point with its like"

        lower = prior.precision_cholesky().double()
        precision = (lower @ lower.mT)[used]
        location = (prior.means if name == "gmm" else prior.pseudo_inputs)[used].double()
        weights = log_probs.exp().double()[:, used]
        sizes = weights.sum(0)
        points, eye = z.double(), torch.eye(2, dtype=torch.float64)
        loose = 5.0 if responsibility_gradient else 1.0
        for j in range(3):
            shrunk = sizes[j] * precision[j]
            average = (weights[:, j] @ points) / sizes[j]
            expected = torch.linalg.solve(shrunk + eye, shrunk @ average)
            torch.testing.assert_close(location[j], expected, rtol=0, atol=1e-3 * loose)
            residual = points - location[j]
            scatter = residual.T @ (weights[:, [j]] * residual) + sizes[j] * spread**2 * eye
            expected = (scatter + eye * (p + 2) / k ** (1 / p)) / (sizes[j] + 1)
            covariance = torch.linalg.inv(precision[j])
            torch.testing.assert_close(covariance, expected, rtol=0.01 * loose, atol=2e-4 * loose)
        ratio = prior.log_weights()[used].softmax(0).double()
        sizes = sizes + float(prior.concentration()) / k - 1
        # Coarser: the empty components' logits fall for ever, and drag on the others' meanwhile.
        torch.testing.assert_close(ratio, sizes / sizes.sum(), rtol=0, atol=8e-3)


# ------------------------------------------------------------------------------ reproducibility


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_output(kind, prior):
    """To the bit, whatever the global generators hold; and they are left as they were."""
    torch.manual_seed(1)
    np.random.seed(1)
    first, result = run(kind, prior)
    torch.manual_seed(2)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    second, again = run(kind, prior)
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()
    assert_same(snapshot(first), snapshot(second))
    assert without_seconds(result) == without_seconds(again)


def test_another_seed_is_another_training():
    first, _ = run("image", "vmm")
    second, _ = run("image", "vmm", replace(SETTINGS, seed=1))
    assert changed(snapshot(first), snapshot(second)) == set(snapshot(first))


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", [*KINDS, "informed"])
def test_resumed_is_uninterrupted(kind, prior, tmp_path):
    """Killed in epochs 3 and 4 of 6: weights, history and best epoch to the bit."""
    settings = replace(SETTINGS, max_epochs=6)
    whole, expected = run(kind, prior, settings)
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    epochs: list[int] = []
    for last in (3, 4):
        with pytest.raises(Killed):
            run(kind, prior, settings, progress=killer(last), **options)
    model, result = run(
        kind, prior, settings, progress=lambda row: epochs.append(row["epoch"]), **options
    )
    assert epochs == [4, 5, 6], "resumed, not started anew"
    assert_same(snapshot(model), snapshot(whole))
    assert without_seconds(result) == without_seconds(expected)
    assert (result.status, result.best_epoch) == (expected.status, expected.best_epoch)


SCRIPT = """
import os, signal, sys
from pathlib import Path
import trainings as t

def progress(row):
    if row["epoch"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)

t.run("cells", "vmm", checkpoint=Path(sys.argv[1]), checkpoint_seconds=0.0, progress=progress)
"""


def test_a_killed_process_resumes(tmp_path):
    """A real SIGKILL, and the rest in another process: the result of an uninterrupted run."""
    checkpoint = tmp_path / "checkpoint.pt"
    paths = [str(Path(trainings.__file__).parent), str(Path(vmm.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(checkpoint)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert checkpoint.exists()
    epochs: list[int] = []
    model, result = run(
        "cells",
        "vmm",
        checkpoint=checkpoint,
        checkpoint_seconds=0.0,
        progress=lambda row: epochs.append(row["epoch"]),
    )
    assert epochs == [3, 4, 5]
    whole, expected = run("cells", "vmm")
    assert_same(snapshot(model), snapshot(whole))
    assert without_seconds(result) == without_seconds(expected)


def test_the_best_state_survives_a_kill(tmp_path):
    """The best epoch lies before the kill: a resumed training must still restore its state."""
    settings = OVERFITTING
    states, whole, expected = run_overfitting(settings)
    assert expected.best_epoch < len(expected.history) - 2
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    with pytest.raises(Killed):
        run_overfitting(settings, progress=killer(expected.best_epoch + 2), **options)
    _, model, result = run_overfitting(settings, **options)
    assert result.best_epoch == expected.best_epoch
    assert_same(snapshot(model), states[expected.best_epoch])
    assert_same(snapshot(model), snapshot(whole))


def test_a_clock_that_runs_backwards_delays_no_checkpoint(tmp_path, monkeypatch):
    """Only a clock that cannot be set tells when the next one is due."""
    steps = itertools.count()
    monkeypatch.setattr(time, "time", lambda: -60.0 * next(steps))
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run("image", "gmm", checkpoint=checkpoint, checkpoint_seconds=0.0, progress=killer(3))
    epochs: list[int] = []
    _, result = run(
        "image", "gmm", checkpoint=checkpoint, progress=lambda row: epochs.append(row["epoch"])
    )
    assert epochs[0] == 3
    assert all(row["seconds"] > 0 for row in result.history)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", "truncated", "flipped"])
def test_a_broken_checkpoint_is_not_used(content, tmp_path):
    """Training says so and starts anew."""
    checkpoint = tmp_path / "checkpoint.pt"
    if isinstance(content, str):
        with pytest.raises(Killed):
            run("image", "gmm", checkpoint=checkpoint, checkpoint_seconds=0.0, progress=killer(3))
        saved = bytearray(checkpoint.read_bytes())
        if content == "truncated":
            content = saved[:-200]
        else:  # a bit of a tensor, which torch does not notice
            with zipfile.ZipFile(checkpoint) as file:
                tensors = [info for info in file.infolist() if "/data/" in info.filename]
                member = max(tensors, key=lambda info: info.file_size)
            saved[member.header_offset + 200] ^= 1
            torch.load(BytesIO(saved), weights_only=True)
            content = saved
    checkpoint.write_bytes(content)
    with pytest.warns(UserWarning, match="checkpoint"):
        model, result = run("image", "gmm", checkpoint=checkpoint)
    whole, expected = run("image", "gmm")
    assert_same(snapshot(model), snapshot(whole))
    assert without_seconds(result) == without_seconds(expected)


def test_a_checkpoint_of_other_covariates_is_not_used(tmp_path):
    """The same cells, whose ages have changed places."""
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run("informed", "vmm", checkpoint=checkpoint, checkpoint_seconds=0.0, progress=killer(3))
    data, labels = make_data("informed")
    data._continuous[0] = data._continuous[0].flip(0)
    with pytest.warns(UserWarning, match="another training"):
        fit(make_model("informed", "vmm"), data, TRAIN, VALID, SETTINGS, labels, checkpoint)


@pytest.mark.parametrize(
    ("prior", "switch"),
    [
        ("gmm", {"wishart_scale": "published_code"}),
        ("vmm", {"dirichlet_process": False}),
        ("vmm", {"responsibility_gradient": False}),
        ("vampprior", {"train_pseudo_inputs": False}),
        ("normal", {"log_counts": False}),
    ],
)
def test_a_checkpoint_of_other_switches_is_not_used(prior, switch, tmp_path):
    """Its parameters have the same shapes and started from the same values."""
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run("cells", prior, checkpoint=checkpoint, checkpoint_seconds=0.0, progress=killer(3))

    def switched():
        if "log_counts" not in switch:
            return make_model("cells", prior, **switch)
        model = make_model("cells", prior)
        model.log_counts = False
        return model

    data, labels = make_data("cells")
    model, alone = switched(), switched()
    with pytest.warns(UserWarning, match="another training"):
        fit(model, data, TRAIN, VALID, SETTINGS, labels, checkpoint=checkpoint)
    fit(alone, data, TRAIN, VALID, SETTINGS, labels)
    assert_same(snapshot(model), snapshot(alone))


@pytest.mark.parametrize("older", ["no switches", "one switch less"])
def test_a_checkpoint_from_before_a_switch_is_used(older, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run("cells", "vmm", checkpoint=checkpoint, checkpoint_seconds=0.0, progress=killer(3))
    saved = torch.load(checkpoint, weights_only=True)
    if older == "no switches":
        del saved["fingerprint"][0]["switches"]
    else:
        del saved["fingerprint"][0]["switches"]["prior.dirichlet_process"]
    torch.save(saved, checkpoint)
    epochs: list[int] = []
    model, _ = run(
        "cells", "vmm", checkpoint=checkpoint, progress=lambda row: epochs.append(row["epoch"])
    )
    assert epochs == [3, 4, 5]
    assert_same(snapshot(model), snapshot(run("cells", "vmm")[0]))


def test_a_checkpoint_does_not_ask_for_a_graph(tmp_path):
    """Whose steps are the same: a user may try one in the middle of a training."""
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run("cells", "vmm", checkpoint=checkpoint, checkpoint_seconds=0.0, progress=killer(3))
    epochs: list[int] = []
    settings = replace(SETTINGS, cuda_graph=True)
    model, _ = run(
        "cells",
        "vmm",
        settings,
        checkpoint=checkpoint,
        progress=lambda row: epochs.append(row["epoch"]),
    )
    assert epochs == [3, 4, 5]
    assert_same(snapshot(model), snapshot(run("cells", "vmm")[0]))


def test_a_checkpoint_of_another_kind_of_device_is_not_used(tmp_path):
    """Its generator is one that this device does not have."""
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run("cells", "vmm", checkpoint=checkpoint, checkpoint_seconds=0.0, progress=killer(3))
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["fingerprint"][0]["device"] == "cpu"
    saved["fingerprint"][0]["device"] = "cuda"
    saved["trainings"][0]["generator"] = torch.zeros(16, dtype=torch.uint8)
    torch.save(saved, checkpoint)
    with pytest.warns(UserWarning, match="it was written on cuda, and this is cpu"):
        model, _ = run("cells", "vmm", checkpoint=checkpoint)
    assert_same(snapshot(model), snapshot(run("cells", "vmm")[0]))


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 3e-3}, {"batch_size": 25}])
def test_a_checkpoint_of_another_training_is_not_used(change, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        run("image", "gmm", checkpoint=checkpoint, checkpoint_seconds=0.0, progress=killer(3))
    settings = replace(SETTINGS, **change)
    with pytest.warns(UserWarning, match="another training"):
        model, _ = run("image", "gmm", settings, checkpoint=checkpoint)
    assert_same(snapshot(model), snapshot(run("image", "gmm", settings)[0]))


# ------------------------------------------------------------------------------- early stopping

OVERFITTING = Settings(learning_rate=2e-2, batch_size=5, max_epochs=120, patience=15)


def run_overfitting(settings: Settings, progress=None, **options):
    """Train on ten noisy images, which a VAE soon knows by heart; keep every epoch's state."""
    rng = np.random.default_rng(2)
    data = ImageTensors(rng.uniform(-1, 1, (20, 12)).astype(np.float32))
    model = make_model("image", "normal")
    states = {}

    def keep(row):
        states[row["epoch"]] = snapshot(model)
        if progress is not None:
            progress(row)

    result = fit(model, data, np.arange(10), np.arange(10, 20), settings, progress=keep, **options)
    return states, model, result


def test_early_stopping_restores_the_best_state():
    states, model, result = run_overfitting(OVERFITTING)
    scores = [row["valid_elbo"] for row in result.history]
    assert result.best_epoch == int(np.argmax(scores)) + 1
    assert len(result.history) == result.best_epoch + OVERFITTING.patience < 120
    assert_same(snapshot(model), states[result.best_epoch])
    assert changed(snapshot(model), states[len(result.history)]), "the last state is another"
    assert [row["epoch"] for row in result.history] == list(range(1, len(scores) + 1))


def test_without_patience_all_epochs_run_and_the_best_is_restored():
    states, model, result = run_overfitting(replace(OVERFITTING, patience=None, max_epochs=100))
    assert len(result.history) == 100
    assert_same(snapshot(model), states[result.best_epoch])
    assert result.best_epoch < 100


@pytest.mark.parametrize("prior", ["vampprior", "gmm", "vmm"])
def test_stopping_on_unmerged_nmi(prior):
    from sklearn.metrics import normalized_mutual_info_score

    settings = replace(SETTINGS, max_epochs=15, monitor="unmerged_nmi")
    model, result = run("image", prior, settings)
    data, labels = make_data("image")
    scores = [row["valid_unmerged_nmi"] for row in result.history]
    assert all(0 <= score <= 1 for score in scores)
    assert result.best_epoch == int(np.argmax(scores)) + 1
    _, clusters = evaluate(model, data, VALID, seed=settings.seed + 1)
    score = normalized_mutual_info_score(labels[VALID], clusters, average_method="arithmetic")
    assert score == pytest.approx(max(scores), abs=1e-12)
    best = result.history[result.best_epoch - 1]
    assert best["utilized_clusters"] == len(np.unique(clusters))


def test_history_has_the_contracts_columns():
    _, result = run("cells", "vmm")
    expected = {"epoch", "train_elbo", "valid_elbo", "utilized_clusters", "seconds"}
    assert all(set(row) == expected for row in result.history)
    assert all(row["seconds"] > 0 for row in result.history)
    assert result.history[-1]["train_elbo"] > result.history[0]["train_elbo"]


# ----------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_huge_rate_diverges_and_says_so(kind, prior):
    model, result = run(kind, prior, replace(SETTINGS, learning_rate=1e20, max_epochs=50))
    assert result.status == "diverged"
    assert finite(model)
    assert len(result.history) < 50
    assert result.best_epoch == len(result.history) - 1, "the last finite state's epoch"


def test_nan_in_the_data_diverges():
    data, _ = make_data("image")
    pixels = data.batch(torch.arange(120)).numpy().copy()
    pixels[7, 3] = np.nan
    model = make_model("image", "vmm")
    start = snapshot(model)
    result = fit(model, ImageTensors(pixels), TRAIN, VALID, SETTINGS)
    assert result.status == "diverged"
    assert len(result.history) == 1
    assert_same(snapshot(model), start)


def test_divergence_keeps_the_last_finite_state():
    data, _ = make_data("image")
    model, twin = make_model("image", "vmm"), make_model("image", "vmm")
    result = fit(model, data, TRAIN, VALID, SETTINGS, progress=poison(model, 3))
    assert (result.status, len(result.history), result.best_epoch) == ("diverged", 4, 3)
    states = {}
    fit(
        twin,
        data,
        TRAIN,
        VALID,
        SETTINGS,
        progress=lambda row: states.__setitem__(row["epoch"], snapshot(twin)),
    )
    assert_same(snapshot(model), states[3])


def test_a_job_killed_after_it_diverged_comes_to_the_same_end(tmp_path):
    """The checkpoint that a diverged training leaves must not pass NaN for a finite state."""
    settings = replace(SETTINGS, learning_rate=1e20, max_epochs=50)
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    whole, expected = run("image", "vmm", settings, **options)
    model, result = run("image", "vmm", settings, **options)
    assert (expected.status, result.status) == ("diverged", "diverged")
    assert finite(whole) and finite(model)
    assert_same(snapshot(model), snapshot(whole))
    assert [row["epoch"] for row in result.history] == [row["epoch"] for row in expected.history]


# ------------------------------------------------------------------------------- wrong requests


@pytest.mark.parametrize(
    ("prior", "settings", "labels", "message"),
    [
        ("normal", replace(SETTINGS, monitor="unmerged_nmi"), True, "clusters"),
        ("gmm", replace(SETTINGS, monitor="unmerged_nmi"), False, "labels"),
        ("gmm", replace(SETTINGS, monitor="nmi"), True, "nmi"),
    ],
)
def test_monitors_that_cannot_be(prior, settings, labels, message):
    data, truth = make_data("image")
    with pytest.raises(InputError, match=message):
        model = make_model("image", prior)
        fit(model, data, TRAIN, VALID, settings, labels=truth if labels else None)


@pytest.mark.parametrize(("train", "valid"), [([], [1]), ([0], [1]), ([0, 1], [])])
def test_nothing_to_train_or_validate_on(train, valid):
    data, _ = make_data("image")
    with pytest.raises(InputError, match="split"):
        fit(
            make_model("image", "gmm"),
            data,
            np.array(train, dtype=int),
            np.array(valid, dtype=int),
            SETTINGS,
        )


# ---------------------------------------------------------------------------------- embeddings


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_embedding_and_cluster_probabilities(kind, prior, monkeypatch):
    """Means of q in rows of the data; clusters of a sample for images, of the mean for cells."""
    model, _ = run(kind, prior)
    data, _ = make_data(kind)
    model.train()
    before = snapshot(model)
    embedding, probs = embed(model, data, seed=3)
    assert_same(snapshot(model), before)
    with torch.no_grad():
        q = model.posterior(data.batch(torch.arange(len(data))))
        np.testing.assert_allclose(embedding, q.mean, rtol=1e-5, atol=1e-6)
    assert embedding.dtype == np.float32
    monkeypatch.setattr(vmm.training.embedding, "EVALUATION_ROWS", 7)
    np.testing.assert_allclose(embed(model, data)[0], embedding, rtol=1e-4, atol=1e-5)
    if prior == "normal":
        assert probs is None
        return
    assert probs.shape == (len(data), K) and probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
    with torch.no_grad():
        of_mean = model.prior.cluster_log_probs(q.mean, model.encode_pseudo_inputs).exp()
    by_mean = embed(model, data, seed=3, sample=False)[1]
    np.testing.assert_allclose(by_mean, of_mean, rtol=1e-3, atol=1e-5)
    assert (abs(probs - by_mean).max() > 1e-4) == (kind == "image")


def test_evaluation_is_the_mean_elbo_in_evaluation_mode():
    model, _ = run("cells", "vmm")
    data, _ = make_data("cells")
    before = snapshot(model)
    value, clusters = evaluate(model, data, VALID, seed=5)
    assert_same(snapshot(model), before)
    batch = data.batch(torch.as_tensor(VALID))
    elbos = []
    for seed in range(200):
        noise = noise_for(model, len(VALID), seed)
        elbos.append(model.elbo(batch, noise).mean().item())
    assert value == pytest.approx(np.mean(elbos), abs=5 * np.std(elbos))
    assert evaluate(model, data, VALID, seed=5)[0] == value
    assert clusters.shape == (len(VALID),)
