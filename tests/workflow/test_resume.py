"""A run that is killed in training, and started again."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from working_copy import ENVIRONMENT, Project

JOB = "models/digits/vmm/b32-nmi/trial_0"
OUTPUTS = ["history.csv", "latent.npz", "run.json", "weights.pt"]
EPOCHS = 150


def configured(project: Project, run: str) -> str:
    digits = {"n_subset": 200, "n_latent": 3, "hidden": [16], "batch_size": 32}
    length = {"methods": ["vmm"], "max_epochs": EPOCHS, "patience": EPOCHS}
    config = {"run": run, "device": "cpu", "trials": 1, "n_components": 8}
    config |= {"datasets": {"digits": digits}, "experiments": {"image_clustering": length}}
    return project.configure(config, f"{run}.yaml")


class Running:
    """Snakemake at work on the one model, to be killed."""

    def __init__(self, project: Project):
        self.folder = project.folder / "results" / "killed" / JOB
        self.checkpoint = self.folder / "checkpoint.pt"
        before = self._written()
        command = project.command("--cores", "1", target("killed"), configfile="killed.yaml")
        self.process = subprocess.Popen(
            command,
            cwd=project.folder,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 120
        while self._written() == before:
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < deadline, "no checkpoint in two minutes"
            time.sleep(0.01)

    def _written(self) -> float:
        return self.checkpoint.stat().st_mtime if self.checkpoint.exists() else 0.0

    @contextmanager
    def paused(self):
        """Hold Snakemake and the training still."""
        started = psutil.Process(self.process.pid)
        processes = [started, *started.children(recursive=True)]
        for process in processes:
            process.suspend()
        yield
        for process in processes:
            process.resume()

    def kill(self, everything: bool) -> str:
        """Kill the training alone, or Snakemake too; return what was said until the end."""
        started = psutil.Process(self.process.pid)
        below = started.children(recursive=True)
        training = [p for p in below if "train.py" in " ".join(p.cmdline()[-1:])]
        assert training
        for process in [started, *below] if everything else training:
            process.send_signal(signal.SIGKILL)
        text = self.process.communicate(timeout=120)[0]
        psutil.wait_procs(below, timeout=10)
        return text


def target(run: str) -> str:
    return f"results/{run}/{JOB}/run.json"


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Kill a run as a power cut does, then its training alone, then let it end.

    The copy writes a checkpoint every epoch instead of every 30 seconds.
    """
    project = Project(tmp_path_factory.mktemp("resume") / "project")
    project.checkpoint_every_epoch()
    for run in ("killed", "whole"):
        configured(project, run)
    log = project.folder / f"results/killed/logs/train/{JOB.removeprefix('models/')}.log"
    told = {"project": project}

    running = Running(project)
    with running.paused():
        told["beside"] = project.snakemake(
            "--cores", "1", target("killed"), configfile="killed.yaml"
        )
    told["went on"] = running.process.poll() is None
    told["cut"] = running.kill(everything=True)
    told["left by the cut"] = sorted(path.name for path in running.folder.iterdir())
    told["locked"] = project.snakemake("--cores", "1", target("killed"), configfile="killed.yaml")
    told["unlocked"] = project.snakemake("--unlock", configfile="killed.yaml")

    running = Running(project)
    told["killed"] = running.kill(everything=False)
    told["status of the killed"] = running.process.returncode
    told["log of the killed"] = log.read_text()
    told["left by the kill"] = sorted(path.name for path in running.folder.iterdir())

    told["end"] = project.snakemake("--cores", "1", target("killed"), configfile="killed.yaml")
    told["log of the end"] = log.read_text()
    told["whole"] = project.snakemake("--cores", "1", target("whole"), configfile="whole.yaml")
    return told


def resumed_after(text: str) -> int:
    """Return the epoch after which a training says that it resumed."""
    (epoch,) = re.findall(rf"results/killed/{JOB}/checkpoint\.pt: resumed after epoch (\d+)", text)
    return int(epoch)


def test_a_killed_run_leaves_no_outputs(story):
    """Only the checkpoint; a half-written output would be taken for a whole one."""
    for left in (story["left by the cut"], story["left by the kill"]):
        assert "checkpoint.pt" in left
        assert not set(left) & set(OUTPUTS)


def test_a_second_pipeline_in_the_same_folder_is_refused(story):
    """In words that say why; the first one does not notice."""
    assert story["beside"].status != 0
    assert "no other Snakemake process is trying to create the same files" in story["beside"].text
    assert "Traceback" not in story["beside"].text
    assert "rule train" not in story["beside"].text
    assert story["went on"]


def test_snakemake_says_how_to_unlock_after_a_power_cut(story):
    assert story["locked"].status != 0
    assert "--unlock" in story["locked"].text
    assert story["unlocked"].status == 0


def test_a_killed_training_fails_its_run(story):
    assert story["status of the killed"] != 0
    assert "Error in rule train" in story["killed"]


def test_a_training_resumes_and_says_so(story):
    assert story["end"].status == 0, story["end"].text
    first, second = (resumed_after(story[f"log of the {when}"]) for when in ("killed", "end"))
    assert 1 <= first < second < EPOCHS
    assert resumed_after(story["end"].text) == second, "in the terminal too"


def test_the_result_is_that_of_an_uninterrupted_run(story):
    """To the bit: weights, latents and history."""
    assert story["whole"].status == 0, story["whole"].text
    results = story["project"].folder / "results"
    killed, whole = (results / run / JOB for run in ("killed", "whole"))
    for folder in (killed, whole):
        assert sorted(path.name for path in folder.iterdir()) == OUTPUTS
    first, second = (torch.load(f / "weights.pt", weights_only=True) for f in (killed, whole))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    with np.load(killed / "latent.npz") as ours, np.load(whole / "latent.npz") as theirs:
        assert ours.files == theirs.files
        for key in ours.files:
            np.testing.assert_array_equal(ours[key], theirs[key])
    assert history(killed) == history(whole)
    assert len(history(killed)) == EPOCHS


def history(folder: Path) -> list[dict[str, str]]:
    """Return the history without times."""
    with (folder / "history.csv").open(newline="") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]
