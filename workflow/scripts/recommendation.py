"""Say which method integrates and which clusters each set of cells best."""

from pathlib import Path

from _rows import descriptions, jobs_by_table, rows_by_table
from _script import job

with job(snakemake):
    from vmm.paper.recommendation import recommend, write_recommendation

    grids = snakemake.params.grids
    rows, jobs = rows_by_table(snakemake.input.rows, grids), jobs_by_table(grids)
    result = recommend(
        rows, jobs, descriptions(snakemake.input.descriptions, snakemake.params.cells)
    )
    write_recommendation(result, Path(snakemake.output[0]).with_suffix(""))
