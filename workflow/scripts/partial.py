"""Make the tables, and the page, of what an unfinished run has so far."""

from pathlib import Path

from _rows import by_number, descriptions
from _script import job

with job(snakemake):
    from vmm.metrics.rows import gather_rows
    from vmm.report.page import build_report, write_report
    from vmm.report.versions import installed
    from vmm.tables import build_table, write_table

    run = Path(snakemake.params.run)
    known = descriptions(sorted((run / "data").glob("*.json")))
    made = []
    for number, jobs in by_number(snakemake.params.jobs).items():
        name = snakemake.params.metrics[number]
        parts = sorted((run / "metrics" / "parts" / name).rglob("*.csv"))
        if jobs and parts:
            table = build_table(number, gather_rows(parts), jobs, known, partial=True)
            made += write_table(table, run / "partial" / f"table{number}")
    page = build_report(run, snakemake.config, installed(), partial=True)
    write_report(page, run / "partial.html")
    print("\n".join(map(str, [run / "partial.html", *made])))
