"""Say which method integrates and which clusters each set of cells best."""

from pathlib import Path

from _rows import descriptions, jobs_by_table, rows_by_table
from _script import job

with job(snakemake):
    import pandas as pd

    from vmm.io import read_table
    from vmm.paper.recommendation import recommend, write_recommendation

    grids = snakemake.params.grids
    rows, jobs = rows_by_table(snakemake.input.rows, grids), jobs_by_table(grids)
    tables = [
        read_table(path, ["dataset", "model", "prior", "setting"])
        for path in snakemake.input.stability
    ]
    known = descriptions(snakemake.input.descriptions, snakemake.params.cells)
    result = recommend(rows, jobs, known, pd.concat(tables) if tables else None)
    write_recommendation(result, Path(snakemake.output[0]).with_suffix(""))
