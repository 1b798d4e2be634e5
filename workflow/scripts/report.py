"""Make the page of the run."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.paper.report.page import build_report, write_report
    from vmm.paper.report.versions import installed

    page = build_report(
        Path(snakemake.output[0]).parent,
        snakemake.config,
        {"snakemake": snakemake.params.snakemake, **installed()},
        partial=snakemake.params.partial,
    )
    write_report(page, snakemake.output[0])
