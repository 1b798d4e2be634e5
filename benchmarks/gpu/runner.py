"""Checks, each in a process of its own: how they report, and how they are run.

An error of CUDA sticks to its process, and a kernel that never ends cannot be interrupted. So each
check has a process and a limit of time, and what it found is in a file at once.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.gpu import MODULES
from vmm.io import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
GOOD = ("passed", "not there")


@dataclass(frozen=True)
class Check:
    """Something to be shown.

    Attributes
    ----------
    name : str
        Names its files, and ``--only NAME``.
    what : str
        What is shown, for the table.
    function : callable
        Takes a :class:`Run`.
    seconds : int
        Limit of its time.
    budget : int
        The smallest ``--budget`` that it is part of.
    cuda : bool
        Whether there is nothing to be seen on a CPU.
    needs : tuple of str
        Modules beyond PyTorch, numpy and scipy.
    """

    name: str
    what: str
    function: Callable[[Run], None]
    seconds: int = 60
    budget: int = 10
    cuda: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """What all checks are run with: device, sizes, the data's folder and that of the results."""

    device: str
    out: str
    toy: bool = False
    data: str | None = None


class NotThere(Exception):
    """Raised by a check that lacks what it would look at."""


class Run:
    """A check under way: what it is given, and what it has found.

    Parameters
    ----------
    check : Check
    options : Options
    seconds : float
        Time until the process is ended.
    """

    def __init__(self, check: Check, options: Options, seconds: float):
        import torch

        self.check, self.toy, self.out = check, options.toy, Path(options.out)
        self.device = torch.device(options.device)
        self.data = None if options.data is None else Path(options.data)
        self.start, self.seconds = time.monotonic(), seconds
        self.result: dict[str, Any] = {
            "name": check.name,
            "what": check.what,
            "status": "running",
            "reason": "",
            "device": options.device,
            "toy": options.toy,
            "found": [],
            "tables": [],
        }

    def bound(self, what: str, value: float, limit: float) -> None:
        """Report a number that may not exceed a limit."""
        self._found(what, value, limit, "", bool(value <= limit))  # NaN does not

    def same(self, what: str, same: bool) -> None:
        """Report whether what should be equal to the bit is."""
        self._found(what, bool(same), True, "", bool(same))

    def number(self, what: str, value: float | str, unit: str = "") -> None:
        """Report what was measured and is neither right nor wrong."""
        self._found(what, value, None, unit, True)

    def table(self, title: str, head: list[str], rows: list[list[str]]) -> None:
        """Report a table, or what there is of it so far, under its title."""
        tables = [known for known in self.result["tables"] if known["title"] != title]
        self.result["tables"] = [*tables, {"title": title, "head": head, "rows": rows}]
        self.write()

    def needs(self, path: Path | None, what: str) -> Path:
        """Return a path of the data's folder; without it the check is not there."""
        if path is None or not path.exists():
            where = "--data FOLDER with" if path is None else f"no {path}:"
            raise NotThere(f"{where} {what}")
        return path

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.seconds - (time.monotonic() - self.start)

    def write(self) -> None:
        """Write what was found so far: a process may end at any moment."""
        self.result["seconds"] = round(time.monotonic() - self.start, 1)
        path = result_path(self.out, self.check)
        part = path.with_suffix(".part")  # of a hundred findings; none needs to outlive the system
        part.write_text(json.dumps(self.result, indent=2, ensure_ascii=False))
        part.replace(path)

    def _found(self, what: str, value: Any, limit: Any, unit: str, ok: bool) -> None:
        if isinstance(value, float) and not math.isfinite(value):
            value = str(value)  # which JSON has no number for
        self.result["found"].append(
            {"what": what, "value": value, "limit": limit, "unit": unit, "ok": ok}
        )
        self.write()


def all_checks() -> dict[str, Check]:
    """Return all checks by name, in order."""
    modules = [importlib.import_module(f"benchmarks.gpu.{name}") for name in MODULES]
    return {check.name: check for module in modules for check in module.CHECKS}


def perform(check: Check, options: Options, seconds: float) -> dict[str, Any]:
    """Run a check in this process; write its result and return it."""
    run = Run(check, options, seconds)
    status, reason = "passed", ""
    try:
        if check.cuda and run.device.type != "cuda":
            raise NotThere("needs CUDA")
        if missing := [name for name in check.needs if find_spec(name) is None]:
            raise NotThere(f"needs {', '.join(missing)}")
        with warnings.catch_warnings():
            # Training goes on without a recording that CUDA refuses, in a warning.
            warnings.filterwarnings("error", message=".*CUDA graph")
            check.function(run)
        if not all(found["ok"] for found in run.result["found"]):
            status = "failed"
    except NotThere as absent:
        status, reason = "not there", str(absent)
    except Exception as error:
        traceback.print_exc()
        status, reason = "failed", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    run.result |= {"status": status, "reason": reason}
    run.write()
    return run.result


def perform_apart(check: Check, options: Options, seconds: float) -> dict[str, Any]:
    """Run a check in a process of its own, which is ended after `seconds`; return its result."""
    out, start = Path(options.out), time.monotonic()
    path, log = result_path(out, check), out / f"{check.name}.log"
    path.unlink(missing_ok=True)
    paths = [str(ROOT), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    given = [check.name, json.dumps(asdict(options)), str(seconds)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.runner", *given],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # so that its own processes end with it
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            ended = process.poll()
            if ended is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    taken = round(time.monotonic() - start, 1)
    blank = {"name": check.name, "what": check.what, "found": [], "tables": [], "status": "running"}
    result = read_json(path) if path.is_file() else blank
    result["seconds"] = taken
    if ended is None:
        result |= {"status": "out of time", "reason": f"ended after {seconds:.0f} s"}
    elif result["status"] == "running":  # a crash that Python had no say in
        said = log.read_text(errors="replace").strip().splitlines()
        last = said[-1] if said else "it said nothing"
        result |= {"status": "died", "reason": f"exit status {ended}: {last}"}
    write_json(path, result)
    return result


def result_path(out: Path, check: Check) -> Path:
    """Return where the result of a check is written."""
    return out / f"{check.name}.json"


if __name__ == "__main__":
    # By its full name: run as a script, this module is another one than what checks import.
    runner = importlib.import_module("benchmarks.gpu.runner")
    chosen = runner.all_checks()[sys.argv[1]]
    runner.perform(chosen, runner.Options(**json.loads(sys.argv[2])), float(sys.argv[3]))
