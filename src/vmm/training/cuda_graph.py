"""A training step recorded once as a CUDA graph, and replayed.

The step of a small model is hundreds of kernels of a few microseconds each: the GPU waits for
Python to start them one by one. A graph starts them all at once; they are the same kernels on the
same numbers, so results are equal.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Step = Callable[..., Any]
"""From tensors, or nested dicts and lists of them, to such; it changes the model in place."""

WARM_UP = 3
"""Steps before the recording: libraries set themselves up, and Adam makes its state."""


class Recorder(Protocol):
    """How a step is recorded; a protocol, so that tests can record without a GPU."""

    def warm_up(self, step: Callable[[], Any]) -> Any:
        """Run `step` as it is run before a recording."""

    def record(self, step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Record `step` without running it; return what replays it, and what it then fills."""


class CUDARecorder:
    """Records the kernels that a step starts on a GPU.

    Warm-up and recording share a stream: autograd remembers those that it was called on, and a
    recording may wait for no other.

    Attributes
    ----------
    refused : bool
        Whether a recording failed in this process, which then tries none again.
    """

    refused: ClassVar[bool] = False

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, step: Callable[[], Any]) -> Any:
        """Run `step` on a stream of its own, as recordings do."""
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = step()
        current.wait_stream(self.stream)
        return result

    def record(self, step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Record `step` without running it; return what replays it, and what it then fills.

        Raises
        ------
        RuntimeError
            If CUDA, or a library of it, cannot record the step.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer block puts the stream back where even the end of a recording fails.
            with torch.cuda.stream(self.stream), torch.cuda.graph(graph, stream=self.stream):
                result = step()
        except RuntimeError:
            CUDARecorder.refused = True
            self._recover()
            raise
        return graph.replay, result

    def _recover(self) -> None:
        """Record next to nothing.

        PyTorch's own generator, from which steps draw nothing but users may, is told only by the
        end of a recording that there is none; of one that failed it waits for it for ever.
        """
        with suppress(RuntimeError):
            nothing = torch.zeros((), device=self.stream.device)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.stream(self.stream), torch.cuda.graph(graph, stream=self.stream):
                nothing.add_(1)


class CapturedStep:
    """Does what `step` does: at first by running it, then by replaying a recording of it.

    A step that cannot be recorded is run as it is, to the end, and that is said in a warning:
    recording runs nothing, so nothing has happened.

    Parameters
    ----------
    step : callable
        It may not wait for the GPU, nor draw random numbers, nor depend on anything but tensors
        that stay where they are and its arguments, whose shapes may not change. Nor may it refer to
        what keeps the captured step, as a bound method of that would: a graph that is garbage in a
        cycle keeps its memory until the collector runs and, destroyed while another is recorded,
        makes that recording invalid.
    recorder : Recorder
    """

    def __init__(self, step: Step, recorder: Recorder):
        self.step, self.recorder = step, recorder
        self.calls = 0
        self.refused = False

    def __call__(self, *inputs: Any) -> Any:
        """Take the step."""
        self.calls += 1
        if self.calls <= WARM_UP:
            return self.recorder.warm_up(lambda: self.step(*inputs))
        if self.calls == WARM_UP + 1:
            self._record(inputs)
        elif not self.refused:
            tree_map(Tensor.copy_, self.inputs, inputs)
        if self.refused:
            return self.step(*inputs)
        self.replay()
        return tree_map(torch.clone, self.result)

    def _record(self, inputs: tuple[Any, ...]) -> None:
        # The replays read their inputs from these tensors, and write to the same result.
        self.inputs = tree_map(torch.clone, inputs)
        try:
            with _without_collector():
                self.replay, self.result = self.recorder.record(lambda: self.step(*self.inputs))
        except RuntimeError as error:
            self.refused = True
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(
                f"Training goes on without a CUDA graph, step by step, since it could not be "
                f"recorded: {reason}",
                stacklevel=3,
            )


@contextmanager
def _without_collector() -> Iterator[None]:
    """Collect the garbage there is, graphs of others perhaps, and none within the block."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def captured(step: Step, device: torch.device) -> Step:
    """Return `step` as it is best called on `device`: captured on a GPU, unchanged on the CPU."""
    can = device.type == "cuda" and not CUDARecorder.refused
    return CapturedStep(step, CUDARecorder(device)) if can else step
