"""One contender in a process of its own: it measures when it is told to.

A contender is a function of one argument, `lap`. It sets up, warms up, and calls ``lap()`` between
repetitions of what is to be measured, for as long as it is asked to::

    def contender(lap):
        work = prepare()
        while True:
            lap()
            work()

Every call of ``lap()`` ends one repetition and waits until the next may begin, so that no two
contenders run at the same time. A callback does as well: ``fit(..., progress=lambda row: lap())``.
The first call ends the set-up; a benchmark of whole processes measures this instead of what comes
after it. ``lap(value)`` reports a number of the contender's own in place of its seconds.
"""

from __future__ import annotations

import os
import time

START, CPU_START = time.perf_counter(), time.process_time()

import importlib  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402


def main(contender: str, threads: str) -> None:
    """Run the contender "module:function" on so many cores; talk over standard input and output."""
    if hasattr(os, "sched_setaffinity"):
        # Some libraries heed no variable that limits their threads; all heed this.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(threads) :])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    began, cpu_began = START, CPU_START

    def lap(value: float | None = None) -> None:
        nonlocal began, cpu_began
        row = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu_began}
        row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row["value"] = value
        answers.write(json.dumps(row) + "\n")
        if sys.stdin.readline() != "go\n":
            answers.close()
            os._exit(0)  # libraries' threads and hooks are not waited for
        began, cpu_began = time.perf_counter(), time.process_time()

    module, _, function = contender.partition(":")
    getattr(importlib.import_module(module), function)(lap)


if __name__ == "__main__":
    main(*sys.argv[1:])
