"""Files of tables, their grids, and the labels in them."""

METRICS_OF_TABLE = {1: "elbo_surgery", 2: "clustering", 3: "clustering", 4: "integration"}
TABLE_JOBS = {number: grid.table_jobs(config, number) for number in METRICS_OF_TABLE}
TABLES = [number for number, jobs in TABLE_JOBS.items() if jobs]
CELL_TABLES = [number for number in TABLES if number in (3, 4)]


def table(name):
    """Return the files of a table."""
    return [f"{RUN}/tables/{name}.{suffix}" for suffix in ("csv", "tex", "html")]


def shown_table(name, caption, what):
    """Return the files of a table, its page marked for `snakemake --report`."""
    csv, tex, html = table(name)
    page = report(
        html,
        caption=PAGE / "captions" / f"{caption}.rst",
        category="Tables",
        labels={"table": what},
    )
    return [csv, tex, page]


def parts_of(tables):
    """Return the files with the rows of tables."""
    files = [file for n in tables for file in parts(METRICS_OF_TABLE[n], TABLE_JOBS[n])]
    return list(dict.fromkeys(files))


def descriptions_of(tables):
    """Return the descriptions of the data sets in tables."""
    names = dict.fromkeys(job.dataset for n in tables for job in TABLE_JOBS[n])
    return [f"{RUN}/data/{name}.json" for name in names]


def stability_of(tables):
    """Return the files that say how far the clusters of trials agree, where there are several."""
    if 3 not in tables or len(TRIALS) < 2:
        return []
    own = dict.fromkeys(job.dataset for job in TABLE_JOBS[3] if job.setting == CHOSEN)
    return [f"{RUN}/tables/stability_{name}.csv" for name in own]


def labels_of(jobs):
    """Return what people read for the data sets and methods of jobs.

    A parameter of what shows them, for labels stand in records, which count as no code.
    """
    datasets = {dataset_label(job.dataset) for job in jobs}
    return sorted(datasets | {job.record.label for job in jobs})


def labels_of_tables(tables):
    """Return the labels in tables."""
    return labels_of([job for n in tables for job in TABLE_JOBS[n]])


def grids_of(tables):
    """Return the jobs of tables as rows name them, and the metrics that they need."""
    return {
        n: {"metrics": METRICS_OF_TABLE[n], "jobs": [job.row for job in TABLE_JOBS[n]]}
        for n in tables
    }
