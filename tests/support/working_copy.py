"""A working copy of the pipeline for each test that runs it, as a user has it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "Snakefile", "config", "envs", "profiles", "src", "workflow", "requirements.lock",
    "requirements-torch.lock",
)  # fmt: skip
CHATTER = "Using workflow specific profile"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


class Done(NamedTuple):
    """What a command said in the terminal and how it ended."""

    status: int
    text: str

    @property
    def job_counts(self) -> dict[str, int]:
        """The table of jobs that Snakemake prints."""
        table = self.text.partition("Job stats:")[2].partition("total")[0]
        return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}

    @property
    def said(self) -> list[str]:
        """Lines of text, without Snakemake's remark on the profile."""
        lines = [line.strip() for line in self.text.splitlines()]
        return [line for line in lines if line and not line.startswith(CHATTER)]


class Project:
    """A copy of the pipeline's files in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True)
        for part in PARTS:
            if (ROOT / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(ROOT / part, folder / part, ignore=ignored)
            else:
                shutil.copy(ROOT / part, folder / part)

    def configure(self, config: dict | str, name: str = "my.yaml") -> str:
        """Write a configuration, given as a mapping or as text; return its name."""
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        (self.folder / name).write_text(text)
        return name

    def command(self, *arguments: str, configfile: str | None = None) -> list[str]:
        """Return the command line of a run."""
        given = ["--configfile", configfile] if configfile else []
        return [sys.executable, "-m", "snakemake", *arguments, *given]

    def snakemake(self, *arguments: str, configfile: str | None = None) -> Done:
        """Run Snakemake to its end."""
        done = subprocess.run(
            self.command(*arguments, configfile=configfile),
            cwd=self.folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
        )
        return Done(done.returncode, done.stdout)

    def results(self, run: str = "") -> list[str]:
        """Return the files in the results, without logs and benchmarks."""
        base = self.folder / "results" / run
        files = (path.relative_to(base) for path in base.rglob("*") if path.is_file())
        aside = {"logs", "benchmarks"}
        return sorted(str(path) for path in files if not aside & set(path.parts))

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that occurs once in a file."""
        file = self.folder / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new))

    def checkpoint_every_epoch(self) -> None:
        """Let trainings write a checkpoint after every epoch instead of every 30 seconds."""
        old = "CHECKPOINT_SECONDS = 30.0"
        self.edit("src/vmm/training/loop.py", old, old.replace("30.0", "0.0"))
