"""The captured step: recorded by a stand-in for CUDA graphs that runs on the CPU."""

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from dispatch import Tape, observed
from room import room_for
from trainings import (
    KINDS,
    PRIORS,
    SETTINGS,
    TRAIN,
    VALID,
    Killed,
    assert_same,
    killer,
    make_data,
    make_model,
    run,
    snapshot,
    without_seconds,
)

import vmm.numerics.counts
import vmm.training
import vmm.training.cuda_graph
from vmm.training.cuda_graph import WARM_UP, CapturedStep, CUDARecorder, captured


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Evaluate counts as on a GPU: with no search for those that are not 0."""
    monkeypatch.setattr(
        vmm.numerics.counts, "_replace_found", vmm.numerics.counts._replace_everywhere
    )


@pytest.fixture
def tapes(monkeypatch) -> list[Tape]:
    """Let trainings record on tapes; return these."""
    made: list[Tape] = []

    def on_tape(step, device):
        made.append(Tape())
        return CapturedStep(step, made[-1])

    monkeypatch.setattr(vmm.training.loop, "captured", on_tape)
    return made


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_replayed_training_is_the_training(kind, prior, tapes):
    """Weights, running statistics and history, to the bit; all but the first replayed.

    Steps, and validation.
    """
    expected, history = run(kind, prior, replace(SETTINGS, cuda_graph=False))
    model, result = run(kind, prior, replace(SETTINGS, cuda_graph=True))
    assert_same(snapshot(model), snapshot(expected))
    assert without_seconds(result) == without_seconds(history)
    steps = SETTINGS.max_epochs * (len(TRAIN) // SETTINGS.batch_size)
    assert [tape.replays for tape in tapes] == [steps - WARM_UP, SETTINGS.max_epochs - WARM_UP]


@pytest.mark.parametrize("kind", KINDS)
def test_less_precise_products_are_recorded_too(kind, tapes):
    settings = replace(SETTINGS, precision="bf16")
    expected, _ = run(kind, "vmm", replace(settings, cuda_graph=False))
    model, _ = run(kind, "vmm", settings)
    assert tapes[0].replays > 0
    assert_same(snapshot(model), snapshot(expected))


def test_a_resumed_training_records_anew(tapes, tmp_path):
    """Optimizers and statistics then lie elsewhere in memory."""
    settings = replace(SETTINGS, cuda_graph=True)
    expected, _ = run("cells", "vmm", settings)

    options = {"checkpoint": tmp_path / "checkpoint.pt", "checkpoint_seconds": 0.0}
    with pytest.raises(Killed):
        run("cells", "vmm", settings, progress=killer(3), **options)
    model, _ = run("cells", "vmm", settings, **options)
    assert len(tapes) == 3 * 2
    assert_same(snapshot(model), snapshot(expected))


@pytest.mark.parametrize("was_on", [True, False])
def test_no_garbage_is_collected_while_a_step_is_recorded(was_on):
    """A graph destroyed then would make the recording invalid; what lies about goes first."""

    class Node:
        pass

    node = Node()
    node.itself, gone = node, weakref.ref(node)
    del node
    seen = []

    class Recorder(Tape):
        def record(self, step):
            seen.append((gc.isenabled(), gone() is None))
            raise Killed

    step = CapturedStep(lambda rows: rows.sum(), Recorder())
    gc.enable() if was_on else gc.disable()
    try:
        for _ in range(WARM_UP):
            step(torch.ones(3))
        with pytest.raises(Killed):
            step(torch.ones(3))
        assert seen == [(False, True)]
        assert gc.isenabled() == was_on
    finally:
        gc.enable()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_goes_with_its_training(kind, prior, tapes):
    """Its memory is then free for the next model, without the help of the collector."""
    gc.collect()
    gc.disable()
    try:
        trained = run(kind, prior, replace(SETTINGS, cuda_graph=True))
        assert trained and all(tape.replays > 0 for tape in tapes)
        alive = [weakref.ref(tape) for tape in tapes]
        tapes.clear()
        assert [tape() for tape in alive] == [None] * 2
    finally:
        gc.enable()


def test_recording_changes_nothing_and_replays_read_new_values():
    state = torch.zeros(3)

    def step(rows, noise):
        state.add_(rows + noise["latent"])
        return state.sum()

    tape = Tape()
    replayed = CapturedStep(step, tape)
    seen = [float(replayed(torch.full((3,), i), {"latent": torch.ones(3)})) for i in range(6)]
    assert seen == [3, 9, 18, 30, 45, 63]
    assert tape.replays == 6 - WARM_UP


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x * float(x.sum()), "cannot be recorded"),
        (lambda x: x[x > 0], "cannot be recorded"),
        (lambda x: x + torch.randn(3), "draws numbers"),
    ],
)
def test_what_cannot_be_recorded_is_noticed(wrong, message):
    """The stand-in refuses what a CUDA graph refuses, or would silently freeze."""
    step = CapturedStep(lambda rows, noise: wrong(rows), Tape())
    for _ in range(WARM_UP):
        step(torch.ones(3), {})
    with pytest.raises(AssertionError, match=message):
        step(torch.ones(3), {})


def test_a_replayed_step_starts_few_operators(tapes):
    """Drawing noise and copying it: what Python still has to start, besides the replay."""
    counts = {}
    for graph in (False, True):
        data, _ = make_data("cells")
        settings = replace(SETTINGS, cuda_graph=graph)
        trainer = vmm.training.loop.Trainer(
            make_model("cells", "vmm"), data, TRAIN, VALID, settings, None
        )
        for _ in range(WARM_UP + 1):
            trainer.step(trainer.train_rows[:20], trainer.draw_noise(20))
        if graph:
            tapes[0].replay = trainer.step.replay = lambda: None
        with observed() as seen:
            trainer.step(trainer.train_rows[:20], trainer.draw_noise(20))
        counts[graph] = len(seen.all)
    assert counts[True] < 15
    assert counts[False] > 20 * counts[True]


def test_how_cuda_is_called(monkeypatch):
    """Warm-up and recording on one stream, which waits for the current one and is waited for."""
    calls = []

    class Stream:
        def __init__(self, device, name="side"):
            self.device, self.name = device, name

        def wait_stream(self, other):
            calls.append(f"{self.name} waits for {other.name}")

    class Graph:
        def replay(self):
            calls.append("replay")

    @contextmanager
    def on(stream):
        calls.append(f"on {stream.name} of {stream.device}")
        yield
        calls.append("off")

    @contextmanager
    def recording(graph, stream):
        calls.append(f"recording on {stream.name}")
        yield
        calls.append("recorded")

    fakes = {"Stream": Stream, "CUDAGraph": Graph, "graph": recording, "stream": on}
    fakes["current_stream"] = lambda device: Stream(device, "current")
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)

    def step(rows):
        calls.append("step")
        return rows.sum()

    replayed = captured(step, torch.device("cuda:1"))
    for _ in range(WARM_UP):
        assert float(replayed(torch.ones(2))) == 2
    around = ["side waits for current", "on side of cuda:1", "step", "off"]
    assert calls == [*around, "current waits for side"] * WARM_UP
    calls.clear()
    for _ in range(2):
        replayed(torch.ones(2))
    recorded = ["on side of cuda:1", "recording on side", "step", "recorded", "off"]
    assert calls == [*recorded, "replay", "replay"]


@pytest.mark.parametrize("at_its_end", [False, True])
def test_what_cuda_refuses_leaves_no_stream_behind(at_its_end, monkeypatch):
    """An operator that cannot be recorded makes the end of the recording fail too."""
    current, recordings = ["default"], []

    class Stream:
        device = "cpu"

        def __init__(self, device):
            pass

        def wait_stream(self, other):
            pass

    @contextmanager
    def recording(graph, stream):
        current.append("side")  # put back only where the end of a recording succeeds
        recordings.append(graph)
        yield
        if len(recordings) == 1 and at_its_end:
            raise RuntimeError(
                "CUDA error: operation failed due to a previous error during capture"
            )
        current.pop()

    class Restoring:
        """A stream's block, which puts back what was current before it."""

        def __init__(self, stream):
            pass

        def __enter__(self):
            self.before = list(current)
            current.append("side")

        def __exit__(self, *error):
            current[:] = self.before

    fakes = {"Stream": Stream, "CUDAGraph": object, "graph": recording, "stream": Restoring}
    fakes["current_stream"] = Stream
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(CUDARecorder, "refused", False)

    def step(rows):
        if len(recordings) == 1 and len(current) > 1 and not at_its_end:
            raise RuntimeError("cuSOLVER error: CUSOLVER_STATUS_INTERNAL_ERROR\nmore of it")
        return rows.sum()

    device = torch.device("cuda:0")
    tried = captured(step, device)
    for _ in range(WARM_UP):
        tried(torch.ones(2))
    with pytest.warns(UserWarning, match="goes on without a CUDA graph.*: (cuSOLVER|CUDA) error: "):
        assert float(tried(torch.ones(2))) == 2
    assert float(tried(torch.full((2,), 3.0))) == 6
    assert current == ["default"]
    assert len(recordings) == 2, "one that failed, and one that tells PyTorch's generator"
    assert captured(step, device) is step, "no second try"


class Refusing(Tape):
    """Refuses a step after having seen it, as libraries do that cannot be recorded."""

    def record(self, step):
        super().record(step)
        raise RuntimeError("cuSOLVER error: not supported")


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_cannot_be_recorded_goes_on(kind, prior, monkeypatch):
    """Step by step and to the same end, to the bit; it is said once, and once of validation."""
    expected, history = run(kind, prior, replace(SETTINGS, cuda_graph=False))
    monkeypatch.setattr(
        vmm.training.loop, "captured", lambda step, device: CapturedStep(step, Refusing())
    )
    with pytest.warns(UserWarning, match="step by step.*: cuSOLVER error: not sup") as told:
        model, result = run(kind, prior, replace(SETTINGS, cuda_graph=True))
    assert len(told) == 2
    assert_same(snapshot(model), snapshot(expected))
    assert without_seconds(result) == without_seconds(history)


@pytest.mark.parametrize("store", ["sparse", "disk"])
def test_a_step_that_draws_from_the_host_is_not_recorded(store, tapes, monkeypatch):
    """Nor is a recording tried, which would end those of others in this process."""
    room_for(monkeypatch, store)
    run("cells", "vmm", replace(SETTINGS, cuda_graph=True))
    assert tapes == []


def test_on_the_cpu_the_step_stays_as_it_is():
    def step(rows, noise):
        return rows

    assert captured(step, torch.device("cpu")) is step
