"""What a run makes, and what it tells at its end."""

import re

REPORT = f"{RUN}/report.html"


def results():
    """Return everything that this run makes, the report excepted."""
    files = [f"{RUN}/metrics/{name}.csv" for name, jobs in METRICS_JOBS.items() if jobs]
    files += [file for number in TABLES for file in table(f"table{number}")]
    files += [f"{RUN}/tables/table{number}_tests.csv" for number in TABLES]
    if "batch_size" in EXPERIMENTS:
        files += figure("batch_size")
    if grid.published_datasets(config):
        files += table("comparison")
    if CELL_TABLES:
        files += [f"{RUN}/tables/recommendation.{suffix}" for suffix in ("json", "html")]
    for job in grid.sample_jobs(config):
        files += figure(f"samples_{job.dataset}_{job.method}")
    for dataset in TUNED:
        files += figure(f"tuning_{dataset}")
    for dataset in EXPERIMENTS.get("cells", {}).get("datasets", []):
        files += figure(f"mde_{dataset}")
        if grid.control_jobs(config, dataset):
            files += [*figure(f"controls_{dataset}"), f"{RUN}/tables/controls_{dataset}.csv"]
    return list(dict.fromkeys(files))


def report_jobs():
    """Return the models and embeddings that the report tells of."""
    return grid.training_jobs(config) + grid.baseline_jobs(config)


def report_inputs():
    """Return everything that the report shows."""
    trained = dict.fromkeys(job.dataset for job in grid.training_jobs(config))
    return results() + [file for name in trained for file in figure(f"training_{name}")]


def check_writable():
    """End with one sentence, before anything runs, where results cannot be written."""
    there = next(path for path in (Path(RUN), *Path(RUN).parents) if path.exists())
    if not os.access(there, os.W_OK):
        sys.exit(
            f"{there.resolve()} cannot be written, where the results go: make it writable, "
            "or start in another folder (snakemake --directory DIR)"
        )


def show_results():
    """Name the files to open, where the whole run is there."""
    if not all(Path(file).exists() for file in results() + [REPORT]):
        return
    pictures = sorted({str(Path(file).stem) for file in report_inputs() if "/figures/" in file})
    print(
        "\nDone.",
        f"Open first   {REPORT}",
        f"Tables       {RUN}/tables/: " + ", ".join(f"table{n}.html" for n in TABLES),
        f"Figures      {RUN}/figures/: " + ", ".join(f"{name}.pdf" for name in pictures),
        sep="\n",
        file=sys.stderr,
    )


def show_problems(logs):
    """Repeat what failed jobs said, which may have scrolled away hours ago."""
    text = "".join(Path(path).read_text() for path in logs)
    failed = re.findall(r"^Error in \w+ .*?^ +log: (\S+)", text, re.M | re.S)
    said = {path: Path(path).read_text().split("\n") for path in failed if Path(path).is_file()}
    last = [f"{path}: {next(filter(None, reversed(lines)), '')}" for path, lines in said.items()]
    advice = "`snakemake partial`, with the same options, shows what there is."
    print("\nNot finished:", *last, advice, sep="\n", file=sys.stderr)


def show_largest():
    """Say in a dry run what the largest and the longest job on cells will ask for."""
    cells = [name for name in config["datasets"] if kind_of(name) == "cells"]
    needed = [(memory_of(work, name) / 1000, work, name) for name in cells for work in NEEDS]
    tuning = ("tune", "evaluate_tuning")
    lasting = [
        (runtime_of(work, name) / 60, work, name)
        for name in cells
        for work in PACES
        if name in TUNED or work not in tuning
    ]
    for what, unit, asked in (
        ("Largest memory of a job", "GB", needed),
        ("Longest time that a job may take", "h", lasting),
    ):
        if asked:
            amount, work, name = max(asked)
            size = size_for(work, name)
            measured = " and ".join(grid.measured(config["datasets"][name]))
            print(
                f"{what}: {amount:.0f} {unit}, {work} of {name} "
                f"({size.cells:,} cells x {size.features:,} {measured}).",
                file=sys.stderr,
            )
