"""Say which method integrates and which clusters each set of cells best."""

from pathlib import Path

from _rows import by_number, descriptions, rows_by_table
from _script import job

with job(snakemake):
    from vmm.tables import recommend, write_recommendation

    rows = rows_by_table(snakemake.input.rows, snakemake.params.metrics)
    jobs = by_number(snakemake.params.jobs)
    result = recommend(rows, jobs, descriptions(snakemake.input.descriptions))
    write_recommendation(result, Path(snakemake.output[0]).with_suffix(""))
