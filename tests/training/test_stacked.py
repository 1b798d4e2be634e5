"""Trials trained at once: each comes to what it would alone, whoever else is in the stack."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from dispatch import Tape, observed
from trainings import (
    KINDS,
    PRIORS,
    SETTINGS,
    Killed,
    assert_same,
    changed,
    data_of,
    finite,
    killer,
    make_data,
    make_model,
    poison,
    snapshot,
    without_seconds,
)

import vmm.numerics.counts
import vmm.training.stacked
from vmm.errors import InputError
from vmm.models.count_vae import CountVAE
from vmm.models.tensors import CellTensors
from vmm.priors import make_prior
from vmm.training.cuda_graph import WARM_UP, CapturedStep
from vmm.training.loop import Trainer, fit
from vmm.training.settings import Settings
from vmm.training.stacked import Stack, fit_stacked

T = 3


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def splits() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a split of the 120 rows for each trial."""
    orders = [np.random.default_rng(trial).permutation(120) for trial in range(T)]
    return [(order[:100], order[100:]) for order in orders]


def models(kind: str, prior: str, **options) -> list:
    dtype = torch.get_default_dtype()
    return [make_model(kind, prior, seed=trial, **options).to(dtype) for trial in range(T)]


def settings_of(settings: Settings) -> list[Settings]:
    return [replace(settings, seed=trial) for trial in range(T)]


def one_by_one(kind: str, prior: str, settings: Settings, progress=(None,) * T, **options):
    trained, (data, labels) = models(kind, prior, **options), data_of(kind)
    each = zip(trained, splits(), settings_of(settings), progress, strict=True)
    results = [fit(m, data, *rows, own, labels, progress=show) for m, rows, own, show in each]
    return trained, results


def at_once(kind: str, prior: str, settings: Settings, **options):
    of_prior = ("train_pseudo_inputs", "dirichlet_process")
    model_options = {key: options.pop(key) for key in of_prior if key in options}
    trained, (data, labels) = models(kind, prior, **model_options), data_of(kind)
    given = (trained, data, splits(), settings_of(settings), labels)
    return trained, fit_stacked(*given, **options)


def assert_alike(ours, others, rtol: float) -> None:
    """Assert that models and results are equal up to `rtol`."""
    for model, other, result, expected in zip(ours[0], others[0], ours[1], others[1], strict=True):
        assert (result.status, result.best_epoch) == (expected.status, expected.best_epoch)
        rows, wanted = without_seconds(result), without_seconds(expected)
        assert [row.keys() for row in rows] == [row.keys() for row in wanted]
        for row, want in zip(rows, wanted, strict=True):
            np.testing.assert_allclose(list(row.values()), list(want.values()), rtol=rtol)
        state, want = snapshot(model), snapshot(other)
        assert state.keys() == want.keys()
        for name in state:
            torch.testing.assert_close(state[name], want[name], rtol=rtol, atol=rtol)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_at_once_is_one_by_one(kind, prior, double):
    """Histories, best epochs and weights, in double precision: the same numbers are drawn."""
    ours, others = at_once(kind, prior, SETTINGS), one_by_one(kind, prior, SETTINGS)
    assert_alike(ours, others, rtol=1e-9)
    first, second = (result.history[-1]["valid_elbo"] for result in ours[1][:2])
    assert abs(first - second) > 1e-3, "the trials differ"


@pytest.mark.parametrize("prior", PRIORS)
def test_at_once_is_one_by_one_with_covariates(prior, double):
    """Of two epochs: Adam makes steps of the rounding of biases before batch normalisation."""
    settings = replace(SETTINGS, max_epochs=2)
    ours, others = (train("informed", prior, settings) for train in (at_once, one_by_one))
    assert_alike(ours, others, rtol=1e-9)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind, prior):
    """With a large epsilon: else Adam's steps do not shrink with gradients that are rounding."""
    settings = replace(SETTINGS, epsilon=0.1)
    assert_alike(at_once(kind, prior, settings), one_by_one(kind, prior, settings), rtol=1e-4)


@pytest.mark.parametrize("monitor", ["elbo", "unmerged_nmi"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_stops_by_itself_and_leaves(kind, monitor, double, monkeypatch):
    """Steps are taken only for those that train: after k epochs, for all that last longer."""
    sizes = []
    step = vmm.training.stacked.take_step

    def counted(model, optimizers, batch, noise, kl_weight):
        sizes.append(len(noise["latent"]))
        return step(model, optimizers, batch, noise, kl_weight)

    monkeypatch.setattr(vmm.training.stacked, "take_step", counted)
    settings = replace(SETTINGS, learning_rate=0.05, max_epochs=40, patience=1, monitor=monitor)
    ours, others = at_once(kind, "vmm", settings), one_by_one(kind, "vmm", settings)
    assert_alike(ours, others, rtol=1e-6)
    epochs = [len(result.history) for result in ours[1]]
    assert len(set(epochs)) > 1 and max(epochs) < 40
    lasting = [sum(last > epoch for last in epochs) for epoch in range(max(epochs))]
    assert sizes == [n for n in lasting if n > 1 for _ in range(5)], "the last one trains alone"


def test_untrained_pseudo_inputs_stay(double):
    options = {"train_pseudo_inputs": False}
    ours = at_once("cells", "vampprior", SETTINGS, **options)
    start = models("cells", "vampprior", **options)
    for model, before in zip(ours[0], start, strict=True):
        assert torch.equal(model.prior.pseudo_inputs, before.prior.pseudo_inputs)
    assert_alike(ours, one_by_one("cells", "vampprior", SETTINGS, **options), rtol=1e-8)


@pytest.mark.parametrize("prior", ["gmm", "vmm"])
def test_without_a_dirichlet_process(prior, double):
    options = {"dirichlet_process": False}
    ours = at_once("cells", prior, SETTINGS, **options)
    assert_alike(ours, one_by_one("cells", prior, SETTINGS, **options), rtol=1e-8)
    start = models("cells", prior)[0].prior.concentration_raw
    assert all(torch.equal(model.prior.concentration_raw, start) for model in ours[0])


def test_without_kl_weight(double):
    """VaDE's pre-training."""
    settings = replace(SETTINGS, kl_weight=0.0, monitor="none")
    assert_alike(at_once("image", "vade", settings), one_by_one("image", "vade", settings), 1e-9)


def test_lower_precision(monkeypatch):
    """The setting reaches the stacked layers: their products are those of single trainings."""
    settings = replace(SETTINGS, max_epochs=1, learning_rate=1e-4, precision="bf16")
    ours, others = (train("cells", "vmm", settings) for train in (at_once, one_by_one))
    full = at_once("cells", "vmm", replace(settings, precision="float32"))
    for result, expected, other in zip(ours[1], others[1], full[1], strict=True):
        (row,), (want,), (float32,) = result.history, expected.history, other.history
        assert row["train_elbo"] == pytest.approx(want["train_elbo"], rel=1e-4)
        assert row["train_elbo"] != pytest.approx(float32["train_elbo"], rel=1e-6)


def poisons(trained: list, trial: int, at_epoch: int) -> list:
    """Return the progress of each trial; that of one makes its weights NaN after an epoch."""
    shown = [lambda row: None] * len(trained)
    shown[trial] = poison(trained[trial], at_epoch)
    return shown


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_diverges_harms_no_other(kind, double):
    trained, (data, labels) = models(kind, "vmm"), data_of(kind)
    given = (trained, data, splits(), settings_of(SETTINGS), labels)
    ours = trained, fit_stacked(*given, progress=poisons(trained, 1, 2))
    assert [result.status for result in ours[1]] == ["ok", "diverged", "ok"]
    assert [len(result.history) for result in ours[1]] == [5, 3, 5]
    assert ours[1][1].best_epoch == 2 and finite(trained[1])
    others = one_by_one(kind, "vmm", SETTINGS)
    sound = [[values[trial] for trial in (0, 2)] for values in ours]
    assert_alike(sound, [[values[trial] for trial in (0, 2)] for values in others], rtol=1e-9)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_resumed_is_uninterrupted(kind, prior, tmp_path):
    """Killed in epochs 3 and 4 of 6: weights, histories and best epochs to the bit."""
    settings = replace(SETTINGS, max_epochs=6)
    whole, expected = at_once(kind, prior, settings)
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    for last in (3, 4):
        with pytest.raises(Killed):
            at_once(kind, prior, settings, progress=[lambda row: None, killer(last)] * 2, **options)
    epochs: list[list[int]] = [[], [], []]
    shown = [lambda row, of=of: of.append(row["epoch"]) for of in epochs]
    trained, results = at_once(kind, prior, settings, progress=shown, **options)
    assert epochs == [[4, 5, 6]] * T, "resumed, not started anew"
    for model, other, result, other_result in zip(trained, whole, results, expected, strict=True):
        assert_same(snapshot(model), snapshot(other))
        assert without_seconds(result) == without_seconds(other_result)
        assert result.best_epoch == other_result.best_epoch


def test_resumed_where_one_is_over(tmp_path):
    """Killed in epoch 5, when one had diverged in epoch 3: that one stays as it was."""
    settings = replace(SETTINGS, max_epochs=6)
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}

    def train(show, **more):
        trained, (data, labels) = models("cells", "vmm"), data_of("cells")
        shown = [*poisons(trained, 1, 2)[:2], show]
        given = (trained, data, splits(), settings_of(settings), labels)
        return trained, fit_stacked(*given, progress=shown, **more)

    whole, expected = train(lambda row: None)
    with pytest.raises(Killed):
        train(killer(5), **options)
    epochs = []
    trained, results = train(lambda row: epochs.append(row["epoch"]), **options)
    assert epochs == [5, 6]
    assert [len(result.history) for result in results] == [6, 3, 6]
    assert [result.status for result in results] == ["ok", "diverged", "ok"]
    for model, other, result, other_result in zip(trained, whole, results, expected, strict=True):
        assert_same(snapshot(model), snapshot(other))
        # As texts: the diverged one has NaN, which equals nothing.
        assert repr(without_seconds(result)) == repr(without_seconds(other_result))


def test_a_checkpoint_of_other_trials_is_not_used(tmp_path):
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    with pytest.raises(Killed):
        at_once("image", "gmm", SETTINGS, progress=[killer(3)] * T, **options)
    model, (data, _) = models("image", "gmm")[0], make_data("image")
    with pytest.warns(UserWarning, match="another training"):
        fit(model, data, *splits()[0], settings_of(SETTINGS)[0], **options)


def test_models_have_memory_of_their_own(double):
    """Afterwards: else every file of weights would hold those of all trials."""
    trained, _ = at_once("cells", "vmm", SETTINGS)
    for model in trained:
        for name, value in model.state_dict().items():
            assert value.untyped_storage().nbytes() == value.nbytes, name
    assert all(changed(snapshot(trained[0]), snapshot(other)) for other in trained[1:])


def test_one_model_is_trained_alone():
    """To the bit."""
    (model, twin), (data, _) = (models("cells", "vmm")[0] for _ in range(2)), make_data("cells")
    (result,) = fit_stacked([model], data, splits()[:1], [SETTINGS])
    expected = fit(twin, data, *splits()[0], SETTINGS)
    assert without_seconds(result) == without_seconds(expected)
    assert_same(snapshot(model), snapshot(twin))


def test_a_graph_of_the_stack(monkeypatch):
    """Recorded once and replayed, the steps are those of a stack without a graph."""
    monkeypatch.setattr(
        vmm.numerics.counts, "_replace_found", vmm.numerics.counts._replace_everywhere
    )
    tapes: list[Tape] = []

    def on_tape(step, device):
        tapes.append(Tape())
        return CapturedStep(step, tapes[-1])

    expected = at_once("cells", "vmm", SETTINGS)
    monkeypatch.setattr(vmm.training.loop, "captured", on_tape)
    ours = at_once("cells", "vmm", replace(SETTINGS, cuda_graph=True))
    replays = [tape.replays for tape in tapes]
    assert replays[:-2] == [0] * 2 * T, "none trains or validates alone"
    assert replays[-2:] == [5 * SETTINGS.max_epochs - WARM_UP, SETTINGS.max_epochs - WARM_UP]
    for model, result, other, other_result in zip(*ours, *expected, strict=True):
        assert_same(snapshot(model), snapshot(other))
        assert without_seconds(result) == without_seconds(other_result)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_goes_when_another_is_made(kind, prior, monkeypatch):
    """Parameters, moments and graph are freed at once: none is left when the next is recorded."""
    monkeypatch.setattr(
        vmm.numerics.counts, "_replace_found", vmm.numerics.counts._replace_everywhere
    )
    made = []

    def on_tape(step, device):
        captured = CapturedStep(step, Tape())
        made.append([weakref.ref(captured), weakref.ref(captured.recorder)])
        return captured

    monkeypatch.setattr(vmm.training.loop, "captured", on_tape)
    settings, (data, _) = settings_of(replace(SETTINGS, cuda_graph=True)), data_of(kind)
    trainers = [
        Trainer(model, data, *split, own)
        for model, split, own in zip(models(kind, prior), splits(), settings, strict=True)
    ]
    together = vmm.training.stacked._Together()
    made.clear()
    gc.collect()
    gc.disable()
    try:
        together.train(trainers)
        old = [weakref.ref(together.stack), weakref.ref(together.stack.model), *made[0], *made[1]]
        assert len(made) == 2 and None not in [what() for what in old]
        together.train(trainers[:2])
        assert [what() for what in old] == [None] * 6
        trainer = weakref.ref(trainers.pop())
        assert trainer() is None
        together.part()
        assert [what() for step in made[2:] for what in step] == [None] * 4
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("change", "what"),
    [("settings", "settings"), ("split", "training rows"), ("model", "parameters")],
)
def test_trainings_that_are_not_alike(change, what):
    data, _ = make_data("image")
    rows, own, trained = splits(), settings_of(SETTINGS), models("image", "vmm")
    if change == "settings":
        own[2] = replace(own[2], learning_rate=0.5)
    elif change == "split":
        rows[2] = (rows[2][0][:-1], rows[2][1])
    else:
        trained[2] = make_model("image", "gmm")
    with pytest.raises(InputError, match=f"training 2 .* differs .* its .*{what}; train it"):
        fit_stacked(trained, data, rows, own)


def of_real_size(prior: str, n_trials: int = 10) -> list[Trainer]:
    """Return scVI trainings of 3 005 × 558 counts in batches of 128 (the cortex data's size)."""
    rng = np.random.default_rng(0)
    data = CellTensors(rng.poisson(0.4, (3005, 558)), np.zeros(3005, dtype=int), 1)
    trainers = []
    for trial in range(n_trials):
        generator = torch.Generator().manual_seed(trial)
        model = CountVAE(558, 1, 10, 1, 128, "zinb", generator=generator)
        order = np.random.default_rng(trial).permutation(3005)
        u = model.initial_pseudo_inputs(data.batch(torch.as_tensor(order[:100])))
        model.prior = make_prior(prior, 10, 100, u, generator)
        settings = Settings(4e-4, 128, 1, prior_learning_ratio=5.0, seed=trial)
        trainers.append(Trainer(model, data, order[:2704], order[2704:], settings))
    return trainers


def operators(trainer: Trainer | Stack) -> float:
    """Return how many operators one step of an epoch takes, the drawing of its noise included."""
    trainer.step(*next(trainer.draws()))
    with observed() as seen:
        results = [trainer.step(*drawn) for drawn in trainer.draws()]
    return len(seen.all) / len(results)


def operators_of(function) -> int:
    with observed() as seen:
        function()
    return len(seen.all)


@pytest.mark.parametrize("prior", ["normal", "vmm"])
def test_operators_of_validation(prior):
    """Of ten trials at once at most a quarter of what ten take alone."""
    trainers = of_real_size(prior)
    alone, together = operators_of(trainers[0].validate), operators_of(Stack(trainers).validate)
    assert 0 < together / len(trainers) <= alone / 4


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_validation_rows_may_differ(kind, double):
    """They are then validated one by one."""
    (data, labels), rows = data_of(kind), splits()
    rows[1] = (rows[1][0], rows[1][1][:-3])
    together, alone = models(kind, "vmm"), models(kind, "vmm")
    settings = settings_of(SETTINGS)
    ours = together, fit_stacked(together, data, rows, settings, labels)
    each = zip(alone, rows, settings, strict=True)
    others = alone, [fit(model, data, *own, s, labels) for model, own, s in each]
    assert_alike(ours, others, rtol=1e-9)


@pytest.mark.parametrize("prior", ["normal", "vmm"])
def test_operators_per_trial_and_step(prior):
    """Ten trials at once take at most a seventh of what each takes alone (the target is VMM's)."""
    trainers = of_real_size(prior)
    alone, together = operators(trainers[0]), operators(Stack(trainers))
    assert 0 < together / len(trainers) <= alone / 7
