"""Components that no point uses sleep: nothing else changes, and they wake when they are wanted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dispatch import Tape, observed
from trainings import (
    KINDS,
    MIXTURES,
    SETTINGS,
    TRAIN,
    VALID,
    K,
    Killed,
    assert_same,
    data_of,
    killer,
    make_data,
    make_model,
    run,
    snapshot,
    without_seconds,
)

import vmm.numerics.counts
import vmm.training.loop
from vmm.errors import InputError
from vmm.training.cuda_graph import CapturedStep
from vmm.training.loop import Trainer, fit
from vmm.training.sleep import awake_next, wanted
from vmm.training.stacked import fit_stacked

SLEEPY = replace(SETTINGS, sleep_below=0.1, max_epochs=6)
UNUSED = [(1, 4), (0, 2, 3), (5,)]
"""Components without weight, in each of three trials."""


@pytest.fixture(autouse=True)
def looks_every_other_epoch(monkeypatch):
    monkeypatch.setattr(vmm.training.loop, "LOOK_EVERY", 2)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def sleepy(kind: str, prior: str, trial: int = 0, unused: tuple[int, ...] | None = None):
    """Return a model that has components which no point uses, and will not soon."""
    model = make_model(kind, prior, seed=trial).to(torch.get_default_dtype())
    with torch.no_grad():
        model.prior.weight_logits[list(UNUSED[trial] if unused is None else unused)] = -60.0
    return model


def trainer_of(kind: str, prior: str, settings=SLEEPY, trial: int = 0) -> Trainer:
    data, _ = make_data(kind)
    return Trainer(sleepy(kind, prior, trial), data, TRAIN, VALID, settings)


def epoch(trainer: Trainer) -> None:
    trainer.add(trainer.train(), trainer.validate(), 0.0)


def of_components(prior) -> dict[str, torch.Tensor]:
    """Return copies of the parameters with a row for each component, π apart."""
    return {
        name: value.detach().clone()
        for name, value in prior.named_parameters()
        if name not in ("weight_logits", "concentration_raw")
    }


@pytest.mark.parametrize("prior", MIXTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_they_keep_their_place_and_have_weights(kind, prior):
    """Places change of all that are awake, of no other; π of all K, and α."""
    trainer = trainer_of(kind, prior)
    for _ in range(2):
        epoch(trainer)
    assert trainer.awake.components == ()
    places, before = of_components(trainer.model.prior), snapshot(trainer.model)
    for _ in range(2):
        epoch(trainer)
    assert trainer.awake.components == (0, 2, 3, 5)
    now = of_components(trainer.model.prior)
    assert len(now) == 2
    for name, place in places.items():
        moved = (now[name] != place).flatten(1).any(1)
        assert moved.tolist() == [True, False, True, True, False, True], name
    logits = trainer.model.prior.weight_logits
    assert (logits != before["prior.weight_logits"]).all()
    assert logits[1] < -50 and logits[4] < -50
    assert trainer.model.prior.concentration_raw != before["prior.concentration_raw"]
    assert {name: v.shape for name, v in trainer.model.state_dict().items()} == {
        name: v.shape for name, v in before.items()
    }


@pytest.mark.parametrize("prior", MIXTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_they_do_not_do_changes_nothing(kind, prior, double):
    """Steps are those of a training that computes all, up to what π = 1e-27 weighs.

    In double precision; what the hyperprior does to places that no point uses has no part in it.
    """
    (data, labels), results, models = data_of(kind), [], []
    for below in (0.1, 0.0):
        # Adam's steps do not shrink with gradients that are rounding, but for a large epsilon.
        settings = replace(SLEEPY, sleep_below=below, epsilon=1e-3)
        models.append(sleepy(kind, prior))
        results.append(fit(models[-1], data, TRAIN, VALID, settings, labels))
    rows, expected = map(without_seconds, results)
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for row, other in zip(rows, expected, strict=True):
        np.testing.assert_allclose(list(row.values()), list(other.values()), rtol=1e-10)
    ours, others = map(snapshot, models)
    used = [0, 2, 3, 5]
    for name, value in ours.items():
        places = name.startswith("prior.") and len(value.shape) > 1
        pair = (value[used], others[name][used]) if places else (value, others[name])
        torch.testing.assert_close(*pair, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("prior", MIXTURES)
def test_only_those_awake_are_computed(prior, monkeypatch):
    """Pseudo-inputs through the encoder, forward and backward; rows that Adam is asked for."""
    trainer, seen = trainer_of("cells", prior), []
    encode = type(trainer.model).encode_pseudo_inputs

    def counted(model, pseudo_inputs):
        if torch.is_grad_enabled():
            seen.append(len(pseudo_inputs))
        return encode(model, pseudo_inputs)

    monkeypatch.setattr(type(trainer.model), "encode_pseudo_inputs", counted)
    for _ in range(3):
        epoch(trainer)
    steps = 2 * len(TRAIN) // SETTINGS.batch_size
    assert seen == ([K] * 2 * steps + [4] * steps if prior == "vmm" else [])
    fitted = trainer.awake.optimizers[1].param_groups[0]["params"]
    assert sorted(len(value) for value in fitted if value.dim()) == [4, 4, K]


def test_one_that_is_wanted_wakes_as_it_was():
    """With the moments that it had, which those of the others have not become."""
    trainer = trainer_of("cells", "vmm")
    for _ in range(3):
        epoch(trainer)
    u = trainer.model.prior.pseudo_inputs
    slept = trainer.optimizers[1].state[u]["exp_avg"].clone()
    epoch(trainer)
    with torch.no_grad():
        trainer.model.prior.weight_logits[4] = 1.0
    trainer.look()
    assert trainer.components == (0, 2, 3, 4, 5)
    trainer.narrow()
    moments = trainer.awake.optimizers[1].state[trainer.awake.model.prior.pseudo_inputs]["exp_avg"]
    assert torch.equal(moments[3], slept[4])
    assert (moments[[0, 1, 2, 4]] != slept[[0, 2, 3, 5]]).any(1).all()
    assert torch.equal(trainer.awake.model.prior.pseudo_inputs, u[[0, 2, 3, 4, 5]])


def test_who_is_wanted():
    data, _ = make_data("cells")
    model, rows = sleepy("cells", "vmm"), torch.as_tensor(TRAIN)
    assert wanted(model, data, rows, 0.1, seed=0) == (0, 2, 3, 5)
    with torch.no_grad():
        model.prior.weight_logits[:] = torch.tensor([0.0, -60, -60, -60, -60, -60])
    assert wanted(model, data, rows, 0.1, seed=0) == (0,)
    # One point of a hundred is not missed by an average.
    with torch.no_grad():
        model.prior.weight_logits.zero_()
    z = model.posterior(data.batch(rows)).mean
    found = model.prior.points_of_components(z, model.encode_pseudo_inputs)
    assert found.sum(1).tolist() == pytest.approx([100, 100])
    with torch.no_grad():
        model.prior.weight_logits.fill_(float("nan"))
    assert wanted(model, data, rows, 0.1, seed=0) == tuple(range(K))


def test_a_look_copies_once_and_waits_for_nothing_else(monkeypatch):
    monkeypatch.setattr(
        vmm.numerics.counts, "_replace_found", vmm.numerics.counts._replace_everywhere
    )
    trainer = trainer_of("cells", "vmm")
    for _ in range(4):
        epoch(trainer)
    with observed() as seen:
        trainer.look()
    assert len(seen.all) > 50 and seen.waiting == [] and seen.copying == ["tolist"]


def test_changes_are_worth_their_cost():
    """Who is wanted wakes at once; who is not sleeps with enough others."""
    ten = tuple(range(10))
    assert awake_next(ten, ten[:9]) == ten
    assert awake_next(ten, ten[:8]) == ten[:8]
    assert awake_next(ten[:8], (0, 1, 9)) == (0, 1, 9)
    assert awake_next(ten[:8], (*ten[:7], 9)) == (*ten[:7], 9)


@pytest.mark.parametrize("prior", MIXTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_resumed_is_uninterrupted(kind, prior, tmp_path):
    """Killed before and after a look, with components asleep: to the bit."""

    def train(progress=None, **options):
        data, labels = make_data(kind)
        model = sleepy(kind, prior)
        given = (model, data, TRAIN, VALID, SLEEPY, labels)
        return model, fit(*given, progress=progress, **options)

    expected, result = train()
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    for last in (3, 5, 6):
        with pytest.raises(Killed):
            train(killer(last), **options)
    model, resumed = train(**options)
    assert without_seconds(resumed) == without_seconds(result)
    assert_same(snapshot(model), snapshot(expected))


def splits():
    orders = [np.random.default_rng(trial).permutation(120) for trial in range(3)]
    return [(order[:100], order[100:]) for order in orders]


def at_once(kind: str, prior: str, unused=UNUSED, settings=SLEEPY, **options):
    data, labels = data_of(kind)
    models = [sleepy(kind, prior, trial, own) for trial, own in enumerate(unused)]
    own = [replace(settings, seed=trial) for trial in range(3)]
    if options.pop("alone", False):
        each = zip(models, splits(), own, strict=True)
        return models, [fit(m, data, *rows, s, labels) for m, rows, s in each]
    return models, fit_stacked(models, data, splits(), own, labels, **options)


@pytest.mark.parametrize("unused", [UNUSED, [(1, 4), (), (5,)]], ids=["all sleep", "one has none"])
@pytest.mark.parametrize("prior", MIXTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_at_once_is_one_by_one(kind, prior, unused, double):
    """The neediest sets the size; what others compute for it has no part in them."""
    ours, others = at_once(kind, prior, unused), at_once(kind, prior, unused, alone=True)
    for model, result, other, expected in zip(*ours, *others, strict=True):
        for row, want in zip(without_seconds(result), without_seconds(expected), strict=True):
            np.testing.assert_allclose(list(row.values()), list(want.values()), rtol=1e-9)
        for name, value in snapshot(model).items():
            torch.testing.assert_close(value, snapshot(other)[name], rtol=1e-8, atol=1e-8)
            assert value.untyped_storage().nbytes() == value.nbytes, name


@pytest.mark.parametrize("prior", MIXTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_resumed_is_uninterrupted(kind, prior, tmp_path):
    expected, results = at_once(kind, prior)
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    for last in (4, 6):
        with pytest.raises(Killed):
            at_once(kind, prior, progress=[killer(last)] * 3, **options)
    models, resumed = at_once(kind, prior, **options)
    for model, result, other, want in zip(models, resumed, expected, results, strict=True):
        assert without_seconds(result) == without_seconds(want)
        assert_same(snapshot(model), snapshot(other))


def test_one_that_stops_leaves_the_others_asleep(tmp_path):
    """And what is written then can be resumed from."""
    settings = replace(SLEEPY, max_epochs=14, patience=1, learning_rate=0.1)
    models, results = at_once("cells", "vmm", settings=settings)
    epochs = [len(result.history) for result in results]
    assert len(set(epochs)) > 1 and max(epochs) > 4
    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    last = epochs.index(max(epochs))
    shown = [killer(max(epochs)) if trial == last else lambda row: None for trial in range(3)]
    with pytest.raises(Killed):
        at_once("cells", "vmm", settings=settings, progress=shown, **options)
    again, resumed = at_once("cells", "vmm", settings=settings, **options)
    for model, result, other, want in zip(again, resumed, models, results, strict=True):
        assert without_seconds(result) == without_seconds(want)
        assert_same(snapshot(model), snapshot(other))


@pytest.mark.parametrize("stacked", [False, True])
def test_a_graph_is_recorded_anew(stacked, monkeypatch):
    """Once for all components and once for those awake, with the same result to the bit."""
    monkeypatch.setattr(
        vmm.numerics.counts, "_replace_found", vmm.numerics.counts._replace_everywhere
    )
    settings = replace(SLEEPY, cuda_graph=True)

    def train(settings):
        if stacked:
            return at_once("cells", "vmm", settings=settings)
        data, labels = make_data("cells")
        model = sleepy("cells", "vmm")
        return [model], [fit(model, data, TRAIN, VALID, settings, labels)]

    expected, results = train(SLEEPY)
    tapes = []

    def on_tape(step, device):
        tapes.append(Tape())
        return CapturedStep(step, tapes[-1])

    monkeypatch.setattr(vmm.training.loop, "captured", on_tape)
    models, captured = train(settings)
    # Steps before and after, and validation, for which two epochs before are too few.
    assert sum(tape.replays > 0 for tape in tapes) == 3
    for model, result, other, want in zip(models, captured, expected, results, strict=True):
        assert without_seconds(result) == without_seconds(want)
        assert_same(snapshot(model), snapshot(other))


@pytest.mark.parametrize("prior", ["normal", "vampprior", "vade"])
def test_without_empirical_bayes_none_sleeps(prior):
    """To the bit what it is without; VaDE is told how many components it has."""
    expected, history = run("image", prior)
    model, result = run("image", prior, replace(SETTINGS, sleep_below=0.5))
    assert without_seconds(result) == without_seconds(history)
    assert_same(snapshot(model), snapshot(expected))


@pytest.mark.parametrize("below", [-0.1, 1.0, float("nan")])
def test_what_is_no_part_of_a_point(below):
    with pytest.raises(InputError, match=r"sleep_below is .*; it must be a part of one point"):
        run("cells", "vmm", replace(SETTINGS, sleep_below=below))
