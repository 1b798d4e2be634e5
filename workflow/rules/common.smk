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
from vmm.benchmark.resources import NEEDS, PACES, epochs, memory_mb, runtime_minutes, size_of
from vmm.benchmark.setting import CHOSEN, LEIDEN, OF_IMAGES, TRAINED as TRAINED_SETTINGS, Setting
from vmm.device import check_gpu, takes_gpu
from vmm.errors import InputError
from vmm.io import refused
from vmm.paper.labels import dataset_label

SOURCE = ", ".join(os.path.relpath(path) for path in workflow.configfiles)
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


def check_folders(run):
    """End with one sentence where something else is in the place of a folder for results."""
    for path in (Path(run).parent, Path(run)):
        if os.path.lexists(path) and not path.is_dir():
            lost = f"a link to {os.readlink(path)}, which is no folder" if path.is_symlink() else ""
            sys.exit(
                f"{Path.cwd() / path} is {lost or 'a file'}, where the results go: move it away, "
                "or start in another folder (snakemake --directory DIR)"
            )


def complete(given):
    """Return the configuration, checked and complete; a mistake in it is one sentence."""
    try:
        for path in workflow.configfiles:
            configuration.read(os.path.relpath(path))  # Snakemake lets a key stand twice
        check_records()
        checked = configuration.complete(given, SOURCE)
        configuration.check_files(checked, SOURCE)
        if workflow.is_main_process:
            configuration.check_sizes(checked, SOURCE)
        if not workflow.deployment_settings.deployment_method:  # which makes what they need
            configuration.check_installed(checked, SOURCE)
    except InputError as error:
        sys.exit(str(error))  # a WorkflowError would bring lines of this file along
    return checked


check_place()
config = complete(config)
RUN = f"results/{config['run']}"
check_folders(RUN)
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


def sized(amount, of_images):
    """Return a resource that grows with the data set, if that is of cells, and every attempt."""

    def resource(wildcards, attempt):
        cells = kind_of(wildcards.dataset) == "cells"
        return (amount(wildcards.dataset) if cells else of_images) * attempt

    return resource


def memory(work, of_images=4000):
    """Return the memory of a job."""
    return sized(lambda dataset: memory_of(work, dataset), of_images)


def runtime(work, of_images):
    """Return the time of a job."""
    return sized(lambda dataset: runtime_of(work, dataset), of_images)


def size_for(work, dataset):
    """Return the cells and genes that a job works on."""
    return size_of(work, f"{RUN}/data/{dataset}.json", config["datasets"][dataset])


def memory_of(work, dataset):
    """Return the memory in MB that a job on cells asks for at first."""
    return memory_mb(work, size_for(work, dataset), BASELINES)


def runtime_of(work, dataset):
    """Return the minutes that a job on cells asks for at first."""
    size = size_for(work, dataset)
    return runtime_minutes(work, size, times_of(work, dataset, size), config["evaluation_cells"])


def times_of(work, dataset, size):
    """Return how many epochs a job trains in all, or how many embeddings it makes or scores."""
    if work == "prepare":
        return 1
    if work == "baselines":
        return len(BASELINES) * len(TRIALS)
    if work == "train":
        jobs = [j for j in grid.training_jobs(config) if j.dataset == dataset]
        together = len(TRIALS) if AT_ONCE else 1
        lengths = [epochs_of(grid.spec(job, config), size) for job in jobs]
        return together * max(lengths, default=0)
    if work in ("tune", "evaluate_tuning"):
        ladders = [ladder for ladder in grid.ladders(config, dataset) if ladder.trial == 0]
        if work == "evaluate_tuning":
            return sum(len(ladder.ratios) for ladder in ladders)
        together = len(TUNING_TRIALS) if AT_ONCE else 1
        length = max(epochs_of(grid.ladder_spec(ladder, config), size) for ladder in ladders)
        return together * len(ladders[0].ratios) * length
    scored = grid.experiment_jobs(config, "cells")
    return sum(job.dataset == dataset and job.trial == 0 for job in scored)


def epochs_of(spec, size):
    """Return how many epochs a training is expected to take."""
    return epochs(spec.max_epochs, spec.patience, spec.batch_size, size.cells)


def gpus():
    """Return how many GPUs a job that computes on one asks for."""
    try:
        return int(takes_gpu(config["device"]))
    except InputError as error:
        sys.exit(str(error))


def check_device():
    """End with one sentence, before anything runs, where jobs of this machine lack their GPU.

    Those of a cluster look for it there, and tables and pages of a finished run want none.
    """
    wanted = any(job.resources.get("gpu") for job in workflow.dag.local_needrun_jobs)
    if config["device"] == "cuda" and wanted and not workflow.touch:
        try:
            check_gpu(own=not workflow.deployment_settings.deployment_method)
        except InputError as error:
            sys.exit(f"{SOURCE}: {error}")
