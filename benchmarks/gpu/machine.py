"""The machine, and what it can do at most: products, copies, launches."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable

import torch

from benchmarks.gpu.runner import Check, Run
from benchmarks.gpu.work import synchronize
from benchmarks.harness import machine
from vmm.device import resolve_device
from vmm.numerics.products import product


def ceilings(run: Run) -> None:
    """Report driver, card and versions; then rates of products, copies and launches."""
    resolve_device(run.device.type)  # says what is wrong with the driver or with PyTorch's build
    where = machine(time.time())
    run.result["machine"] = where
    run.number("processor", where["processor"])
    for package in ("python", "torch", "numpy"):
        run.number(package, where["versions"].get(package, "unknown"))
    run.number("commit", where["commit"] or "unknown")
    if run.device.type == "cuda":
        _card(run)
    size = 64 if run.toy else 4096
    a, b = (torch.randn(size, size, device=run.device) for _ in range(2))
    for precision in ("float32", "tf32", "bf16"):
        # What is timed is the product as training asks for it, conversions to bfloat16 included.
        seconds = _seconds(run, lambda p=precision: product(a, b, precision=p))
        run.number(f"products, {precision}", 2 * size**3 / seconds / 1e12, "TFLOP/s")
    n = 2**16 if run.toy else 2**28
    host = torch.zeros(n, dtype=torch.uint8, pin_memory=run.device.type == "cuda")
    there, other = (torch.zeros(n, dtype=torch.uint8, device=run.device) for _ in range(2))
    copies = {"to the device": (there, host), "from it": (host, there), "on it": (other, there)}
    for name, (target, source) in copies.items():
        seconds = _seconds(run, lambda t=target, s=source: t.copy_(s))
        run.number(f"copies {name}", n / seconds / 1e9, "GB/s")
    few = torch.zeros(32, device=run.device)
    run.number("a launch", 1e6 * _seconds(run, lambda: few.add_(1), 200 if run.toy else 5000), "µs")
    if run.device.type == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(1000):
                few.add_(1)
        run.number("a launch in a graph", 1e3 * _seconds(run, graph.replay, 20), "µs")


def _card(run: Run) -> None:
    card = torch.cuda.get_device_properties(run.device)
    run.number("card", card.name)
    run.number("memory", card.total_memory / 2**30, "GiB")
    run.number("compute capability", f"{card.major}.{card.minor}")
    run.number("CUDA of PyTorch", torch.version.cuda or "none")
    run.number("cards visible", torch.cuda.device_count())
    if command := shutil.which("nvidia-smi"):
        ask = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=20).stdout.split()
        run.number("driver", answer[0] if answer else "unknown")


def _seconds(run: Run, function: Callable[[], object], repeats: int = 20) -> float:
    """Return the mean seconds of a call, after two that warm up."""
    for _ in range(2):
        function()
    synchronize(run.device)
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    synchronize(run.device)
    return (time.perf_counter() - start) / repeats


CHECKS = [Check("machine", "the machine, and what it can do at most", ceilings, 60)]
