"""`python -m benchmarks.gpu --budget 10 --out DIR`: the acceptance run on a machine with a GPU."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.runner import GOOD, Check, Options, all_checks, perform_apart, result_path
from benchmarks.report import number, table
from vmm.io import atomic, write_json


def main(argv: list[str] | None = None) -> int:
    """Run the checks that are asked for; return 1 if one of them failed, else 0."""
    known = all_checks()
    arguments = parser().parse_args(argv)
    if arguments.list:
        for check in known.values():
            print(f"{check.name:24s} {check.budget:3d} min  {check.what}")
        return 0
    for name in arguments.only:
        if name not in known:
            parser().error(f"no check is called {name!r}; there are {', '.join(known)}")
    if arguments.out is None:
        parser().error("--out DIR is needed: where results are written")
    arguments.out.mkdir(parents=True, exist_ok=True)
    toy = arguments.device == "cpu"
    options = Options(arguments.device, str(arguments.out), toy, arguments.data)
    checks = [
        check
        for check in known.values()
        if check.name in arguments.only or (not arguments.only and check.budget <= arguments.budget)
    ]
    results = run_all(checks, options, 60 * arguments.budget, arguments.seconds)
    text = report(results)
    with atomic(arguments.out / "table.md") as temporary:
        temporary.write_text(text)
    print(f"\n{text}\nwritten: {arguments.out / 'table.md'}")
    return 0 if all(result["status"] in GOOD for result in results) else 1


def run_all(
    checks: list[Check], options: Options, seconds: float, each: float = math.inf
) -> list[dict[str, Any]]:
    """Run checks one after another, `each` so long at most, while there is time, and a device."""
    deadline, why, results = time.monotonic() + seconds, "", []
    for check in checks:
        left = deadline - time.monotonic()
        if why or left < 5:
            result = {"name": check.name, "what": check.what, "found": [], "tables": []}
            reason = why or "no time was left"
            result |= {"status": "not run", "reason": reason, "seconds": 0.0}
            write_json(result_path(Path(options.out), check), result)
        else:
            result = perform_apart(check, options, min(check.seconds, left, each))
        results.append(result)
        if check.name == "machine" and result["status"] not in GOOD:
            why = "the machine failed"
        print(f"{check.name:24s} {result['status']:12s} {result['seconds']:6.1f} s", flush=True)
    return results


def report(results: list[dict[str, Any]]) -> str:
    """Return the table of the checks, and below it the tables that they made."""
    head = ["check", "what is shown", "", "s", "found"]
    rows = [
        [f"`{r['name']}`", r["what"], _emphasis(r["status"]), number(r["seconds"]), _summary(r)]
        for r in results
    ]
    parts = [table(head, rows)]
    for result in results:
        for own in result["tables"]:
            parts.append(f"{own['title']}:\n\n{table(own['head'], own['rows'])}")
    return "\n\n".join(parts) + "\n"


def _emphasis(status: str) -> str:
    return status if status in GOOD else f"**{status}**"


def _summary(result: dict[str, Any]) -> str:
    """Return what went wrong, else what was measured and how close the closest came to a limit."""
    found = result["found"]
    wrong = [_text(one) for one in found if not one["ok"]]
    if wrong or result["reason"]:
        more = [f"and {len(wrong) - 3} more"] if len(wrong) > 3 else []
        return "; ".join([*filter(None, [result["reason"]]), *wrong[:3], *more]).replace("|", "/")
    said = [_text(one) for one in found if one["limit"] is None]
    if equal := sum(one["limit"] is True for one in found):
        said.append(f"{equal} times the same to the bit")
    bounds = [one for one in found if isinstance(one["limit"], float)]
    if bounds:
        closest = max(bounds, key=lambda one: one["value"] / one["limit"])
        said.append(f"{len(bounds)} within limits, the closest: {_text(closest)}")
    return "; ".join(said).replace("|", "/")


def _text(found: dict[str, Any]) -> str:
    value, limit = found["value"], found["limit"]
    if limit is True:
        return f"{found['what']}: {'the same' if value else 'not the same'}"
    shown = value if isinstance(value, str) else number(value)
    bound = "" if limit is None else f" (≤ {number(limit)})"
    return f"{found['what']}: {shown}{bound} {found['unit']}".rstrip()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--budget", type=int, choices=[10, 40], default=10, help="minutes")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda", help="cpu: everything at toy sizes"
    )
    parser.add_argument(
        "--data", metavar="FOLDER", help="has mnist/ and fashion_mnist/ (the four files), cells/"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these checks")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, metavar="S", help="at most for each check"
    )
    parser.add_argument("--list", action="store_true", help="list the checks and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
