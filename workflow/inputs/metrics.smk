"""Files of rows, and the jobs whose rows are in each."""

PARTS = f"{RUN}/metrics/parts"


METRICS_JOBS = {
    "clustering": grid.clustering_jobs(config) + grid.leiden_jobs(config),
    "integration": grid.experiment_jobs(config, "cells"),
    "elbo_surgery": grid.experiment_jobs(config, "elbo_surgery"),
}


NEWER = EXPERIMENTS.get("cells", {}).get("newer_metrics", False)


def newer(wildcards):
    """Return whether metrics that are newer than the paper are scored on a data set."""
    return NEWER and kind_of(wildcards.dataset) == "cells"


def parted(metrics, jobs=None):
    """Return the jobs in each file of rows; by default, of all jobs that have these metrics."""
    files = {}
    for job in METRICS_JOBS[metrics] if jobs is None else jobs:
        name = f"{job.dataset}/trial_{job.trial}"
        if metrics == "elbo_surgery":
            name = job.folder.removeprefix("models/")
        files.setdefault(f"{PARTS}/{metrics}/{name}.csv", []).append(job)
    return files


def parts(metrics, jobs=None):
    """Return the files with the rows of some jobs; by default, of all that have these metrics."""
    return list(parted(metrics, jobs))


def rows_of_parts(metrics):
    """Return the jobs that must have rows in each file of `parts`, as rows name them."""

    def scored(job):
        return metrics != "clustering" or job.setting == LEIDEN or job.record.clusters

    return [[job.row for job in jobs if scored(job)] for jobs in parted(metrics).values()]


def leiden_inputs(wildcards):
    """Return the files of the embeddings that Leiden clusters."""
    clustered = {(job.dataset, job.method) for job in grid.leiden_jobs(config)}
    jobs = grid.experiment_jobs(config, "cells")
    jobs = [job for job in jobs if (job.dataset, job.method) in clustered]
    return files_of(trial_of(jobs, wildcards), LATENT)
