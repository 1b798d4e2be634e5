"""A run that Snakemake takes for finished: no job ran, the outputs were made by hand.

``snakemake --touch`` records how they were made, so that dry runs say what an edit would run again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from working_copy import ROOT, Done, Project

TINY = ROOT / "tests" / "workflow" / "tiny.yaml"


class FinishedRun(Project):
    """A copy of the project in which every output of a configuration is there."""

    def __init__(
        self, folder: Path, config: dict, prepare: Callable[[Path], None] = lambda folder: None
    ):
        super().__init__(folder)
        prepare(folder)
        self.configure(config)
        listed = self._ends_well("--summary")
        outputs = re.findall(r"^(results/\S+)\t", listed.text, re.MULTILINE)
        for output in outputs:
            path = self.folder / output
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(output)
        assert len(outputs) > 100
        self.touch_results("--forceall")

    def touch_results(self, *options: str) -> None:
        """Record that the results are of what is there now."""
        self._ends_well("--cores", "1", "--touch", *options)

    def dry_run(self) -> Done:
        """Return what would run."""
        done = self._ends_well("--dry-run")
        assert "missing provenance" not in done.text
        return done

    def rerun_with(self, files: Mapping[str, str]) -> Done:
        """Return the dry run with other contents of files, which are put back afterwards."""
        before = {name: self._text(name) for name in files}
        for name, text in files.items():
            (self.folder / name).write_text(text)
        try:
            return self.dry_run()
        finally:
            for name, text in before.items():
                if text is None:
                    (self.folder / name).unlink()
                else:
                    (self.folder / name).write_text(text)

    def edited(self, file: str, old: str = "", new: str = "") -> dict[str, str]:
        """Return a file with `new` for the first `old`, or with `new` at its end."""
        text = (self.folder / file).read_text()
        assert old in text, f"{file} does not say {old!r}"
        return {file: text.replace(old, new, 1) if old else text + new}

    def touch_scripts(self) -> None:
        """Make scripts newer than the results, as after a git checkout."""
        for script in (self.folder / "workflow" / "scripts").glob("*.py"):
            os.utime(script, (time.time(), time.time()))

    def _ends_well(self, *arguments: str) -> Done:
        done = self.snakemake(*arguments, configfile="my.yaml")
        assert done.status == 0, done.text
        return done

    def _text(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_text() if path.exists() else None


def tiny(**changes: dict) -> dict:
    """Return tiny.yaml with other values of some keys of its experiments."""
    config = yaml.safe_load(TINY.read_text())
    for experiment, values in changes.items():
        config["experiments"][experiment] |= values
    return config


def rules(done: Done) -> set[str]:
    """Return the rules that a dry run would run."""
    return set(done.job_counts) - {"all"}


def trainings(done: Done) -> set[tuple[str, str]]:
    """Return data set and method of the models that a dry run would train, without tuning."""
    jobs = re.findall(r"^rule train_\w+:\n((?: +.*\n)*)", done.text, re.MULTILINE)
    named = [re.search(r"wildcards: dataset=(\w+), method=(\w+)", text) for text in jobs]
    return {(found[1], found[2]) for found in named if found}
