"""Make the tables, and the page, of what an unfinished run has so far."""

from pathlib import Path

from _rows import descriptions, jobs_by_table, rows_by_table
from _script import job

with job(snakemake):
    from vmm.io import whole
    from vmm.paper.report.page import build_report, write_report
    from vmm.paper.report.versions import environment
    from vmm.paper.tables import build_table, write_table

    run, grids = Path(snakemake.params.run), snakemake.params.grids
    known = descriptions(whole((run / "data").glob("*.json")), snakemake.config["evaluation_cells"])
    jobs = jobs_by_table(grids)
    made = []
    parts = whole(run.glob("metrics/parts/**/*.csv"))
    for number, rows in rows_by_table(parts, grids).items():
        newer = snakemake.params.newer
        table = build_table(number, rows, jobs[number], known, partial=True, newer=newer)
        made += write_table(table, run / "partial" / f"table{number}")
    page = build_report(run, snakemake.config, environment(), partial=True)
    write_report(page, run / "partial.html")
    print("\n".join(map(str, [run / "partial.html", *made])))
