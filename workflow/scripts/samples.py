"""Sample from the prior of the trial with the best unmerged NMI."""

from _script import folders, job

with job(snakemake):
    from vmm.best import best_model
    from vmm.jobs import prior_samples
    from vmm.metrics.rows import gather_rows

    rows = gather_rows(snakemake.input.rows)
    models = folders(snakemake.input.models)
    folder = best_model(rows, models, ["NMI (unmerged)"])
    split = snakemake.input.splits[models.index(folder)]
    prior_samples(
        folder,
        snakemake.input.data,
        split,
        snakemake.output[0],
        device=snakemake.config["device"],
    )
