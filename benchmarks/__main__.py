"""`python -m benchmarks [NAME …]`: measure all, or those named; then write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import importlib

from benchmarks import MODULES
from benchmarks.harness import Benchmark, measure, save
from benchmarks.report import row_of, write_page


def benchmarks() -> dict[str, Benchmark]:
    """Return all benchmarks by name, in the order of the table."""
    modules = [importlib.import_module(f"benchmarks.{name}") for name in MODULES]
    return {benchmark.name: benchmark for module in modules for benchmark in module.BENCHMARKS}


def main() -> None:
    """Measure, save and report."""
    known = benchmarks()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing, write the page from what there is"
    )
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in known:
            parser.error(f"no benchmark is called {name!r}; there are {', '.join(known)}")
    for name in [] if arguments.report else arguments.names or known:
        print(f"{name}: {known[name].work}", flush=True)
        result = measure(known[name])
        save(result)
        for comparison in result["comparisons"]:
            print("  " + " | ".join(row_of(comparison, result)), flush=True)
        print(f"  {result['where']['seconds']:.0f} s", flush=True)
    print(f"written: {write_page(list(known))}")


if __name__ == "__main__":
    main()
