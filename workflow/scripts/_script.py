"""What every script shares: the package on the path, threads, the log, errors in one sentence."""

import hashlib
import logging
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from vmm.errors import InputError
from vmm.io import remove_leftovers
from vmm.progress import shown_on


class Log:
    """A stream that writes to the job's log and, where `shown`, each line to the terminal too.

    A log that cannot be written (no space) goes to the terminal.
    """

    def __init__(self, file: FileIO, terminal: TextIO, shown: bool = False):
        self.file, self.terminal, self.shown, self.line = file, terminal, shown, ""

    def write(self, text: str) -> int:
        """Write `text`."""
        try:
            self.file.write(text.encode(errors="backslashreplace"))
        except OSError:
            self.terminal.write(text)
            return len(text)
        if self.shown:
            *complete, self.line = re.split(r"[\r\n]", self.line + text)
            for line in filter(str.strip, complete):
                self.terminal.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def fileno(self) -> int:
        """Return the log's descriptor."""
        return self.file.fileno()

    def isatty(self) -> bool:
        """Return False: a log is no terminal, whatever its lines are copied to."""
        return False


@contextmanager
def job(snakemake) -> Iterator[None]:
    """Send all output of a job to its log; end it with one sentence if the input is wrong.

    Of the output, progress (:mod:`vmm.progress`) is shown in the terminal too. What an earlier job
    that was killed left half-written is removed first.
    """
    os.environ["NUMBA_NUM_THREADS"] = str(snakemake.threads)
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    log = open(snakemake.log[0], "wb", buffering=0)  # noqa: SIM115 (open until the process ends)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    sys.stdout = sys.stderr = Log(log, terminal)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("vmm").setLevel(logging.INFO)
    for output in map(Path, snakemake.output):
        remove_leftovers(output.parent, output.name)
    try:
        with shown_on(Log(log, terminal, shown=True)):
            yield
        set_back(snakemake.input)
    except InputError as error:
        print(error)
        sys.exit(1)


def set_back(inputs: Iterable[str]) -> None:
    """Give results from the future the present time; refuse a user's file from the future.

    Where a clock was set back, Snakemake refuses and removes outputs that are older than an input.
    """
    now = time.clock_gettime_ns(time.CLOCK_REALTIME)
    for path in map(Path, inputs):
        if path.stat().st_mtime_ns <= now:
            continue
        if path.parts[0] != "results":
            raise InputError(
                f"{path} was modified in the future, says its time; set the clock right or "
                "`touch` the file, then start again."
            )
        os.utime(path)


def share_compiled_programs() -> None:
    """Let jax keep compiled programs for later jobs on machines with the same processor."""
    described = Path("/proc/cpuinfo")
    text = described.read_text() if described.exists() else platform.platform()
    model = sorted({line for line in text.splitlines() if line.startswith(("flags", "model name"))})
    machine = hashlib.sha256("\n".join(model or [text]).encode()).hexdigest()[:12]
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(".snakemake", "jax", machine).resolve())
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def folders(paths) -> list[Path]:
    """Return the folders that files lie in, each once."""
    return list(dict.fromkeys(Path(path).parent for path in paths))
