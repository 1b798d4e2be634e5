"""Sample from the prior of the trial with the best unmerged NMI."""

from _script import folders, job

with job(snakemake):
    import numpy as np

    from vmm.benchmark.best import best_model
    from vmm.benchmark.metrics.rows import gather_rows
    from vmm.benchmark.samples import prior_samples
    from vmm.io import atomic

    rows = gather_rows(snakemake.input.rows)
    models = folders(snakemake.input.models)
    folder = best_model(rows, models, ["NMI (unmerged)"])
    if folder is None:
        with atomic(snakemake.output[0]) as temporary:
            np.savez_compressed(temporary, note=np.asarray("no trial has a value: all diverged"))
    else:
        prior_samples(
            folder,
            snakemake.input.data,
            snakemake.input.splits[models.index(folder)],
            snakemake.output[0],
            device=snakemake.config["device"],
        )
