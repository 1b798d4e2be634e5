"""Make the page of the run."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.paper.report.page import build_report, write_report
    from vmm.paper.report.versions import environment

    page = build_report(
        Path(snakemake.output[0]).parent,
        snakemake.config,
        {"snakemake": snakemake.params.snakemake, **environment()},
        partial=snakemake.params.partial,
    )
    write_report(page, snakemake.output[0])
