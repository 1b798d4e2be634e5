"""Make one of the paper's tables."""

from pathlib import Path

from _rows import descriptions, jobs_by_table, rows_by_table
from _script import job

with job(snakemake):
    from vmm.paper.tables import build_table, write_table

    number, grids = int(snakemake.wildcards.number), snakemake.params.grids
    table = build_table(
        number,
        rows_by_table(snakemake.input.rows, grids)[number],
        jobs_by_table(grids)[number],
        descriptions(snakemake.input.descriptions, snakemake.params.cells),
        newer=snakemake.params.newer,
    )
    write_table(table, Path(snakemake.output[0]).with_suffix(""))
