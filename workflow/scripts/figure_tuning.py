"""Draw the tuning of one data set."""

from pathlib import Path

from _script import job

with job(snakemake):
    from vmm.benchmark.metrics.rows import read_rows
    from vmm.io import read_json
    from vmm.paper.figures.tuning import tuning_figure
    from vmm.plots.style import save

    rows, choice = read_rows(snakemake.input.scores), read_json(snakemake.input.choice)
    n_types = read_json(snakemake.input.description)["n_types"]
    save(tuning_figure(rows, choice, n_types), Path(snakemake.output[0]).with_suffix(""))
