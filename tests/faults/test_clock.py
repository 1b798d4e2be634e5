"""A clock that goes backwards: files from the future, and a time that jumps."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
import working_copy
from killing import TIMED, visible
from working_copy import Project

pytestmark = pytest.mark.faults

DAY = 86400
TARGETS = ["results/x/tables/table2.html", "results/x/metrics/clustering.csv"]
JUMP = """
import time

_now, _steps = time.time, iter(range(10**9))


def _backwards():
    # Every look at the clock is a minute before the one before.
    return _now() - 60 * next(_steps)


time.time = _backwards
"""


def configured(folder: Path, run: str = "x") -> Project:
    """Return a project that trains on images in a file of the user's, to Table 2."""
    project = Project(folder)
    random = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = (40 * y[:, None, None] + random.integers(0, 120, (120, 6, 6))).astype(np.uint8)
    np.savez(folder / "shapes.npz", x_train=x, y_train=y)
    shapes = {"kind": "images", "path": "shapes.npz", "n_latent": 3, "hidden": [16]}
    shapes |= {"batch_size": 32, "prior_learning_ratio": 1}
    clustering = {"methods": ["vmm"], "max_epochs": 5}
    config = {"run": run, "device": "cpu", "trials": 1, "n_components": 8}
    config |= {"datasets": {"shapes": shapes}, "experiments": {"image_clustering": clustering}}
    project.configure(config)
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """Return a project whose run ended well under a good clock."""
    project = configured(tmp_path_factory.mktemp("clock") / "project")
    done = project.snakemake("--cores", "2", *TARGETS, configfile="my.yaml")
    assert done.status == 0, done.text
    return project


@pytest.fixture(scope="module")
def expected(project) -> dict[str, bytes]:
    return compared(project)


def compared(project: Project) -> dict[str, bytes]:
    found = visible(project.folder / "results" / "x")
    return {name: content for name, content in found.items() if not name.endswith(TIMED)}


def test_a_file_of_the_user_from_the_future(tmp_path):
    """It is told in a sentence, and its time left alone."""
    project, tomorrow = configured(tmp_path / "project"), time.time() + DAY
    os.utime(project.folder / "shapes.npz", (tomorrow, tomorrow))
    done = project.snakemake("--cores", "1", "results/x/data/shapes.npz", configfile="my.yaml")
    assert done.status != 0
    sentence = "shapes.npz was modified in the future, says its time; set the clock right or"
    assert any(line.startswith(sentence) for line in done.said), done.text
    assert (project.folder / "shapes.npz").stat().st_mtime == pytest.approx(tomorrow)
    assert project.results() == []


def test_results_from_the_future_and_the_past(project, expected):
    """At worst they are made again."""
    shuffled = random.Random(1)
    for path in sorted((project.folder / "results").rglob("*")):
        moment = time.time() + shuffled.choice([-DAY, 0, DAY])
        os.utime(path, (moment, moment))
    done = project.snakemake("--cores", "2", *TARGETS, configfile="my.yaml")
    assert done.status == 0, done.text
    assert compared(project) == expected


def test_a_clock_that_runs_backwards(tmp_path, expected, monkeypatch):
    """In Snakemake and in every job; and the report, which shows times, is made."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMP)
    environment = working_copy.ENVIRONMENT | {"PYTHONPATH": str(tmp_path / "clock")}
    monkeypatch.setattr(working_copy, "ENVIRONMENT", environment)
    project = configured(tmp_path / "project")
    done = project.snakemake("--cores", "2", *TARGETS, configfile="my.yaml")
    assert done.status == 0, done.text
    assert "Traceback" not in done.text
    benchmark = project.folder / "results/x/benchmarks/train/shapes/vmm/b32-nmi/trial_0.tsv"
    assert float(benchmark.read_text().splitlines()[1].split("\t")[0]) < 0, "the clock is patched"
    assert compared(project) == expected
    page = project.snakemake("--cores", "2", "results/x/report.html", configfile="my.yaml")
    assert page.status == 0, page.text
