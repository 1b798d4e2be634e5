"""Snakemake at work, killed at random moments, and what may and may not be left then."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from working_copy import ENVIRONMENT, Project

from vmm.io import read_json

MODES = ("the job", "everything", "Snakemake")
"""What is killed. Snakemake alone leaves its job running, beside the one that replaces it."""
TIMED = ("run.json", "history.csv", "report.html")
"""Files that hold times."""


@dataclass(frozen=True)
class Kill:
    """One kill: of what, in which job, after how many seconds of the job."""

    script: str
    mode: str
    seconds: float

    def __str__(self) -> str:
        return f"kill -9 of {self.mode} {self.seconds:.2f} s into {self.script}.py"


class Killer:
    """Kills Snakemake or its jobs.

    Parameters
    ----------
    project : Project
    configfile : str
    seed : int
        Of the moments.
    """

    def __init__(self, project: Project, configfile: str, seed: int):
        self.project, self.configfile = project, configfile
        self.random = random.Random(seed)
        self.kills: list[Kill] = []
        self.orphans: list[psutil.Process] = []

    def kill(self, script: str, target: str, lasts: float) -> None:
        """Start Snakemake on a target and kill once, at a random moment of a script's job.

        Parameters
        ----------
        script : str
            Name of the script without its suffix.
        target : str
            What Snakemake is to make by this script's job.
        lasts : float
            How long the job takes, in seconds. The moment lies within; a job that is faster this
            time starts anew.
        """
        mode = MODES[len(self.kills) % len(MODES)]
        while True:
            moment = self.random.uniform(0, lasts)
            command = self.project.command("--cores", "1", target, configfile=self.configfile)
            with (self.project.folder / "said.txt").open("w") as said:
                running = subprocess.Popen(
                    command, cwd=self.project.folder, env=ENVIRONMENT, stdout=said, stderr=said
                )
            self._wait_for(script, running)
            time.sleep(moment)
            if processes := job_of(script, running):
                break
            running.wait(timeout=300)
            lasts *= 0.8
            (self.project.folder / target).unlink(missing_ok=True)
        whole = psutil.Process(running.pid)
        below = whole.children(recursive=True)
        victims = {"the job": processes, "everything": [whole, *below], "Snakemake": [whole]}
        for process in victims[mode]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        assert running.wait(timeout=120) != 0
        if mode == "everything":
            psutil.wait_procs(below, timeout=10)
        if mode == "Snakemake":
            self.orphans += below
        self.kills.append(Kill(script, mode, moment))
        print(self.kills[-1], flush=True)
        # What `snakemake --unlock` does, at a tenth of the time; see test_resume.py.
        shutil.rmtree(self.project.folder / ".snakemake" / "locks", ignore_errors=True)

    def wait_for_orphans(self) -> None:
        """Wait until the jobs of killed Snakemakes have ended."""
        assert not psutil.wait_procs(self.orphans, timeout=120)[1]

    def _wait_for(self, script: str, running: subprocess.Popen) -> None:
        """Wait until there is a script's job, or Snakemake has ended well."""
        deadline = time.monotonic() + 240
        while running.poll() is None:
            if job_of(script, running):
                return
            assert time.monotonic() < deadline, f"no {script}.py in four minutes"
            time.sleep(0.02)
        assert running.returncode == 0, (self.project.folder / "said.txt").read_text()


def job_of(script: str, running: subprocess.Popen) -> list[psutil.Process]:
    """Return the processes of a script's job."""
    with suppress(psutil.NoSuchProcess):
        below = psutil.Process(running.pid).children(recursive=True)
        return [p for p in below if f".{script}.py" in " ".join(p.cmdline()[-1:])]
    return []


def visible(folder: Path) -> dict[str, bytes]:
    """Return the content of all results, without logs, benchmarks and temporary files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    kept = (p for p in files if not p.name.startswith(".") and "checkpoint" not in p.name)
    named = {str(path.relative_to(folder)): path for path in kept}
    return {k: p.read_bytes() for k, p in named.items() if not k.startswith(("logs/", "bench"))}


def same_as(undisturbed: dict[str, bytes], folder: Path) -> list[str]:
    """Return the results that differ from those of an undisturbed run.

    Of files with times, and of descriptions, which say where a download came from, it is checked
    that they are whole.
    """
    wrong = []
    for name, content in visible(folder).items():
        if name.endswith(".json"):
            read_json(folder / name)
        elif name.endswith(TIMED):
            if not content.endswith((b"\n", b"</html>")):
                wrong.append(name)
        elif content != undisturbed[name]:
            wrong.append(name)
    return wrong


def temporary(*folders: Path) -> list[str]:
    """Return leftovers: temporary files, parts of downloads, checkpoints."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    left = [p for p in files if p.name.startswith(".") or "checkpoint" in p.name]
    return sorted(str(path) for path in left if path.suffix != ".lock")


def seconds(results: Path, benchmark: str) -> float:
    """Return how long a job took."""
    _, line = (results / "benchmarks" / f"{benchmark}.tsv").read_text().splitlines()
    return float(line.split("\t")[0])
