"""Tables, and the list of everything that a run makes."""


def targets():
    """Return everything that this run makes."""
    files = [f"{RUN}/metrics/{name}.csv" for name in metrics_of_run()]
    if "batch_size" in EXPERIMENTS:
        files += figure("batch_size")
    for job in grid.experiment_jobs(config, "image_clustering"):
        if job.method in ("vampprior", "vmm"):
            files += figure(f"samples_{job.dataset}_{job.method}")
    for dataset in TUNED:
        files += figure(f"tuning_{dataset}")
    for dataset in EXPERIMENTS.get("cells", {}).get("datasets", []):
        files += figure(f"mde_{dataset}")
    return list(dict.fromkeys(files))


def metrics_of_run():
    """Return the names of the files of metrics that this run makes."""
    needs = {
        "clustering": grid.clustering_jobs(config),
        "integration": grid.experiment_jobs(config, "cells"),
        "elbo_surgery": grid.experiment_jobs(config, "elbo_surgery"),
    }
    return [name for name, jobs in needs.items() if jobs]


rule partial:
    shell:
        "true"


def show_results():
    """Name the files to open."""
