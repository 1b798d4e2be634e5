"""Gather the rows of all parts."""

from _script import job

with job(snakemake):
    from vmm.metrics.rows import gather_rows, write_rows

    write_rows(gather_rows(snakemake.input), snakemake.output[0])
