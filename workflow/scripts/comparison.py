"""Set the paper's numbers beside this run's."""

from pathlib import Path

from _rows import jobs_by_table, rows_by_table
from _script import job

with job(snakemake):
    from vmm.paper.comparison import comparison, write_comparison

    grids = snakemake.params.grids
    frame = comparison(rows_by_table(snakemake.input.rows, grids), jobs_by_table(grids))
    write_comparison(frame, Path(snakemake.output[0]).with_suffix(""))
