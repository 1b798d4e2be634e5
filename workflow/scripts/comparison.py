"""Set the paper's numbers beside this run's."""

from pathlib import Path

from _rows import by_number, rows_by_table
from _script import job

with job(snakemake):
    from vmm.tables import comparison, write_comparison

    rows = rows_by_table(snakemake.input.rows, snakemake.params.metrics)
    frame = comparison(rows, by_number(snakemake.params.jobs))
    write_comparison(frame, Path(snakemake.output[0]).with_suffix(""))
