"""Embed a data set by the methods without a model, for all trials."""

from _script import job

with job(snakemake):
    from vmm.benchmark.embed import embed_cells

    embed_cells(
        snakemake.input.data,
        snakemake.params.methods,
        trials=range(snakemake.params.trials),
        folder_of=lambda method, trial: snakemake.params.folder.format(method=method, trial=trial),
        seed=snakemake.params.seed,
    )
