"""A small pipeline through a real Slurm, with everything that happens to jobs on a cluster.

One run, to save time. Of its three trainings, one is cancelled, one put back into the queue by
Slurm and one runs out of time; a job of evaluation runs out of memory.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from cluster import N_GPUS, Cluster, SlurmJob
from working_copy import ENVIRONMENT, Project

pytestmark = pytest.mark.slurm

CONFIG = {
    "run": "small",
    "device": "cpu",  # the GPUs are pretended
    "trials": 1,
    "n_components": 8,
    "datasets": {"digits": {"n_subset": 200, "n_latent": 3, "hidden": [16], "batch_size": 32}},
    "experiments": {
        "image_clustering": {"methods": ["vmm", "vampprior"], "max_epochs": 12, "patience": 12},
        "elbo_surgery": {"methods": ["vmm"], "max_epochs": 160, "patience": 160, "n_samples": 5},
    },
}
CANCELLED = "digits/vmm/b32-nmi/trial_0"
QUEUED_AGAIN = "digits/vampprior/b32-nmi/trial_0"
TOO_LONG = "digits/vmm/b32-elbo/trial_0"

TARGETS = ["tables/table1.csv", "tables/table2.csv", "metrics/clustering.csv"]
TARGETS = [f"results/small/{name}" for name in [*TARGETS, "metrics/elbo_surgery.csv"]]
START = "    saved = time.monotonic()\n    while running"
EPOCH = "        elbos, found = train(running), validate(running)\n"
EDITS = [
    # So that a training lasts without work, the long one more than a minute and a half; not when
    # it resumes, so that a busy machine has time enough.
    (
        "src/vmm/training/loop.py",
        START,
        START.replace("saved =", "slow = not trainers[0].history; saved ="),
    ),
    ("src/vmm/training/loop.py", EPOCH, f"        time.sleep(0.6 * slow)\n{EPOCH}"),
    # Too short for the long training at first; Slurm looks after time every 30 seconds.
    (
        "workflow/rules/train.smk",
        'runtime=runtime("train", of_images=1440)',
        "runtime=lambda w, attempt: growing(1 if 'elbo' in w.setting else 1440)(w, attempt)",
    ),
    # Too little at first for an evaluation that begins with holding so much; long enough for
    # Slurm, which looks every second, and not while it holds what Python and its libraries take.
    (
        "workflow/rules/evaluate.smk",
        'memory("evaluate_clustering"),',
        "growing(400),",
    ),
    (
        "workflow/scripts/evaluate_clustering.py",
        '"""Score',
        'import time; held = b"1" * 500_000_000; time.sleep(5); del held\n"""Score',
    ),
]
"""In the copy that runs through Slurm."""

QUICK = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3"]
ON_SLURM = ["--workflow-profile", "profiles/slurm", *QUICK, "--set-resources", "train_images:gpu=1"]


class Run:
    """The run through Slurm, watched to its end.

    Attributes
    ----------
    sights : list of dict
        For each moment: number of the Slurm job to CUDA_VISIBLE_DEVICES, of what trains.
    """

    def __init__(self, project: Project, cluster: Cluster):
        self.project, self.cluster = project, cluster
        self.sights: list[dict[int, str]] = []
        with (project.folder / "terminal.txt").open("w") as terminal:
            process = subprocess.Popen(
                project.command(*TARGETS, *ON_SLURM, configfile="my.yaml"),
                cwd=project.folder,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
            )
        try:
            self.watch(process)
        finally:
            process.kill()  # at SIGTERM it would wait for its jobs
            process.wait()
        self.status = process.returncode
        self.text = (project.folder / "terminal.txt").read_text()
        self.jobs = cluster.jobs()

    def watch(self, process: subprocess.Popen) -> None:
        """Look at what trains, and disturb it, until the run ends."""
        to_do = {CANCELLED: ("scancel",), QUEUED_AGAIN: ("scontrol", "requeue")}
        deadline = time.monotonic() + 1800
        while process.poll() is None and time.monotonic() < deadline:
            self.sights.append(trainings(self.project.folder))
            for training in [t for t in to_do if self.is_under_way(t)]:
                self.disturb(training, to_do.pop(training))
            time.sleep(0.3)

    def is_under_way(self, training: str) -> bool:
        """Whether a training has written a checkpoint."""
        return (self.project.folder / f"results/small/models/{training}/checkpoint.pt").exists()

    def disturb(self, training: str, command: tuple[str, ...]) -> None:
        """Do something to the job of a training."""
        (job,) = (j for j in self.cluster.jobs() if j.what == what("train_images", training))
        assert job.state == "RUNNING"
        subprocess.run([*command, str(job.number)], check=True)

    def of(self, rule: str, training: str) -> list[SlurmJob]:
        """Return the jobs that were submitted for a job of Snakemake, in their order."""
        return [job for job in self.jobs if job.what == what(rule, training)]

    def resumed_after(self, training: str) -> int:
        """Return the epoch after which a training says that it resumed."""
        log = self.project.folder / f"results/small/logs/train/{training}.log"
        (epoch,) = re.findall(r"checkpoint\.pt: resumed after epoch (\d+)", log.read_text())
        return int(epoch)


def what(rule: str, training: str) -> str:
    """Return a job's name as Snakemake gives it to Slurm: rule and wildcards."""
    return f"{rule} {training.replace('trial_', '').replace('/', '_')}"


def trainings(folder: Path) -> dict[int, str]:
    """Return the Slurm jobs that train in a working copy now, with their GPUs."""
    found = {}
    for process in psutil.process_iter():
        try:
            if not process.cmdline()[-1:][0].endswith("train.py") or process.cwd() != str(folder):
                continue
            if "slurmstepd" in [parent.name() for parent in process.parents()]:
                variables = process.environ()
                found[int(variables["SLURM_JOB_ID"])] = variables["CUDA_VISIBLE_DEVICES"]
        except (psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
            continue
    return found


@pytest.fixture(scope="module")
def projects(cluster, tmp_path_factory) -> dict[str, Project]:
    """Return the working copies of both runs, made at once: of the same code."""
    folder = tmp_path_factory.mktemp("copies")
    copies = {name: Project(folder / name) for name in ("slurm", "local")}
    for project in copies.values():
        project.configure(CONFIG)
    return copies


@pytest.fixture(scope="module")
def on_slurm(cluster, projects) -> Run:
    projects["slurm"].checkpoint_every_epoch()
    for edit in EDITS:
        projects["slurm"].edit(*edit)
    return Run(projects["slurm"], cluster)


@pytest.fixture(scope="module")
def local(projects) -> Project:
    done = projects["local"].snakemake(*TARGETS, "--cores", "2", configfile="my.yaml")
    assert done.status == 0, done.text
    return projects["local"]


def test_it_ends_well(on_slurm):
    assert on_slurm.status == 0, on_slurm.text
    assert "(100%) done" in on_slurm.text


def test_every_job_went_through_slurm(on_slurm):
    """But the small ones that rules name as local."""
    completed = Counter(job.what.split()[0] for job in on_slurm.jobs if job.state == "COMPLETED")
    expected = {"prepare": 1, "train_images": 3, "evaluate_clustering": 1, "table": 2}
    assert completed == expected | {"evaluate_elbo_surgery": 1}
    seen = {number for sight in on_slurm.sights for number in sight}
    submitted = {job.number for job in on_slurm.jobs if job.what.startswith("train_images")}
    assert seen == submitted, "trainings run below slurmstepd"


def test_gpus_are_never_shared(on_slurm):
    """Three trainings wait for two GPUs."""
    for sight in on_slurm.sights:
        devices = list(sight.values())
        assert len(set(devices)) == len(devices), sight
        assert set(devices) <= {str(index) for index in range(N_GPUS)}
    assert max(map(len, on_slurm.sights)) == N_GPUS, "both were busy at once"
    for job in on_slurm.jobs:
        assert job.gpus == job.what.startswith("train_images"), job


def test_a_cancelled_training_is_submitted_again_and_resumes(on_slurm):
    first, second = on_slurm.of("train_images", CANCELLED)
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert 1 <= on_slurm.resumed_after(CANCELLED) < 12


def test_a_training_that_slurm_queues_again_resumes(on_slurm):
    """As after preemption or the loss of a node: the same job, with no new submission."""
    (job,) = on_slurm.of("train_images", QUEUED_AGAIN)
    assert (job.state, job.restarts) == ("COMPLETED", 1)
    assert 1 <= on_slurm.resumed_after(QUEUED_AGAIN) < 12


def test_a_training_over_its_time_comes_back_with_more_and_resumes(on_slurm):
    """Twice where the machine is busy."""
    *failed, last = on_slurm.of("train_images", TOO_LONG)
    assert last.state == "COMPLETED"
    assert failed and {job.state for job in failed} == {"TIMEOUT"}
    asked = [(job.minutes, job.memory_mb) for job in (*failed, last)]
    assert asked == [(1, 6000), (2, 12000), (3, 18000)][: len(asked)]
    assert 1 < on_slurm.resumed_after(TOO_LONG) < 160


def test_a_job_over_its_memory_comes_back_with_more(on_slurm):
    first, second = on_slurm.of("evaluate_clustering", "digits/0")
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert (first.memory_mb, second.memory_mb) == (400, 800)
    assert "exceeded memory limit" in first.log.read_text()


@pytest.mark.parametrize("folder", ["metrics", "tables"])
def test_tables_are_those_of_a_local_run(on_slurm, local, folder):
    """Byte for byte, whatever happened to the jobs."""
    ours, theirs = (p.folder / "results" / "small" / folder for p in (on_slurm.project, local))
    names = sorted(path.relative_to(ours) for path in ours.rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(theirs) for p in theirs.rglob("*") if p.is_file())
    assert len(names) >= 4
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
