"""Configuration, grid and what the rules share."""

import sys
import tempfile
from pathlib import Path

ROOT = Path(workflow.basedir)
PAGE = ROOT / "src" / "vmm" / "paper" / "report"
sys.path.insert(0, str(ROOT / "src"))

from vmm.benchmark import config as configuration
from vmm.benchmark import grid
from vmm.benchmark.consistency import check_records
from vmm.benchmark.job import Job, model_folder
from vmm.benchmark.methods.records import LIBRARY, METHODS, names
from vmm.benchmark.metrics.records import modules_of, scoring_of, showing_of
from vmm.benchmark.provenance import code_hash, content_hashes
from vmm.benchmark.resources import NEEDS, memory_mb, size_of
from vmm.benchmark.setting import CHOSEN, LEIDEN, OF_IMAGES, TRAINED as TRAINED_SETTINGS, Setting
from vmm.device import takes_gpu
from vmm.errors import InputError
from vmm.io import refused
from vmm.paper.labels import dataset_label

FORMATS = ("pdf", "png", "svg")
LATENT = ("latent.npz", "run.json")
TRAINED = ("weights.pt", *LATENT, "history.csv")


def code(script, modules=lambda wildcards: (), files=()):
    """Return a parameter: the hash of a script, what it imports, and modules that it finds by name.

    Hashed only for jobs that Snakemake looks at.
    """
    path = ROOT / "workflow" / "scripts" / script
    return lambda wildcards: code_hash(path, modules(wildcards), files)


def check_place():
    """End with one sentence where Snakemake cannot write what it keeps in `.snakemake`."""
    try:
        with tempfile.TemporaryFile(dir=".") as file:
            file.write(bytes(4096))
    except OSError as error:
        sys.exit(f"{Path.cwd()} cannot be written: {refused(error) or error}")


def complete(given):
    """Return the configuration, checked and complete; a mistake in it is one sentence."""
    source = ", ".join(os.path.relpath(path) for path in workflow.configfiles)
    try:
        for path in workflow.configfiles:
            configuration.read(os.path.relpath(path))  # Snakemake lets a key stand twice
        check_records()
        checked = configuration.complete(given, source)
        configuration.check_files(checked, source)
        if not workflow.deployment_settings.deployment_method:  # which makes what they need
            configuration.check_installed(checked, source)
    except InputError as error:
        sys.exit(str(error))  # a WorkflowError would bring lines of this file along
    return checked


check_place()
config = complete(config)
RUN = f"results/{config['run']}"
TRIALS = range(config["trials"])
EXPERIMENTS = config["experiments"]
TUNED = grid.tuned_datasets(config)
UNSUPERVISED = config["tuning"] == "unsupervised"


wildcard_constraints:
    dataset=r"[A-Za-z0-9_]+",
    method="|".join(name for methods in METHODS.values() for name in methods),
    setting=TRAINED_SETTINGS,
    trial=r"\d+",
    batch=r"\d+",


def kind_of(dataset):
    """Return whether a data set is of images or of cells."""
    return config["datasets"][dataset]["kind"]


def job(wildcards, trial):
    """Return the job of the grid that wildcards and a trial name."""
    setting = Setting.parse(getattr(wildcards, "setting", str(CHOSEN)))
    kind, library = kind_of(wildcards.dataset), grid.library_of(config, wildcards.dataset)
    return Job(kind, wildcards.dataset, wildcards.method, setting, trial, library)


def files_of(jobs, names):
    """Return the named files in the folders of jobs."""
    return [f"{RUN}/{job.folder}/{name}" for job in jobs for name in names]


def folders(paths):
    """Return the folders that files lie in, each once."""
    return list(dict.fromkeys(str(Path(path).parent) for path in paths))


def trial_of(jobs, wildcards):
    """Return those of the jobs that are of one data set and trial."""
    return [j for j in jobs if (j.dataset, str(j.trial)) == (wildcards.dataset, wildcards.trial)]


def growing(amount):
    """Return a resource that grows with every attempt."""

    def resource(wildcards, attempt):
        return amount * attempt

    return resource


def memory(work, of_images=4000):
    """Return the memory of a job, which grows with its data set and with every attempt."""

    def resource(wildcards, attempt):
        if kind_of(wildcards.dataset) != "cells":
            return of_images * attempt
        description = f"{RUN}/data/{wildcards.dataset}.json"
        size = size_of(work, description, config["datasets"][wildcards.dataset])
        return memory_mb(work, size, BASELINES) * attempt

    return resource


def gpus():
    """Return how many GPUs a job that computes on one asks for."""
    try:
        return int(takes_gpu(config["device"]))
    except InputError as error:
        sys.exit(str(error))
