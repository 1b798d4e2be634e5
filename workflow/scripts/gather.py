"""Gather the rows of all parts."""

from _script import job

with job(snakemake):
    from vmm.benchmark.metrics.rows import check_jobs, concatenate_rows, read_rows, write_rows

    rows = []
    for path, jobs in zip(snakemake.input, snakemake.params.jobs, strict=True):
        rows.append(read_rows(path))
        check_jobs(rows[-1], jobs, snakemake.wildcards.metrics, path)
    write_rows(concatenate_rows(rows), snakemake.output[0])
