"""Fetch, check and prepare a data set."""

from _script import job

with job(snakemake):
    from vmm.data.preparation import prepare

    prepare(
        snakemake.wildcards.dataset,
        snakemake.params.settings,
        mirror=snakemake.config["mirror"],
        cache_dir="downloads",
        out_npz=snakemake.output.data,
        out_json=snakemake.output.description,
    )
