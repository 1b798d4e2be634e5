"""Make one of the paper's tables."""

from pathlib import Path

from _rows import descriptions
from _script import job

with job(snakemake):
    from vmm.metrics.rows import read_rows
    from vmm.tables import build_table, write_table

    table = build_table(
        int(snakemake.wildcards.number),
        read_rows(snakemake.input.rows[0]),
        snakemake.params.jobs,
        descriptions(snakemake.input.descriptions),
    )
    write_table(table, Path(snakemake.output[0]).with_suffix(""))
