"""Contenders measured in turn, and what the numbers say."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vmm.io import write_json
from vmm.versions import commit, installed

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "numpy", "scvi-tools", "scib-metrics", "jax")
THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA")


@dataclass(frozen=True)
class Comparison:
    """A row of the table: one contender against another, or against a bound.

    Attributes
    ----------
    ours : str
        Label of a contender.
    target : float
        Largest good ratio ours ÷ theirs; without `theirs`, the largest good value of ours.
    theirs : str, optional
        Label of the contender to compare with.
    """

    ours: str
    target: float
    theirs: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """Contenders that do the same work.

    Attributes
    ----------
    name : str
        Names the result, ``benchmarks/results/<name>.json``, and ``make bench ONLY=<name>``.
    work : str
        What is done, for the table.
    contenders : dict of str
        Label to "module:function"; measured in this order, again and again.
    comparisons : tuple of Comparison
    repeats : int
    threads : int
    processes : bool
        Whether a whole process, from its start to its first lap, is one repetition.
    unit : str
        Of the measured numbers: "s", or that of the numbers which the contenders report.
    """

    name: str
    work: str
    contenders: dict[str, str]
    comparisons: tuple[Comparison, ...] = ()
    repeats: int = 11
    threads: int = 1
    processes: bool = False
    unit: str = "s"


class Contender:
    """A running worker.

    Parameters
    ----------
    target : str
        "module:function".
    threads : int
    """

    def __init__(self, target: str, threads: int):
        environment = {f"{name}_NUM_THREADS": str(threads) for name in THREADS}
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        self.target, self.start = target, time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", target, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def answer(self) -> dict[str, float]:
        """Return the row of the repetition under way."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.target} ended with status {self.process.wait()}, see above")
        return json.loads(line)

    def lap(self) -> dict[str, float]:
        """Return the row of one more repetition."""
        self._say("go")
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._say("stop")
        self.process.communicate()

    def _say(self, word: str) -> None:
        try:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died; answer() tells


def measure(benchmark: Benchmark) -> dict[str, Any]:
    """Run a benchmark, A B A B …; return its result with every measured number.

    The first repetition of each contender is a warm-up and left out, unless it is a process.
    """
    rows: dict[str, list[dict[str, float]]] = {label: [] for label in benchmark.contenders}
    began = time.time()
    if benchmark.processes:
        for _ in range(benchmark.repeats):
            for label, target in benchmark.contenders.items():
                rows[label].append(_whole_process(target, benchmark.threads))
    else:
        running: dict[str, Contender] = {}
        try:
            for label, target in benchmark.contenders.items():
                running[label] = Contender(target, benchmark.threads)
                running[label].answer()
            for repetition in range(benchmark.repeats + 1):
                for label, contender in running.items():
                    row = contender.lap()
                    if repetition:
                        rows[label].append(row)
        finally:
            for contender in running.values():
                contender.close()
    return {
        "name": benchmark.name,
        "work": benchmark.work,
        "unit": benchmark.unit,
        "threads": benchmark.threads,
        "contenders": {label: summary(of) for label, of in rows.items()},
        "comparisons": [compare(comparison, rows) for comparison in benchmark.comparisons],
        "where": machine(began),
    }


def _whole_process(target: str, threads: int) -> dict[str, float]:
    contender = Contender(target, threads)
    try:
        row = contender.answer()
        row["seconds"] = time.perf_counter() - contender.start
    finally:
        contender.close()
    return row


def values(rows: list[dict[str, float]]) -> list[float]:
    """Return what was measured: seconds, or what the contender reports."""
    return [row["seconds"] if row.get("value") is None else row["value"] for row in rows]


def quartiles(numbers: list[float]) -> dict[str, float]:
    """Return median, lower and upper quartile."""
    low, middle, high = np.percentile(numbers, [25, 50, 75])
    return {"median": float(middle), "low": float(low), "high": float(high)}


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the statistics of one contender, and all its numbers."""
    return {
        **quartiles(values(rows)),
        "cpu": float(np.median([row["cpu"] for row in rows])),
        "peak_mb": max(row["peak_mb"] for row in rows),
        "n": len(rows),
        "values": values(rows),
    }


def compare(comparison: Comparison, rows: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return the ratio of two contenders, repetition by repetition, or one contender's value.

    Neighbouring repetitions meet the same machine, so their ratio does not see that it is now
    busier, now idler. Where seconds were measured, the ratio of the CPU times is there too.
    """
    ours, theirs = comparison.ours, comparison.theirs
    result: dict[str, Any] = {"ours": ours, "theirs": theirs, "target": comparison.target}
    if theirs is None:
        result |= quartiles(values(rows[ours]))
    else:
        pairs = zip(values(rows[ours]), values(rows[theirs]), strict=True)
        result |= quartiles([a / b for a, b in pairs])
        if all(row.get("value") is None for row in rows[ours]):
            cpu = zip(rows[ours], rows[theirs], strict=True)
            result["cpu"] = float(np.median([a["cpu"] / b["cpu"] for a, b in cpu]))
    result["met"] = result["median"] <= comparison.target
    return result


def machine(began: float) -> dict[str, Any]:
    """Return what the numbers depend on: processor, load, versions, commit, time."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": installed(*PACKAGES),
        "commit": commit("benchmarks/*.py"),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime(began)),
        "seconds": round(time.time() - began, 1),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def save(result: dict[str, Any]) -> Path:
    """Write a result as JSON; return where."""
    path = RESULTS / f"{result['name']}.json"
    write_json(path, result)
    return path
